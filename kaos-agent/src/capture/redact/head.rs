//! The head of a message, or its trailers: masks secret fields, and learns what the body is like.

use std::collections::VecDeque;

use super::mask::MASK;
use super::patterns::Finder;
use super::scanner::Scanner;

/// Methods with the space after them. Nothing else begins a request here, so that no line of
/// another protocol (`AUTH …`, `PASS …`) is taken for one. `PRI` begins HTTP/2.
const METHODS: [&[u8]; 11] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"QUERY ",
    b"PRI ",
];
const RESPONSE: &[u8] = b"HTTP/1.";

/// As much of a line is kept as is looked at: the fields that matter are short.
const KEPT_LINE_BYTES: usize = 128;

/// What the framing of a response depends on (RFC 9112 section 6.3): the method of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// `HEAD`: its response has no body.
    Head,
    /// `CONNECT`: after a response of success the connection carries something else.
    Connect,
    /// Any other method.
    Other,
}

/// How long the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes.
    Known(u64),
    /// Told by chunks.
    Chunked,
    /// As long as the connection.
    UntilClose,
    /// It cannot be told, or what follows is not HTTP.
    Unknown,
}

/// The head of a message, byte by byte.
#[derive(Default)]
pub struct Head {
    part: Part,
    /// The beginning of the line.
    line: Vec<u8>,
    names: Finder,
    values: Scanner,
    start: Option<Start>,
    /// Set where this is no message: how many bytes seemed to begin one.
    not_http: Option<usize>,
    complete: bool,
    content_length: Option<u64>,
    chunked: bool,
    transfer_coded: bool,
    compressed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum Part {
    /// In the start line.
    #[default]
    StartLine,
    /// At the beginning of a line; holds whether the line before is a secret field's.
    LineStart { secret: bool },
    /// In the name of a field.
    Name { secret: bool },
    /// In its value.
    Value { secret: bool },
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Request(RequestKind),
    Response { status: u16 },
}

impl Head {
    /// Before a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Before the trailer section of a chunked body.
    pub fn trailers() -> Self {
        Self {
            part: Part::LineStart { secret: false },
            ..Self::default()
        }
    }

    /// The byte to write instead of the next one.
    pub fn redact(&mut self, byte: u8) -> u8 {
        if let Part::LineStart { secret } = self.part {
            // A line that begins with a blank continues the field before it (RFC 9112 section 5.2).
            let continues = matches!(byte, b' ' | b'\t');
            self.part = if continues {
                Part::Value { secret }
            } else {
                Part::Name { secret: false }
            };
            self.names = Finder::default();
            self.values = Scanner::default();
        }
        let redacted = match &mut self.part {
            Part::Name { secret } => {
                *secret |= self.names.next(byte).is_some_and(|meaning| meaning.header);
                byte
            }
            Part::Value { secret: true } if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => MASK,
            Part::Value { secret: true } => byte,
            _ => self.values.next(byte),
        };
        match (byte, self.part) {
            (b'\n', _) => self.end_line(),
            (b':', Part::Name { secret }) => {
                self.part = Part::Value { secret };
                self.keep(byte);
            }
            _ => self.keep(byte),
        }
        redacted
    }

    /// Nothing of it came yet.
    pub fn is_fresh(&self) -> bool {
        matches!(self.part, Part::StartLine) && self.line.is_empty()
    }

    /// The head is over.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What came is not the beginning of a message; tells how many bytes came before it was clear.
    pub fn is_no_start_line(&self) -> Option<usize> {
        self.not_http
    }

    /// The body is compressed.
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Kind of the request, if this is one.
    pub fn request_kind(&self) -> Option<RequestKind> {
        match self.start {
            Some(Start::Request(kind)) => Some(kind),
            Some(Start::Response { .. }) | None => None,
        }
    }

    /// Length of the body (RFC 9112 section 6.3). A final response takes its request from the row
    /// of those that have none yet.
    pub fn body_length(&self, requests: &mut VecDeque<RequestKind>) -> BodyLength {
        match self.start {
            Some(Start::Response {
                status: 100 | 102..=199,
            }) => return BodyLength::Known(0),
            Some(Start::Response { status }) => match (requests.pop_front(), status) {
                (None, _) | (_, 101) | (Some(RequestKind::Connect), 200..=299) => {
                    return BodyLength::Unknown;
                }
                (Some(RequestKind::Head), _) | (_, 204 | 304) => return BodyLength::Known(0),
                _ => {}
            },
            Some(Start::Request(_)) => {}
            None => return BodyLength::Unknown,
        }
        let is_response = matches!(self.start, Some(Start::Response { .. }));
        match self.content_length {
            _ if self.chunked => BodyLength::Chunked,
            _ if self.transfer_coded && is_response => BodyLength::UntilClose,
            _ if self.transfer_coded => BodyLength::Unknown,
            Some(length) => BodyLength::Known(length),
            None if is_response => BodyLength::UntilClose,
            None => BodyLength::Known(0),
        }
    }

    fn keep(&mut self, byte: u8) {
        // Empty lines before a request are allowed (RFC 9112 section 2.2).
        let is_start_line = matches!(self.part, Part::StartLine);
        if is_start_line && self.line.is_empty() && byte == b'\r' {
            return;
        }
        if self.line.len() < KEPT_LINE_BYTES {
            self.line.push(byte);
        }
        if is_start_line && !may_begin_message(&self.line) {
            self.not_http = Some(self.line.len() - 1);
        }
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        let secret = match self.part {
            Part::StartLine if text.is_empty() => return,
            Part::StartLine => {
                self.start = parse_start_line(text);
                if self.start.is_none() {
                    self.not_http = Some(text.len());
                }
                false
            }
            Part::Name { .. } | Part::LineStart { .. } => {
                self.complete = text.is_empty();
                false
            }
            Part::Value { secret } => {
                self.read_field(text);
                secret
            }
        };
        self.part = Part::LineStart { secret };
        line.clear();
        self.line = line;
    }

    fn read_field(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else {
            return;
        };
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim();
        let codings = || {
            value
                .split(',')
                .map(str::trim)
                .filter(|coding| !coding.is_empty())
        };
        if name.eq_ignore_ascii_case("content-length") {
            self.content_length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("content-encoding") {
            self.compressed |= codings().any(|coding| !coding.eq_ignore_ascii_case("identity"));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.transfer_coded = true;
            self.chunked = codings()
                .next_back()
                .is_some_and(|last| last.eq_ignore_ascii_case("chunked"));
            self.compressed |= codings().any(|coding| !coding.eq_ignore_ascii_case("chunked"));
        }
    }
}

fn may_begin_message(line: &[u8]) -> bool {
    let agrees = |beginning: &[u8]| beginning.starts_with(line) || line.starts_with(beginning);
    agrees(RESPONSE) || METHODS.iter().any(|method| agrees(method))
}

fn parse_start_line(line: &[u8]) -> Option<Start> {
    if line.starts_with(RESPONSE) {
        // `HTTP/1.1 200 OK`
        let status = std::str::from_utf8(line.get(9..12)?).ok()?.parse().ok()?;
        return Some(Start::Response { status });
    }
    METHODS
        .iter()
        .find(|method| line.starts_with(method))
        .map(|method| {
            Start::Request(match *method {
                b"HEAD " => RequestKind::Head,
                b"CONNECT " => RequestKind::Connect,
                _ => RequestKind::Other,
            })
        })
}
