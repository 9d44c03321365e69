//! What a process asks a collector for over HTTP/2: the paths of its requests, which name the signals
//! of OTLP over gRPC. Frames (RFC 9113) are read as far as that needs.
//!
//! Fields are compressed by what came before (RFC 7541), so a connection is read from its first byte on,
//! and no further than to the first byte of a frame that is missing.

use bytes::Bytes;
use loona_hpack::Decoder;

/// First bytes of a client (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes before a frame's payload: its length (3), type, flags and stream (4).
const FRAME_HEADER: usize = 9;

/// Types of frames (RFC 9113 section 6).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

/// Flags of HEADERS and CONTINUATION.
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Bytes of a stream's priority: the stream that it depends on, and a weight.
const PRIORITY_BYTES: usize = 5;

/// Bytes of a request's fields. Exporters send some hundred, and a token; gRPC's servers take 8 KiB.
const MOST_FIELD_BYTES: usize = 16 * 1024;
/// Bytes of a table of fields: 16 times what both ends agree on where nobody says otherwise.
const MOST_TABLE_BYTES: usize = 64 * 1024;

/// Beginning of the paths of OTLP over gRPC, of all signals.
const COLLECTOR: &[u8] = b"/opentelemetry.proto.collector.";
/// The path of spans.
const SPANS: &[u8] = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To take spans.
    Spans,
    /// To take another signal of OpenTelemetry.
    OtherSignal,
    /// Something else.
    Else,
}

/// The rest of a connection cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// What a client sends.
pub struct Client {
    /// The stream is at this place.
    at: Place,
    /// Fields of a request of which more is to come.
    fields: Vec<u8>,
    decoder: Decoder<'static>,
}

/// Where a stream is.
enum Place {
    /// So far into the preface.
    Preface(usize),
    /// In the header of a frame, of which so much is known.
    Header([u8; FRAME_HEADER], usize),
    /// In the payload of a frame with fields.
    Fields { frame: Frame, payload: Vec<u8> },
    /// This far from the end of the payload of another frame.
    Other(usize),
}

/// Header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    fn of([a, b, c, kind, flags, stream @ ..]: [u8; FRAME_HEADER]) -> Self {
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // The first bit is reserved.
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        }
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Default for Client {
    fn default() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(MOST_TABLE_BYTES);
        Self {
            at: Place::Preface(0),
            fields: Vec::new(),
            decoder,
        }
    }
}

impl Client {
    /// Bytes that it keeps, beside the table of fields.
    pub fn buffered(&self) -> usize {
        let payload = match &self.at {
            Place::Fields { payload, .. } => payload.len(),
            Place::Preface(_) | Place::Header(..) | Place::Other(_) => 0,
        };
        self.fields.len() + payload
    }

    /// Takes the next bytes; calls `asked` for each request in them.
    ///
    /// # Errors
    /// They are no HTTP/2, or more than is read.
    pub fn push(&mut self, bytes: &Bytes, asked: &mut impl FnMut(Asked)) -> Result<(), Unreadable> {
        let mut input = &bytes[..];
        while !input.is_empty() {
            match &mut self.at {
                Place::Preface(known) => {
                    let length = input.len().min(PREFACE.len() - *known);
                    let (here, rest) = input.split_at(length);
                    if here != &PREFACE[*known..*known + length] {
                        return Err(Unreadable);
                    }
                    input = rest;
                    *known += length;
                    if *known == PREFACE.len() {
                        self.at = Place::Header([0; FRAME_HEADER], 0);
                    }
                }
                Place::Header(header, known) => {
                    let length = input.len().min(FRAME_HEADER - *known);
                    let (here, rest) = input.split_at(length);
                    header[*known..*known + length].copy_from_slice(here);
                    input = rest;
                    *known += length;
                    if *known == FRAME_HEADER {
                        let frame = Frame::of(*header);
                        self.begin(frame, asked)?;
                    }
                }
                Place::Fields { frame, payload } => {
                    let length = input.len().min(frame.length - payload.len());
                    let (here, rest) = input.split_at(length);
                    payload.extend_from_slice(here);
                    input = rest;
                    if payload.len() == frame.length {
                        let (frame, payload) = (*frame, std::mem::take(payload));
                        self.fields(frame, &payload, asked)?;
                    }
                }
                Place::Other(left) => {
                    let length = input.len().min(*left);
                    input = &input[length..];
                    *left -= length;
                    if *left == 0 {
                        self.at = Place::Header([0; FRAME_HEADER], 0);
                    }
                }
            }
        }
        Ok(())
    }

