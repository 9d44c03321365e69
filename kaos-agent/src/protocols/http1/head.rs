//! Message heads, parsed.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, ParserConfig, Status};

use super::super::limits::ProtocolCounters;
use super::super::part::HttpVersion;

/// Header fields of a message. Node stops at 2000, Apache at 100, h11 and nginx at a size only;
/// more than this are hardly ever useful.
const MOST_FIELDS: usize = 128;

/// A message head.
#[derive(Debug)]
pub struct Head {
    /// What the start line says.
    pub start: StartLine,
    /// Version.
    pub version: HttpVersion,
    /// Header fields, in order.
    pub headers: HeaderMap,
}

/// A start line.
#[derive(Debug, PartialEq, Eq)]
pub enum StartLine {
    /// Of a request.
    Request {
        /// Method, as sent.
        method: String,
        /// Target, as sent.
        target: String,
    },
    /// Of a response.
    Response {
        /// Status code.
        status: u16,
    },
}

/// Why a head is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// It makes no sense.
    Bad,
    /// It has too many fields.
    TooManyFields,
}

/// What bytes at a message boundary are the beginning of, judged by their first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// A request, its whole start line is there.
    Request,
    /// A response, its whole start line is there.
    Response,
    /// Not enough bytes to tell.
    Unclear,
    /// Neither.
    Other,
}

/// Judges bytes, without empty lines before them, by their first line.
pub fn beginning(bytes: &[u8]) -> Beginning {
    let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    let line = &bytes[..end];
    if line.trim_ascii().is_empty() {
        // The parser steps over empty lines, but they tell nothing.
        return Beginning::Unclear;
    }
    let is_whole = line.ends_with(b"\n");
    let is_response = is_response(line);
    let parsed = if is_response {
        httparse::Response::new(&mut []).parse(line)
    } else {
        httparse::Request::new(&mut []).parse(line)
    };
    match parsed {
        Err(_) => Beginning::Other,
        Ok(_) if !is_whole => Beginning::Unclear,
        Ok(_) if is_response => Beginning::Response,
        Ok(_) => Beginning::Request,
    }
}

/// Parses a whole head, of either kind.
///
/// # Errors
/// [`HeadError`]; single fields that make no sense are left out and counted.
pub fn parse(bytes: &[u8], counters: &mut ProtocolCounters) -> Result<Head, HeadError> {
    match parse_with(&ParserConfig::default(), bytes, counters) {
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            // The exact way has no room for what RFC 9112 section 5.2 lets a recipient repair,
            // nor for single bad fields.
            let unfolded = unfold(bytes);
            counters.folded_fields += u64::from(matches!(unfolded, Cow::Owned(_)));
            let mut config = ParserConfig::default();
            config.allow_spaces_after_header_name_in_responses(true);
            match parse_with(&config, &unfolded, counters) {
                Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
                    counters.bad_fields += 1;
                    config.ignore_invalid_headers_in_requests(true);
                    config.ignore_invalid_headers_in_responses(true);
                    parse_with(&config, &unfolded, counters)
                }
                result => result,
            }
        }
        result => result,
    }
    .map_err(|error| match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        _ => HeadError::Bad,
    })
}

fn parse_with(
    config: &ParserConfig,
    bytes: &[u8],
    counters: &mut ProtocolCounters,
) -> Result<Head, httparse::Error> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    // One copy that all values share: what they were cut from may be much larger, and they may
    // outlive it by minutes.
    let bytes = Bytes::copy_from_slice(bytes);
    if is_response(&bytes) {
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            config.parse_response_with_uninit_headers(&mut response, &bytes, &mut fields)?;
        let (Status::Complete(_), Some(version), Some(status)) =
            (parsed, response.version, response.code)
        else {
            return Err(httparse::Error::NewLine);
        };
        Ok(Head {
            start: StartLine::Response { status },
            version: http_version(version),
            headers: header_map(response.headers, &bytes, counters),
        })
    } else {
        let mut request = httparse::Request::new(&mut []);
        let parsed = config.parse_request_with_uninit_headers(&mut request, &bytes, &mut fields)?;
        let (Status::Complete(_), Some(version), Some(method), Some(target)) =
            (parsed, request.version, request.method, request.path)
        else {
            return Err(httparse::Error::NewLine);
        };
        Ok(Head {
            start: StartLine::Request {
                method: method.to_owned(),
                target: target.to_owned(),
            },
            version: http_version(version),
            headers: header_map(request.headers, &bytes, counters),
        })
    }
}

