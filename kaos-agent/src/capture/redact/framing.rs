//! Where in an HTTP/1 message a stream is: what is head, what is body, what is framing.
//!
//! Only as much of RFC 9112 as redaction needs. Whatever it does not understand ends in
//! [`State::Unknown`], where all is masked.

use std::collections::VecDeque;

use super::head::{BodyLength, Head, RequestKind};
use super::mask::MASK;
use super::scanner::Scanner;
use crate::settings::RecordedContents;

/// Bytes that stay readable of what is not HTTP: enough to recognise a TLS record.
const CLEAR_BYTES_OF_UNKNOWN: usize = 3;

/// Requests without a response yet, per connection. More pipelined ones than any client sends;
/// the responses of those beyond are masked.
pub const MAX_PIPELINED: usize = 64;

/// The messages of one direction.
#[derive(Default)]
pub struct Framing {
    state: State,
    scanner: Scanner,
    compressed: bool,
}

enum State {
    /// In the head of a message, or before it.
    Head(Head),
    /// In a body, with this many bytes left.
    Body(u64),
    /// In a body that ends with the connection.
    BodyUntilClose,
    /// In the line before a chunk.
    ChunkSize { size: Option<u64>, extension: bool },
    /// In a chunk, with this many bytes left.
    Chunk(u64),
    /// In the line end after a chunk.
    ChunkEnd,
    /// In the trailer section.
    Trailers(Head),
    /// In something that makes no sense here; this many bytes of it may still be shown.
    Unknown { clear: usize },
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Head::new())
    }
}

impl Framing {
    /// The other direction spoke since: where nothing is known, a message may begin.
    pub fn on_turn(&mut self) {
        if matches!(self.state, State::Unknown { .. } | State::BodyUntilClose) {
            self.state = State::default();
        }
    }

    /// This many bytes are missing.
    pub fn on_hole(&mut self, bytes: u64, requests: &mut VecDeque<RequestKind>) {
        self.state = match std::mem::take(&mut self.state) {
            State::Body(left) if bytes < left => State::Body(left - bytes),
            State::Body(left) if bytes == left => State::default(),
            State::Chunk(left) if bytes < left => State::Chunk(left - bytes),
            State::Chunk(left) if bytes == left => State::ChunkEnd,
            State::BodyUntilClose => State::BodyUntilClose,
            // Whole messages may be missing: which request a response answers is not known.
            State::Head(head) if head.is_fresh() => {
                requests.clear();
                State::Head(head)
            }
            _ => return self.on_lost(requests),
        };
        self.scanner.on_hole();
    }

    /// It is not known any more where the stream is.
    pub fn on_lost(&mut self, requests: &mut VecDeque<RequestKind>) {
        self.state = State::Unknown { clear: 0 };
        requests.clear();
    }

    /// Masks the secrets in the next bytes.
    pub fn redact(
        &mut self,
        bytes: &mut [u8],
        requests: &mut VecDeque<RequestKind>,
        contents: RecordedContents,
    ) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let done = self.redact_some(rest, requests, contents);
            rest = &mut rest[done..];
        }
    }

    /// Masks at least one byte; tells how many.
    fn redact_some(
        &mut self,
        bytes: &mut [u8],
        requests: &mut VecDeque<RequestKind>,
        contents: RecordedContents,
    ) -> usize {
        match &mut self.state {
            State::Body(left) | State::Chunk(left) => {
                let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= here as u64;
                let is_over = *left == 0;
                self.redact_body(&mut bytes[..here], contents);
                if is_over {
                    self.state = match self.state {
                        State::Chunk(_) => State::ChunkEnd,
                        _ => State::default(),
                    };
                }
                here
            }
            State::BodyUntilClose => {
                self.redact_body(bytes, contents);
                bytes.len()
            }
            State::Unknown { clear } => {
                let shown = (*clear).min(bytes.len());
                *clear -= shown;
                bytes[shown..].fill(MASK);
                bytes.len()
            }
            State::Head(_) | State::Trailers(_) => {
                self.redact_head_byte(&mut bytes[0], requests);
                1
            }
            State::ChunkSize { size, extension } => {
                match (bytes[0], char::from(bytes[0]).to_digit(16)) {
                    (b'\n', _) => {
                        let size = *size;
                        self.on_chunk_size(size, requests);
                    }
                    (_, Some(digit)) if !*extension => match size.unwrap_or(0).checked_mul(16) {
                        Some(sixteenfold) => *size = Some(sixteenfold | u64::from(digit)),
                        None => self.on_lost(requests),
                    },
                    _ => *extension = true,
                }
                1
            }
            State::ChunkEnd => {
                match bytes[0] {
                    b'\r' => {}
                    b'\n' => {
                        self.state = State::ChunkSize {
                            size: None,
                            extension: false,
                        }
                    }
                    _ => self.on_lost(requests),
                }
                1
            }
        }
    }

    fn redact_body(&mut self, bytes: &mut [u8], contents: RecordedContents) {
        match (contents, self.compressed) {
            (RecordedContents::WithCompressed, true) => {}
            (RecordedContents::HeadsOnly, _) | (_, true) => bytes.fill(MASK),
            (_, false) => self.scanner.redact(bytes),
        }
    }

    fn on_chunk_size(&mut self, size: Option<u64>, requests: &mut VecDeque<RequestKind>) {
        match size {
            Some(0) => self.state = State::Trailers(Head::trailers()),
            Some(size) => self.state = State::Chunk(size),
            None => self.on_lost(requests),
        }
    }

    fn redact_head_byte(&mut self, byte: &mut u8, requests: &mut VecDeque<RequestKind>) {
        let (State::Head(head) | State::Trailers(head)) = &mut self.state else {
            return;
        };
        let original = *byte;
        *byte = head.redact(original);
        if let Some(bytes_before) = head.is_no_start_line() {
            requests.clear();
            let clear = CLEAR_BYTES_OF_UNKNOWN.saturating_sub(bytes_before);
            if clear == 0 {
                *byte = MASK;
            }
            self.state = State::Unknown {
                clear: clear.saturating_sub(1),
            };
            return;
        }
        if !head.is_complete() {
            return;
        }
        if matches!(self.state, State::Trailers(_)) {
            self.state = State::default();
        } else {
            self.begin_body(requests);
        }
    }

    fn begin_body(&mut self, requests: &mut VecDeque<RequestKind>) {
        let State::Head(head) = &self.state else {
            return;
        };
        self.compressed = head.is_compressed();
        self.scanner = Scanner::default();
        if let Some(kind) = head.request_kind()
            && requests.len() < MAX_PIPELINED
        {
            requests.push_back(kind);
        }
        self.state = match head.body_length(requests) {
            BodyLength::Known(0) => State::default(),
            BodyLength::Known(length) => State::Body(length),
            BodyLength::Chunked => State::ChunkSize {
                size: None,
                extension: false,
            },
            BodyLength::UntilClose => State::BodyUntilClose,
            BodyLength::Unknown => State::Unknown { clear: 0 },
        };
    }
}
