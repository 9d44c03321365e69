//! Bytes through stages 2 to 4, and what is told of them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::capture::event::{Data, Direction, Endpoints, Event, Label, SocketId};
use crate::exchanges::exchange::{Exchange, ExchangeEvent};
use crate::exchanges::{self, Exchanges, reading};
use crate::protocols::limits::ProtocolCounters;
use crate::protocols::{self, Protocols};
use crate::streams::{self, Streams};
use bytes::Bytes;

/// Bytes that moved one way, and how many after them were not captured.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Which way.
    pub direction: Direction,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Bytes that follow and are missing.
    pub skipped: u64,
}

/// Bytes that were received.
#[must_use]
pub fn received(bytes: &[u8]) -> Operation<'_> {
    Operation {
        direction: Direction::Received,
        bytes,
        skipped: 0,
    }
}

/// Bytes that were sent.
#[must_use]
pub fn sent(bytes: &[u8]) -> Operation<'_> {
    Operation {
        direction: Direction::Sent,
        ..received(bytes)
    }
}

/// Exchanges that end when these operations are made on a new connection, and the agent stops. All
/// of them happen at once, so that cuts make no difference.
#[must_use]
pub fn exchanges<'a>(operations: impl IntoIterator<Item = Operation<'a>>) -> Vec<Exchange> {
    exchanges_and_counters(operations).0
}

/// The same, and what the protocols counted.
fn exchanges_and_counters<'a>(
    operations: impl IntoIterator<Item = Operation<'a>>,
) -> (Vec<Exchange>, ProtocolCounters) {
    let mut streams = Streams::new(streams::Limits::default());
    let mut protocols = Protocols::new(protocols::limits::Limits::default(), reading);
    let mut exchanges = Exchanges::new(exchanges::Limits::default());
    let (mut chunks, mut parts, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let mut positions = [0, 0];
    for operation in operations {
        let position = &mut positions[operation.direction as usize];
        streams.push(&data(operation, *position), &mut chunks);
        *position += operation.bytes.len() as u64 + operation.skipped;
    }
    streams.finish(1, &mut chunks);
    for chunk in chunks {
        protocols.push(chunk, &mut parts);
    }
    for part in parts {
        exchanges.push(part, &mut told);
    }
    let ended = told.into_iter().filter_map(|event| match event {
        ExchangeEvent::Ended(exchange) => Some(*exchange),
        _ => None,
    });
    (ended.collect(), *protocols.counters())
}

/// What the one exchange with these messages means, whole and in pieces of this length.
///
/// # Panics
/// It does not mean the same.
pub fn means_the_same_in_pieces(request: &[u8], response: &[u8], length: usize) {
    means_the_same_unless(|_| false, request, response, length);
}

/// The same, unless the counters say that it need not.
///
/// # Panics
/// It does not mean the same.
pub fn means_the_same_unless(
    excused: impl Fn(&ProtocolCounters) -> bool,
    request: &[u8],
    response: &[u8],
    length: usize,
) {
    let meaning = |operations: Vec<Operation<'_>>| {
        let (ended, counters) = exchanges_and_counters(operations);
        let meanings = ended
            .iter()
            .map(|exchange| format!("{:?} {:?}", exchange.operation, exchange.reply));
        (meanings.collect::<Vec<_>>(), excused(&counters))
    };
    let (whole, is_excused) = meaning(vec![received(request), sent(response)]);
    let requests = request.chunks(length).map(received);
    let pieces = requests.chain(response.chunks(length).map(sent)).collect();
    let (in_pieces, are_excused) = meaning(pieces);
    if !is_excused && !are_excused {
        assert_eq!(whole, in_pieces, "in pieces of {length}");
    }
}

/// A request with this body.
#[must_use]
pub fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A response with this body.
#[must_use]
pub fn response(content_type: &str, body: &[u8]) -> Vec<u8> {
    response_with(&format!("Content-Type: {content_type}"), body)
}

/// A response with this header beside its length, and this body.
#[must_use]
pub fn response_with(header: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The first two bytes of an input, which choose how the rest is used: one of so many kinds, and
/// the length of pieces.
#[must_use]
pub fn choice(input: &[u8], kinds: usize) -> Option<(usize, usize, &[u8])> {
    let [kind, length, rest @ ..] = input else {
        return None;
    };
    Some((
        usize::from(*kind) % kinds,
        usize::from(*length).max(1),
        rest,
    ))
}

/// A request of a chat, for a response to answer.
pub const CHAT: &[u8] = br#"{"model":"m","messages":[],"input":"x","prompt":"x"}"#;

/// The APIs of models.
pub const MODEL_PATHS: [&str; 8] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/api/chat",
    "/api/generate",
    "/api/embed",
];

/// Content types of what is read.
pub const CONTENT_TYPES: [&str; 3] = [
    "application/json",
    "text/event-stream",
    "application/x-ndjson",
];

/// How bodies are compressed.
pub const CODINGS: [&str; 5] = ["gzip", "deflate", "br", "zstd", "gzip, zstd"];

/// A response with this body, which is chunked already.
#[must_use]
pub fn chunked_response(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn data(operation: Operation<'_>, position: u64) -> Event {
    Event::Data(Data {
        at: 1,
        pid: 1,
        tid: 1,
        label: Label::Unknown,
        socket: SocketId(1),
        endpoints: Endpoints::Tcp {
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
            network_namespace: 1,
        },
        direction: operation.direction,
        position,
        bytes: Bytes::copy_from_slice(operation.bytes),
        skipped: operation.skipped,
        stream_start: position == 0,
        end_of_stream: false,
    })
}
