//! What an exchange means: what its request asks for, and what its response says.
//!
//! The bodies of both messages are read as they pass, by readers that keep only what is told here:
//! names, ids, counts and times. Contents (prompts, answers, arguments) are not kept.

use std::sync::Arc;

use super::exchange::{Request, Response};
use super::llm::{self, ModelReply, ModelRequest};
use super::rpc;
use super::rpc::a2a::{A2aReply, A2aRequest};
use super::rpc::mcp::{McpKind, McpReply, McpRequest};
use crate::protocols::part::ServerSentEvent;
use crate::time::Nanos;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// A call of a model.
    Model(Box<ModelRequest>),
    /// Messages of the Model Context Protocol.
    Mcp(Box<McpRequest>),
    /// A message of the Agent2Agent protocol.
    A2a(Box<A2aRequest>),
    /// The card of an agent (`/.well-known/agent.json` and its other names).
    AgentCard,
}

impl Operation {
    /// It opens a stream that lasts as long as a session, not a piece of work.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Mcp(mcp) if mcp.kind == McpKind::Stream)
    }
}

/// What a response says. Of the same kind as the [`Operation`] that it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Of a model.
    Model(Box<ModelReply>),
    /// Of an MCP server.
    Mcp(Box<McpReply>),
    /// Of an agent.
    A2a(Box<A2aReply>),
}

/// Reads the body of a request.
#[derive(Debug)]
pub enum RequestReader {
    /// Where the path is that of a model's API.
    Model(Box<llm::RequestReader>),
    /// Any other JSON: it may be JSON-RPC.
    Rpc(Box<rpc::RequestReader>),
}

/// How the meaning of a request becomes known.
#[derive(Debug)]
pub enum Understanding {
    /// At once, by its head.
    Known(Operation),
    /// By its body.
    Reading(RequestReader),
    /// It means nothing that is known here.
    Nothing,
}

impl Understanding {
    /// By the head of the request.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        if let Some(reader) = llm::RequestReader::of(request) {
            return Self::Reading(RequestReader::Model(Box::new(reader)));
        }
        rpc::understand(request)
    }
}

impl RequestReader {
    /// The next bytes of the body.
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Model(reader) => reader.bytes(bytes),
            Self::Rpc(reader) => reader.bytes(bytes),
        }
    }

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {
        match self {
            Self::Model(reader) => reader.gap(),
            Self::Rpc(reader) => reader.gap(),
        }
    }

    /// The body is over, or as much of it as will be seen before it is answered. `is_whole`: it
    /// came to its end.
    #[must_use]
    pub fn finish(self, is_whole: bool) -> Option<Operation> {
        match self {
            Self::Model(reader) => reader.finish(is_whole),
            Self::Rpc(reader) => reader.finish(is_whole),
        }
    }
}

/// Reads the body of a response.
#[derive(Debug)]
pub enum ReplyReader {
    /// Of a model.
    Model(Box<llm::ReplyReader>),
    /// Of JSON-RPC.
    Rpc(Box<rpc::ReplyReader>),
}

impl ReplyReader {
    /// For the response to this operation, whose head is known.
    #[must_use]
    pub fn of(operation: &Arc<Operation>, response: &Response) -> Option<Self> {
        match &**operation {
            Operation::Model(model) => {
                let reader = llm::ReplyReader::of(model, response);
                Some(Self::Model(Box::new(reader)))
            }
            Operation::Mcp(_) | Operation::A2a(_) => {
                let reader = rpc::ReplyReader::of(operation, response);
                Some(Self::Rpc(Box::new(reader)))
            }
            Operation::AgentCard => None,
        }
    }

    /// The next bytes of a body that is no event stream.
    pub fn bytes(&mut self, bytes: &[u8], at: Nanos) {
        match self {
            Self::Model(reader) => reader.bytes(bytes, at),
            Self::Rpc(reader) => reader.bytes(bytes, at),
        }
    }

    /// The next event of an event stream.
    pub fn event(&mut self, event: &ServerSentEvent, at: Nanos) {
        match self {
            Self::Model(reader) => reader.event(event, at),
            Self::Rpc(reader) => reader.event(event, at),
        }
    }

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {
        match self {
            Self::Model(reader) => reader.gap(),
            Self::Rpc(reader) => reader.gap(),
        }
    }

    /// The exchange is over. `is_whole`: the response came to its end.
    #[must_use]
    pub fn finish(self, is_whole: bool) -> Option<Reply> {
        match self {
            Self::Model(reader) => Some(reader.finish(is_whole)),
            Self::Rpc(reader) => reader.finish(is_whole),
        }
    }
}
