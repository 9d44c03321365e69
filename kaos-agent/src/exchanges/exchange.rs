//! One request and its response.

use std::sync::Arc;

use http::HeaderMap;

use super::meaning::{Operation, Reply};
use super::rpc::mcp::McpMessage;
use crate::capture::event::{Endpoints, Pid, SocketId};
pub use crate::protocols::part::{Body, HttpVersion};
pub use crate::streams::chunk::Actor;
use crate::time::Nanos;

/// Number of an exchange, from 1, in the order in which their requests were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// Which end of the exchange the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sent the request.
    Client,
    /// It received the request.
    Server,
}

/// What stage 5 is told, in the order of the kernel's events.
#[derive(Debug, Clone)]
pub enum ExchangeEvent {
    /// The head of a request is complete.
    Started(Arc<Request>),
    /// What a request asks for is known now, or known not to be known. Told once, after `Started`
    /// and before `Responding` and `Ended`, for requests with `is_understood_later`; for those
    /// whose head says all, directly after `Started`.
    Understood {
        /// Of which exchange.
        id: ExchangeId,
        /// When.
        at: Nanos,
        /// What it asks for; `None` where it means nothing that is known here.
        operation: Option<Arc<Operation>>,
    },
    /// The first bytes of its response moved. Whoever writes a response served the request.
    Responding {
        /// Of which exchange.
        id: ExchangeId,
        /// When.
        at: Nanos,
        /// Who moved them.
        actor: Actor,
    },
    /// It is over.
    Ended(Box<Exchange>),
    /// A connection could not be made, so that no request was ever sent.
    ConnectFailed(ConnectFailure),
    /// A process is gone. All its exchanges ended before this is told.
    ProcessExited {
        /// Which.
        pid: Pid,
        /// When.
        at: Nanos,
    },
}

impl ExchangeEvent {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Started(request) => request.at,
            Self::Understood { at, .. }
            | Self::Responding { at, .. }
            | Self::ProcessExited { at, .. } => *at,
            Self::Ended(exchange) => exchange.ended_at,
            Self::ConnectFailed(failure) => failure.failed_at,
        }
    }
}

/// The request of an exchange, as known when its head is complete.
#[derive(Debug, Clone)]
pub struct Request {
    /// Number of the exchange.
    pub id: ExchangeId,
    /// Which end the process is.
    pub role: Role,
    /// Who sent (client) or received (server) the first byte of the request.
    pub actor: Actor,
    /// The socket.
    pub socket: SocketId,
    /// Its two ends.
    pub endpoints: Endpoints,
    /// Stream position of the first byte of the request; both ends agree on its low 32 bits.
    pub position: u64,
    /// When the first byte moved.
    pub at: Nanos,
    /// Method, as sent.
    pub method: String,
    /// Target, as sent: origin form (`/path?query`), absolute form, authority form or `*`.
    pub target: String,
    /// `1.0` or `1.1`.
    pub version: HttpVersion,
    /// Header fields, in order, names in lower case.
    pub headers: HeaderMap,
    /// The connection runs over TLS.
    pub tls: bool,
    /// It may ask for something whose meaning is known: `Understood` follows.
    pub is_understood_later: bool,
}

/// A finished exchange.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its request, the very same that `Started` told.
    pub request: Arc<Request>,
    /// Body of the request.
    pub request_body: Body,
    /// Its final response, where one was seen.
    pub response: Option<Response>,
    /// When the last byte of either message moved, or when it was found to be over. Where the
    /// answer comes on another exchange (MCP's older transport), when it came.
    pub ended_at: Nanos,
    /// How it ended.
    pub outcome: Outcome,
    /// What its request asked for; the same as `Understood` told.
    pub operation: Option<Arc<Operation>>,
    /// What its response said, where it is one to an `operation`.
    pub reply: Option<Reply>,
}

impl Exchange {
    /// When one of its messages of MCP was answered: where each has an answer of its own, when that
    /// was complete.
    #[must_use]
    pub fn answered_at(&self, message: &McpMessage) -> Nanos {
        match &self.reply {
            Some(Reply::Mcp(reply)) => reply
                .answer_to(message)
                .map_or(self.ended_at, |result| result.at),
            _ => self.ended_at,
        }
    }
}

/// The response of an exchange.
#[derive(Debug, Clone)]
pub struct Response {
    /// Who moved its first byte.
    pub actor: Actor,
    /// When the first byte moved.
    pub at: Nanos,
    /// Status code.
    pub status: u16,
    /// Header fields, in order, names in lower case.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
    /// When its first body byte moved.
    pub first_body_at: Option<Nanos>,
    /// Server-sent events in it, and when the first and the last were complete.
    pub events: Option<EventTimes>,
}

/// Times of the server-sent events in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimes {
    /// How many.
    pub count: u64,
    /// The first was complete.
    pub first_at: Nanos,
    /// The last was complete.
    pub last_at: Nanos,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Both messages are whole.
    Complete,
    /// The connection changed its protocol (101, or a CONNECT that succeeded).
    Upgraded,
    /// The connection broke; the kernel's error number (`ECONNRESET`, `ETIMEDOUT`, …).
    Broken {
        /// Positive error number.
        errno: i32,
    },
    /// The server's end closed before the response was whole.
    ServerClosed,
    /// The client's end closed before the response was whole.
    ClientClosed,
    /// The process ended in mid-exchange.
    ProcessExited,
    /// Lost records hid its end, or the bytes made no sense.
    Unobserved,
    /// The agent stopped first.
    Unfinished,
}

/// A connection that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    /// Number, as if it were an exchange.
    pub id: ExchangeId,
    /// Who tried.
    pub actor: Actor,
    /// From and to where.
    pub endpoints: Endpoints,
    /// Began.
    pub at: Nanos,
    /// Failed.
    pub failed_at: Nanos,
    /// The kernel's error number, positive.
    pub errno: i32,
}
