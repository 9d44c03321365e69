//! What stage 3 tells: the parts of HTTP messages.

use bytes::Bytes;
use http::HeaderMap;

use crate::capture::event::{Direction, Endpoints, Pid, SocketId};
use crate::streams::chunk::{Actor, ConnectionEnd, FailedConnect};
use crate::time::Nanos;

/// One thing that happened to an exchange, a connection or a process, in the kernel's order.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// A part of a message.
    Message(MessagePart),
    /// A connection could not be made.
    ConnectFailed(FailedConnect),
    /// A connection is over. Its open messages were cut before this is told.
    Ended(ConnectionEnd),
    /// A process is gone. All its connections ended before this is told.
    ProcessExited {
        /// Which.
        pid: Pid,
        /// When.
        at: Nanos,
    },
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessagePart {
    /// The connection.
    pub socket: SocketId,
    /// Number of the request on its connection, from 0; its response has the same.
    pub number: u64,
    /// Which of the two messages.
    pub side: Side,
    /// When the part was complete.
    pub at: Nanos,
    /// The part.
    pub content: MessageContent,
}

/// Which message of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The request.
    Request,
    /// The response.
    Response,
}

/// Content of a part: first a head, then bytes or events where somebody reads them, then how the
/// message ended.
#[derive(Debug, Clone, PartialEq)]
pub enum MessageContent {
    /// The head of the request.
    Request(Box<RequestHead>),
    /// The head of the final response; interim responses (1xx) are not told.
    Response(Box<ResponseHead>),
    /// The next bytes of the body, without chunked and content codings.
    Bytes(Bytes),
    /// Bytes of the body are missing here, or could not be decoded from here on.
    Gap,
    /// The next event of an event stream.
    Event(ServerSentEvent),
    /// The message is whole.
    End(BodyEnd),
    /// The message is not whole and nothing more is told of it. For a response whose head was not
    /// seen this is all that is told.
    Cut(BodyEnd, CutReason),
    /// The connection speaks another protocol from here on (the head of the response was told).
    Upgraded,
}

/// Head of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestHead {
    /// Its direction: who received it is the server.
    pub direction: Direction,
    /// The two ends of the connection.
    pub endpoints: Endpoints,
    /// Stream position of its first byte.
    pub position: u64,
    /// When its first byte moved.
    pub at: Nanos,
    /// Who moved its first byte.
    pub actor: Actor,
    /// Method, as sent.
    pub method: String,
    /// Target, as sent.
    pub target: String,
    /// Version.
    pub version: HttpVersion,
    /// Header fields, in order, names in lower case.
    pub headers: HeaderMap,
}

/// Head of a final response.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseHead {
    /// When its first byte moved.
    pub at: Nanos,
    /// Who moved its first byte.
    pub actor: Actor,
    /// Status code, from 101 (then the connection is upgraded) or 200 to 999.
    pub status: u16,
    /// Header fields, in order, names in lower case.
    pub headers: HeaderMap,
}

/// Version of HTTP in the start line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl HttpVersion {
    /// As `network.protocol.version` wants it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
        }
    }
}

/// An event of an event stream (`text/event-stream`, WHATWG HTML section 9.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerSentEvent {
    /// Its type; empty stands for `message`.
    pub event: Bytes,
    /// Its data, lines joined by line feeds.
    pub data: Bytes,
    /// The last `id` up to and including this event.
    pub id: Bytes,
    /// It was longer than the limit, or bytes of it are missing; what is in `data` is its
    /// beginning.
    pub is_cut: bool,
    /// Where bytes of it are missing: the end of its last line, at most 16 KiB of it.
    pub tail: Bytes,
}

/// Sizes of a body, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Body {
    /// As it was on the wire, without the framing of chunked coding; with it where bytes are
    /// missing that hid it.
    pub wire_bytes: u64,
    /// Of those, how many were not captured.
    pub missing_bytes: u64,
    /// When the last byte moved, 0 for a body without bytes.
    pub last_at: Nanos,
}

/// What is known of a body when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodyEnd {
    /// Its sizes.
    pub body: Body,
    /// When its first byte moved.
    pub first_at: Option<Nanos>,
}

/// Why a message is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutReason {
    /// The process read the end of the stream.
    EndOfStream,
    /// The connection ended; how is told next.
    ConnectionEnded,
    /// Lost records or senseless bytes hid its end.
    FramingLost,
}