    /// So many bytes are missing.
    ///
    /// # Errors
    /// They are not all within the payload of a frame that nobody reads.
    pub fn gap(&mut self, missing: u64) -> Result<(), Unreadable> {
        let Place::Other(left) = &mut self.at else {
            return Err(Unreadable);
        };
        let missing = usize::try_from(missing).map_err(|_| Unreadable)?;
        *left = left.checked_sub(missing).ok_or(Unreadable)?;
        if *left == 0 {
            self.at = Place::Header([0; FRAME_HEADER], 0);
        }
        Ok(())
    }

    /// The header of a frame is known.
    fn begin(&mut self, frame: Frame, asked: &mut impl FnMut(Asked)) -> Result<(), Unreadable> {
        if frame.kind == HEADERS || frame.kind == CONTINUATION {
            if self.fields.len() + frame.length > MOST_FIELD_BYTES {
                return Err(Unreadable);
            }
            if frame.length == 0 {
                return self.fields(frame, &[], asked);
            }
            self.at = Place::Fields {
                frame,
                payload: Vec::new(),
            };
            return Ok(());
        }
        self.at = match frame.length {
            0 => Place::Header([0; FRAME_HEADER], 0),
            length => Place::Other(length),
        };
        Ok(())
    }

    /// A frame with fields is whole.
    fn fields(
        &mut self,
        frame: Frame,
        payload: &[u8],
        asked: &mut impl FnMut(Asked),
    ) -> Result<(), Unreadable> {
        self.at = Place::Header([0; FRAME_HEADER], 0);
        let mut fields = payload;
        if frame.kind == HEADERS {
            self.fields.clear();
            if frame.has(PADDED) {
                let (padding, rest) = fields.split_first().ok_or(Unreadable)?;
                let length = rest.len().checked_sub(usize::from(*padding));
                fields = &rest[..length.ok_or(Unreadable)?];
            }
            if frame.has(PRIORITY) {
                fields = fields.get(PRIORITY_BYTES..).ok_or(Unreadable)?;
            }
        }
        self.fields.extend_from_slice(fields);
        if !frame.has(END_HEADERS) {
            return Ok(());
        }
        let fields = std::mem::take(&mut self.fields);
        let mut found = None;
        let decoded = self.decoder.decode_with_cb(&fields, |name, value| {
            if &*name == b":path" {
                found = Some(match &*value {
                    SPANS => Asked::Spans,
                    path if path.starts_with(COLLECTOR) => Asked::OtherSignal,
                    _ => Asked::Else,
                });
            }
        });
        decoded.map_err(|_| Unreadable)?;
        // Trailers have none.
        if let Some(found) = found {
            asked(found);
        }
        Ok(())
    }
}

/// Whether a client's stream begins so.
#[must_use]
pub fn is_client(bytes: &[u8]) -> bool {
    bytes.starts_with(&PREFACE[..8])
}

