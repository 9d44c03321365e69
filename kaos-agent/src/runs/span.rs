//! What this stage hands on: a finished exchange with its place in a trace.

use std::net::IpAddr;
use std::sync::Arc;

use opentelemetry::SpanId;
use opentelemetry::trace::SpanContext;

use crate::capture::event::PeerInfo;
use crate::exchanges::exchange::{ConnectFailure, Exchange, Role};
use crate::exchanges::meaning::Operation;
use crate::exchanges::rpc::mcp::{McpMessage, McpRequest};
use crate::identity::service::Service;
use crate::runs::part::Part;
use crate::runs::verdict::Verdict;
use crate::time::{Nanos, WallOffset};

/// Something that is over, and where it stands in its trace.
#[derive(Debug, Clone)]
pub struct FinishedSpan {
    /// Whose it is.
    pub service: Arc<Service>,
    /// Its trace id, span id, flags and tracestate.
    pub context: SpanContext,
    /// Its parent; a root span has none.
    pub parent: Option<Parent>,
    /// The span of the request that caused it, where that was over by then.
    pub link: Option<SpanContext>,
    /// What turns its times into wall-clock times.
    pub clock: WallOffset,
    /// It is to be exported as a span. Where not, it still counts in the metrics.
    pub exported: bool,
    /// What an exchange is beyond HTTP.
    pub part: Part,
    /// What it tells.
    pub subject: Subject,
    /// Who has the address that was called, where that is known. This stage does not ask.
    pub peer: Option<Arc<PeerInfo>>,
}

impl FinishedSpan {
    /// The address that was called.
    #[must_use]
    pub fn called_address(&self) -> Option<IpAddr> {
        let exchange = match &self.subject {
            Subject::Exchange(exchange) => exchange,
            Subject::BatchedCall(call) => &call.exchange,
            Subject::ConnectFailure(failure) => return failure.endpoints.remote_ip(),
            Subject::Loop(_) | Subject::Step(_) | Subject::Tool(_) => return None,
        };
        let request = &exchange.request;
        (request.role == Role::Client).then(|| request.endpoints.remote_ip())?
    }
}

/// The parent of a span, in the same trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub span_id: SpanId,
    /// It belongs to another process.
    pub remote: bool,
}

/// What a span tells.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A request and its response: a SERVER or a CLIENT span, by the role of the request.
    Exchange(Arc<Exchange>),
    /// A connection that was not made, so that there was no request: a CLIENT span.
    ConnectFailure(ConnectFailure),
    /// A run of an agent: from a request that gives it work to its answer.
    Loop(Box<Loop>),
    /// A step of a run: a model call, and what is done because of its answer.
    Step(Box<Step>),
    /// The use of a tool: all that is exchanged with its server for one call.
    Tool(Box<Tool>),
    /// One of several calls of tools in the same request.
    BatchedCall(Box<BatchedCall>),
}

/// A run of an agent.
#[derive(Debug, Clone)]
pub struct Loop {
    /// What it serves.
    pub exchange: Arc<Exchange>,
    /// What became of it.
    pub verdict: Verdict,
}

/// A step of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// From 1.
    pub number: u32,
    /// When its model call began.
    pub began: Nanos,
    /// When the next step began, or the run ended.
    pub ended: Nanos,
    /// What became of it: of its last model call, or of the run if that broke off.
    pub verdict: Verdict,
    /// Tools that ran within the process, when their results were sent to the model.
    pub local_tools: Vec<LocalTool>,
}

/// A tool that ran within the process of the agent, without a call that could be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTool {
    /// Its name.
    pub name: String,
    /// The model's id of the call.
    pub call_id: Option<String>,
    /// Its result says that it failed.
    pub is_error: bool,
}

/// The use of a tool.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The model's id of the call.
    pub call_id: Option<String>,
    /// Its server, as the agent's settings call it.
    pub server: Option<String>,
    /// When its first message was sent.
    pub began: Nanos,
    /// When its last exchange was over.
    pub ended: Nanos,
    /// What became of it.
    pub verdict: Verdict,
}

/// One of several calls of tools in the same request, a batch of JSON-RPC.
#[derive(Debug, Clone)]
pub struct BatchedCall {
    /// The request, and its response.
    pub exchange: Arc<Exchange>,
    /// Which of the messages of the request.
    pub index: usize,
    /// The server, as the process's settings call it.
    pub server: Option<String>,
}

impl BatchedCall {
    /// The messages of the request, and the call among them.
    #[must_use]
    pub fn message(&self) -> Option<(&McpRequest, &McpMessage)> {
        match self.exchange.operation.as_deref() {
            Some(Operation::Mcp(mcp)) => Some((mcp, mcp.messages.get(self.index)?)),
            _ => None,
        }
    }

    /// When it was answered, or nobody waited for its answer any more.
    #[must_use]
    pub fn ended(&self) -> Nanos {
        let message = self.message();
        message.map_or(self.exchange.ended_at, |(_, message)| {
            self.exchange.answered_at(message)
        })
    }
}