/// Whether a start line is a response's: a method cannot have a slash.
fn is_response(line: &[u8]) -> bool {
    line.starts_with(b"HTTP/")
}

fn http_version(minor: u8) -> HttpVersion {
    if minor == 0 {
        HttpVersion::Http10
    } else {
        HttpVersion::Http11
    }
}

fn header_map(fields: &[Header<'_>], bytes: &Bytes, counters: &mut ProtocolCounters) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        match (name, value) {
            (Ok(name), Ok(value)) => {
                map.append(name, value);
            }
            _ => counters.bad_fields += 1,
        }
    }
    map
}

/// Replaces each line fold by spaces (RFC 9112 section 5.2).
fn unfold(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_fold = |at: usize| matches!(bytes.get(at + 1), Some(b' ' | b'\t'));
    if !memchr::memchr_iter(b'\n', bytes).any(is_fold) {
        return Cow::Borrowed(bytes);
    }
    let mut unfolded = bytes.to_vec();
    for at in memchr::memchr_iter(b'\n', bytes).filter(|at| is_fold(*at)) {
        unfolded[at] = b' ';
        if at > 0 && bytes[at - 1] == b'\r' {
            unfolded[at - 1] = b' ';
        }
    }
    Cow::Owned(unfolded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (Result<Head, HeadError>, ProtocolCounters) {
        let mut counters = ProtocolCounters::default();
        (parse(text.as_bytes(), &mut counters), counters)
    }

    /// `name=value` of each field.
    fn fields(text: &str) -> Vec<String> {
        let head = parsed(text).0.unwrap();
        head.headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn start_lines_are_parsed() {
        let request = |method: &str, target: &str| StartLine::Request {
            method: method.to_string(),
            target: target.to_string(),
        };
        for (line, start, version) in [
            (
                "GET /a?b=c HTTP/1.1",
                request("GET", "/a?b=c"),
                HttpVersion::Http11,
            ),
            ("get / HTTP/1.0", request("get", "/"), HttpVersion::Http10),
            (
                "OPTIONS * HTTP/1.1",
                request("OPTIONS", "*"),
                HttpVersion::Http11,
            ),
            (
                "CONNECT a:443 HTTP/1.1",
                request("CONNECT", "a:443"),
                HttpVersion::Http11,
            ),
            (
                "GET http://a/b HTTP/1.1",
                request("GET", "http://a/b"),
                HttpVersion::Http11,
            ),
            (
                "M-SEARCH /ü HTTP/1.1",
                request("M-SEARCH", "/ü"),
                HttpVersion::Http11,
            ),
            (
                "HTTP/1.1 200 OK",
                StartLine::Response { status: 200 },
                HttpVersion::Http11,
            ),
            (
                "HTTP/1.1 204 ",
                StartLine::Response { status: 204 },
                HttpVersion::Http11,
            ),
            (
                "HTTP/1.0 599",
                StartLine::Response { status: 599 },
                HttpVersion::Http10,
            ),
            (
                "HTTP/1.1 404 Nicht gefünden",
                StartLine::Response { status: 404 },
                HttpVersion::Http11,
            ),
        ] {
            for end in ["\r\n", "\n"] {
                let head = parsed(&format!("{line}{end}a: b{end}{end}")).0.unwrap();
                assert_eq!(
                    (head.start, head.version),
                    (
                        match &start {
                            StartLine::Request { method, target } => request(method, target),
                            StartLine::Response { status } =>
                                StartLine::Response { status: *status },
                        },
                        version
                    ),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn senseless_start_lines_are_refused() {
        for line in [
            "GET / HTTP/2.0",
            "GET /",
            "GET  HTTP/1.1",
            "GET / HTTP/1.1 x",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 abc",
            "HTTP/3 200 OK",
            "G\u{e9}T / HTTP/1.1",
            "GET /\u{1} HTTP/1.1",
        ] {
            let result = parsed(&format!("{line}\r\n\r\n")).0;
            assert_eq!(result.unwrap_err(), HeadError::Bad, "{line}");
        }
    }

    #[test]
    fn fields_are_parsed() {
        for (lines, expected) in [
            ("Host: a\r\nACCEPT:*/*\r\n", vec!["host=a", "accept=*/*"]),
            ("a:   spaced\t \r\n", vec!["a=spaced"]),
            ("a: 1\r\nb: 2\r\nA: 3\r\n", vec!["a=1", "a=3", "b=2"]),
            ("a:\r\nb: \r\n", vec!["a=", "b="]),
            ("a: 1\r\n 2\r\n\t3\r\nb: 4\r\n", vec!["a=1   2  \t3", "b=4"]),
            ("a: 1\n 2\n", vec!["a=1  2"]),
            ("b@d: 1\r\na: 2\r\n", vec!["a=2"]),
            ("a: 1\u{7f}\r\nb: 2\r\n", vec!["b=2"]),
        ] {
            let text = format!("GET / HTTP/1.1\r\n{lines}\r\n");
            assert_eq!(fields(&text), expected, "{lines:?}");
            let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
            assert_eq!(fields(&text), expected, "{lines:?}");
        }
        assert_eq!(fields("HTTP/1.1 200 OK\r\na : 1\r\n\r\n"), ["a=1"]);
    }

    #[test]
    fn repairs_are_counted() {
        let folded = parsed("GET / HTTP/1.1\r\na: 1\r\n 2\r\n\r\n").1;
        assert_eq!((folded.folded_fields, folded.bad_fields), (1, 0));
        let bad = parsed("GET / HTTP/1.1\r\nb@d: 1\r\n\r\n").1;
        assert_eq!((bad.folded_fields, bad.bad_fields), (0, 1));
    }

    #[test]
    fn fields_are_bounded() {
        let text = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(
            parsed(&text(MOST_FIELDS)).0.unwrap().headers.len(),
            MOST_FIELDS
        );
        let error = parsed(&text(MOST_FIELDS + 1)).0.unwrap_err();
        assert_eq!(error, HeadError::TooManyFields);
    }

    #[test]
    fn beginnings_are_judged_by_their_line() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\n", Beginning::Request),
            ("GET / HTTP/1.1\nb@d", Beginning::Request),
            ("HTTP/1.1 200 OK\r\nx", Beginning::Response),
            ("G", Beginning::Unclear),
            ("HTTP", Beginning::Unclear),
            ("HTTP/1.1 2", Beginning::Unclear),
            ("GET / HTT", Beginning::Unclear),
            ("\r\n\r\n", Beginning::Unclear),
            ("\nGET / HTTP/1.1\r\n", Beginning::Unclear),
            ("", Beginning::Unclear),
            ("PRI * HTTP/2.0\r\n", Beginning::Other),
            ("\u{16}\u{3}\u{1}", Beginning::Other),
            ("EHLO there\r\n", Beginning::Other),
            ("*1\r\n$4\r\nPING\r\n", Beginning::Other),
            ("{\"a\": 1}\n", Beginning::Other),
            ("data: GET / HTTP/1.1\r\n", Beginning::Other),
        ] {
            assert_eq!(beginning(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_heads_do_no_harm(
            start in prop::sample::select(vec!["GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", ""]),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut text = start.as_bytes().to_vec();
            text.extend(bytes);
            beginning(&text);
            let _ = parse(&text, &mut ProtocolCounters::default());
        }
    }
}