/// Whether a server's stream begins so: with its settings, of six bytes each, for the whole connection.
#[must_use]
pub fn is_server(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<FRAME_HEADER>() else {
        return false;
    };
    let frame = Frame::of(*header);
    let is_settings = frame.kind == SETTINGS && frame.flags == 0 && frame.stream == 0;
    is_settings && frame.length.is_multiple_of(6) && frame.length < MOST_FIELD_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len())
            .expect("a small frame")
            .to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    /// `:path` as a literal that enters the table; its name is the fourth of the static one.
    fn path(signal: &str) -> Vec<u8> {
        let path = format!("/opentelemetry.proto.collector.{signal}/Export");
        let length = u8::try_from(path.len()).expect("a short path");
        [&[0x44, length], path.as_bytes()].concat()
    }

    const TRACES: &str = "trace.v1.TraceService";
    const METRICS: &str = "metrics.v1.MetricsService";
    /// The first entry of the dynamic table.
    const SAME_PATH: [u8; 1] = [0x80 | 62];
    const DATA: u8 = 0;

    /// A connection with these frames.
    fn connection(frames: &[Vec<u8>]) -> Bytes {
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
        let start = [PREFACE, &settings].concat();
        Bytes::from([start, frames.concat()].concat())
    }

    fn asked(pieces: &[Bytes]) -> (Vec<Asked>, Result<(), Unreadable>) {
        let mut client = Client::default();
        let mut asked = Vec::new();
        let result = pieces
            .iter()
            .try_for_each(|piece| client.push(piece, &mut |one| asked.push(one)));
        (asked, result)
    }

    fn conversation() -> (Bytes, Vec<Asked>) {
        let padded = [&[2][..], &[0, 0, 0, 0, 7], &path(TRACES), &[0, 0]].concat();
        let (head, tail) = {
            let whole = path("logs.v1.LogsService");
            let (head, tail) = whole.split_at(20);
            (head.to_vec(), tail.to_vec())
        };
        let frames = [
            frame(HEADERS, END_HEADERS, 1, &path(METRICS)),
            frame(DATA, 1, 1, &[7; 5000]),
            frame(8, 0, 0, &[0, 1, 0, 0]),
            frame(HEADERS, END_HEADERS, 3, &SAME_PATH),
            frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 5, &padded),
            frame(HEADERS, 0, 7, &head),
            frame(CONTINUATION, END_HEADERS, 7, &tail),
            frame(HEADERS, END_HEADERS, 9, &[0x84]),
        ];
        let asked = [
            Asked::OtherSignal,
            Asked::OtherSignal,
            Asked::Spans,
            Asked::OtherSignal,
            Asked::Else,
        ];
        (connection(&frames), asked.to_vec())
    }

    #[test]
    fn each_request_names_what_it_asks_for() {
        let (bytes, expected) = conversation();
        assert_eq!(asked(&[bytes]), (expected, Ok(())));
    }

    #[test]
    fn what_is_missing_of_a_payload_does_no_harm() {
        let whole = frame(DATA, 1, 1, &[7; 100]);
        let start = connection(&[frame(HEADERS, END_HEADERS, 1, &path(METRICS))]);
        let next = Bytes::from(frame(HEADERS, END_HEADERS, 3, &path(TRACES)));
        let ask = |missing: u64| {
            let mut client = Client::default();
            let mut found = Vec::new();
            client.push(&start, &mut |one| found.push(one))?;
            let known = Bytes::copy_from_slice(&whole[..FRAME_HEADER + 40]);
            client.push(&known, &mut |one| found.push(one))?;
            client.gap(missing)?;
            client.push(&next, &mut |one| found.push(one))?;
            Ok(found)
        };
        assert_eq!(ask(60), Ok(vec![Asked::OtherSignal, Asked::Spans]));
        assert_eq!(ask(61), Err(Unreadable));
    }

    #[test]
    fn what_cannot_be_read_is_given_up() {
        let after = |frames: &[Vec<u8>]| asked(&[connection(frames)]);
        let too_long = vec![0; MOST_FIELD_BYTES + 1];
        let index_of_nothing = [0x80 | 70];
        for hostile in [
            frame(HEADERS, END_HEADERS, 1, &index_of_nothing),
            frame(HEADERS, END_HEADERS | PADDED, 1, &[9, 0x84]),
            frame(HEADERS, END_HEADERS | PRIORITY, 1, &[0x84]),
            frame(HEADERS, 0, 1, &too_long),
            // A table of 128 KiB.
            frame(HEADERS, END_HEADERS, 1, &[0x3f, 0xe1, 0xff, 0x07, 0x84]),
        ] {
            assert_eq!(after(&[hostile]), (vec![], Err(Unreadable)));
        }
        let more = frame(CONTINUATION, 0, 1, &vec![0; MOST_FIELD_BYTES / 2 + 1]);
        assert_eq!(after(&[more.clone(), more]).1, Err(Unreadable));
        assert_eq!(
            asked(&[Bytes::from_static(b"PRI * HTTP/1.0")]).1,
            Err(Unreadable)
        );
    }

    #[test]
    fn ends_are_told_by_their_first_bytes() {
        assert!(is_client(b"PRI * HTTP/2.0\r\n"));
        assert!(!is_client(b"PRI") && !is_client(b"GET / HTTP/1.1"));
        assert!(is_server(&frame(SETTINGS, 0, 0, &[0; 12])));
        assert!(!is_server(&frame(SETTINGS, 1, 0, &[])));
        assert!(!is_server(b"HTTP/1.1 400") && !is_server(b"\0\0"));
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(cuts in proptest::collection::vec(0.0..1.0, 0..8)) {
            let (bytes, expected) = conversation();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| (bytes.len() as f64 * cut) as usize).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            let pieces: Vec<_> = cuts
                .into_iter()
                .map(|to| bytes.slice(std::mem::replace(&mut from, to)..to))
                .collect();
            prop_assert_eq!(asked(&pieces), (expected, Ok(())));
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let hostile = [&connection(&[])[..], &bytes].concat();
            let _ = asked(&[Bytes::from(hostile)]);
            let fields = frame(HEADERS, END_HEADERS, 1, &bytes);
            let _ = asked(&[connection(&[fields])]);
        }
    }
}
