//! JSON-RPC over HTTP: MCP and A2A.

pub mod a2a;
pub mod mcp;

use std::sync::Arc;

use super::exchange::{Request, Response};
use super::meaning::{Operation, Reply, Understanding};
use crate::protocols::part::ServerSentEvent;
use crate::time::Nanos;

/// An error of JSON-RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// Its code.
    pub code: i64,
    /// Its message, cut short.
    pub message: Option<String>,
}

/// What the request asks for, by its head; or how to read its body.
#[must_use]
pub fn understand(_request: &Request) -> Understanding {
    Understanding::Nothing
}

/// Reads the body of a request that may be JSON-RPC.
#[derive(Debug)]
pub struct RequestReader;

impl RequestReader {
    /// The next bytes of the body.
    pub fn bytes(&mut self, _bytes: &[u8]) {}

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {}

    /// The body is over.
    #[must_use]
    pub fn finish(self, _is_whole: bool) -> Option<Operation> {
        None
    }
}

/// Reads the body of a response of JSON-RPC.
#[derive(Debug)]
pub struct ReplyReader;

impl ReplyReader {
    /// For the response to this operation.
    #[must_use]
    pub fn of(_operation: &Arc<Operation>, _response: &Response) -> Self {
        Self
    }

    /// The next bytes of a JSON body.
    pub fn bytes(&mut self, _bytes: &[u8], _at: Nanos) {}

    /// The next event of an event stream.
    pub fn event(&mut self, _event: &ServerSentEvent, _at: Nanos) {}

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {}

    /// The exchange is over.
    #[must_use]
    pub fn finish(self, _is_whole: bool) -> Option<Reply> {
        None
    }
}
