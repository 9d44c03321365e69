//! The use of tools in a run: each call with the MCP session that serves it.
//!
//! A session that is opened within a step may turn out to be there for one call of a tool; what is
//! exchanged in it waits for its place until then. One that lasts longer is plumbing: a call in it
//! is a use of the tool by itself.

use std::net::SocketAddr;
use std::sync::Arc;

use super::call::{Outgoing, SessionPart, tool_calls};
use super::destinations::{remote, tool_server};
use super::tracing::Tracing;
use crate::capture::event::Endpoints;
use crate::exchanges::exchange::{Exchange, ExchangeId};
use crate::exchanges::llm;
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::mcp::McpMessage;
use crate::identity::service::Service;
use crate::runs::part::{Part, ToolPart};
use crate::runs::span::{Subject, Tool};
use crate::runs::traces::{Above, SpanKey};
use crate::runs::verdict::Verdict;
use crate::time::Nanos;

/// Uses of tools that are open in one run at once. Models ask for a dozen at a time.
const MAX_OPEN: usize = 256;

/// Uses of tools that are not over.
#[derive(Debug, Default)]
pub struct Tools {
    open: Vec<OpenTool>,
}

/// An attempt to reach a server of tools that failed before a tool was called.
#[derive(Debug, Clone)]
pub struct FailedAttempt {
    /// Began.
    pub began: Nanos,
    /// Failed.
    pub ended: Nanos,
    /// How.
    pub verdict: Verdict,
    /// Which server, as the settings call it.
    pub server: Option<String>,
    /// Where to.
    pub address: Option<SocketAddr>,
}

#[derive(Debug)]
struct OpenTool {
    key: SpanKey,
    endpoints: Endpoints,
    server: Option<String>,
    session_id: Option<String>,
    /// The call, and the name of the tool; without one it may yet be plumbing.
    called: Option<Called>,
    /// What its session hangs under if it is nothing but plumbing.
    above: Option<SpanKey>,
    began: Nanos,
    last_end: Nanos,
    /// Exchanges that go on, the server's own stream not among them.
    exchanges: Vec<ExchangeId>,
    /// What became of the call, or of what came before it.
    verdict: Verdict,
    /// Nothing more begins.
    is_closing: bool,
}

#[derive(Debug)]
struct Called {
    exchange: ExchangeId,
    tool: String,
    call_id: Option<String>,
}

/// A call of a tool.
#[derive(Debug)]
pub struct ToolCall {
    /// Name of the tool.
    pub tool: String,
    /// The model's id of the call.
    pub call_id: Option<String>,
    /// The server, as the settings call it.
    pub server: Option<String>,
}

impl Tools {
    /// A tool is called: in the session that was opened for it since `since`, or by itself.
    pub fn call(
        &mut self,
        outgoing: &Outgoing,
        call: ToolCall,
        service: &Arc<Service>,
        above: Above,
        since: Nanos,
        tracing: &mut Tracing<'_>,
    ) {
        let session = self.session_of(outgoing);
        let index = match session {
            Some(index) if self.open[index].called.is_none() && self.open[index].began >= since => {
                index
            }
            session => {
                if let Some(index) = session {
                    // What is exchanged in it from now on belongs to this call.
                    self.open[index].is_closing = true;
                    self.open[index].session_id = None;
                    self.finish_if_over(index, tracing);
                }
                let tool = OpenTool::begin(outgoing, service, None, tracing);
                self.push(tool, tracing)
            }
        };
        let tool = &mut self.open[index];
        tool.exchanges.push(outgoing.id());
        // What came before it went well enough.
        tool.verdict = Verdict::Open;
        tool.server.clone_from(&call.server);
        let part = Part::ToolCall(ToolPart {
            in_agent: true,
            tool: call.tool.clone(),
            server: call.server,
            call_id: call.call_id.clone(),
        });
        tool.called = Some(Called {
            exchange: outgoing.id(),
            tool: call.tool,
            call_id: call.call_id,
        });
        let key = tool.key;
        tracing.put(key, above);
        tracing.put_as(outgoing.id(), part, key);
    }

    /// Something is exchanged in a session. It waits for its place where the session is not known
    /// to be plumbing.
    pub fn session(
        &mut self,
        outgoing: &Outgoing,
        part: SessionPart,
        service: &Arc<Service>,
        above: SpanKey,
        tracing: &mut Tracing<'_>,
    ) {
        let index = match part {
            SessionPart::Opens => {
                let tool = OpenTool::begin(outgoing, service, Some(above), tracing);
                Some(self.push(tool, tracing))
            }
            SessionPart::Goes | SessionPart::Streams | SessionPart::Ends => {
                self.session_of(outgoing)
            }
        };
        let Some(index) = index else {
            return tracing.put(outgoing.id(), Above::Span(above));
        };
        let tool = &mut self.open[index];
        if part != SessionPart::Streams {
            tool.exchanges.push(outgoing.id());
        }
        if part == SessionPart::Ends {
            tool.is_closing = true;
        }
        tracing.put(outgoing.id(), Above::Span(tool.key));
    }

    /// An exchange is over. Returns a session that failed before a tool was called in it.
    pub fn ended(
        &mut self,
        exchange: &Exchange,
        tracing: &mut Tracing<'_>,
    ) -> Option<FailedAttempt> {
        let id = exchange.request.id;
        let is_its = |tool: &OpenTool| tool.exchanges.contains(&id);
        let index = self.open.iter().position(is_its)?;
        let tool = &mut self.open[index];
        tool.exchanges.retain(|open| *open != id);
        tool.last_end = tool.last_end.max(exchange.ended_at);
        let mut failed = None;
        match &tool.called {
            Some(called) if called.exchange == id => {
                tool.verdict = Verdict::of_tool_call(exchange);
            }
            Some(_) => {}
            None => {
                if let Some(Reply::Mcp(reply)) = &exchange.reply
                    && tool.session_id.is_none()
                {
                    tool.session_id.clone_from(&reply.session_id);
                }
                let verdict = Verdict::of_tool_call(exchange);
                if let Verdict::Failed { .. } = verdict {
                    tool.is_closing = true;
                    failed = Some(FailedAttempt {
                        began: tool.began,
                        ended: exchange.ended_at,
                        verdict,
                        server: tool.server.clone(),
                        address: remote(tool.endpoints),
                    });
                }
            }
        }
        self.finish_if_over(index, tracing);
        failed
    }

    /// The model's id of a call that became known later. Gives the tools of calls without one.
    pub fn name_calls(&mut self, mut id_of: impl FnMut(&str) -> Option<String>) {
        for called in self.open.iter_mut().filter_map(|tool| tool.called.as_mut()) {
            if called.call_id.is_none() {
                called.call_id = id_of(&called.tool);
            }
        }
    }

    /// A step is over: so are the uses of tools in it, as soon as their exchanges are.
    pub fn close(&mut self, tracing: &mut Tracing<'_>) {
        for index in (0..self.open.len()).rev() {
            self.open[index].is_closing = true;
            self.finish_if_over(index, tracing);
        }
    }

    /// Nothing more will be told of their exchanges.
    pub fn finish(&mut self, tracing: &mut Tracing<'_>) {
        for tool in self.open.drain(..) {
            tool.finish(tracing);
        }
    }

    fn push(&mut self, tool: OpenTool, tracing: &mut Tracing<'_>) -> usize {
        if self.open.len() >= MAX_OPEN {
            self.open.remove(0).finish(tracing);
        }
        self.open.push(tool);
        self.open.len() - 1
    }

    /// The session that a request is sent in: by its id, or the only one to this server that has
    /// none yet.
    fn session_of(&mut self, outgoing: &Outgoing) -> Option<usize> {
        let session_id = outgoing.mcp()?.session_id.as_ref()?;
        let is_it = |tool: &OpenTool| tool.session_id.as_ref() == Some(session_id);
        if let Some(index) = self.open.iter().position(is_it) {
            return Some(index);
        }
        let server = remote(outgoing.endpoints);
        let mut nameless = self.open.iter().enumerate().filter(|(_, tool)| {
            tool.session_id.is_none() && tool.called.is_none() && remote(tool.endpoints) == server
        });
        let (Some((index, _)), None) = (nameless.next(), nameless.next()) else {
            return None;
        };
        self.open[index].session_id = Some(session_id.clone());
        Some(index)
    }

    fn finish_if_over(&mut self, index: usize, tracing: &mut Tracing<'_>) {
        let tool = &self.open[index];
        // Plumbing needs not to wait for its exchanges.
        if tool.is_closing && (tool.exchanges.is_empty() || tool.called.is_none()) {
            self.open.remove(index).finish(tracing);
        }
    }
}

impl OpenTool {
    fn begin(
        outgoing: &Outgoing,
        service: &Arc<Service>,
        above: Option<SpanKey>,
        tracing: &mut Tracing<'_>,
    ) -> Self {
        let request = outgoing.request.as_deref();
        Self {
            key: tracing.make(service),
            endpoints: outgoing.endpoints,
            server: request.and_then(|request| tool_server(request, &service.agent)),
            session_id: outgoing.mcp().and_then(|mcp| mcp.session_id.clone()),
            called: None,
            above,
            began: outgoing.at(),
            last_end: outgoing.at(),
            exchanges: vec![],
            verdict: Verdict::Open,
            is_closing: false,
        }
    }

    fn finish(self, tracing: &mut Tracing<'_>) {
        if self.called.is_none() {
            tracing.traces.leave_out(self.key);
            let above = self.above.map_or(Above::Nothing, Above::Span);
            tracing.put(self.key, above);
        }
        let called = self.called;
        let tool = Tool {
            name: called
                .as_ref()
                .map_or_else(String::new, |called| called.tool.clone()),
            call_id: called.and_then(|called| called.call_id),
            server: self.server,
            began: self.began,
            ended: self.last_end,
            verdict: self.verdict,
        };
        tracing.end(self.key, Subject::Tool(Box::new(tool)));
    }
}

/// Tells a tool that the model asked for and whose server was not reached.
pub fn tell_unreached(
    tool: &llm::ToolCall,
    attempt: &FailedAttempt,
    service: &Arc<Service>,
    above: SpanKey,
    tracing: &mut Tracing<'_>,
) {
    let told = Tool {
        name: tool.name.clone(),
        call_id: tool.id.clone(),
        server: attempt.server.clone(),
        began: attempt.began,
        ended: attempt.ended,
        verdict: attempt.verdict.clone(),
    };
    tell_whole(told, service, above, tracing);
}

/// Tells the calls of a batch as uses of tools, but for the first so many. `id_of` gives the model's
/// id of a tool's call.
pub fn tell_uses(
    exchange: &Exchange,
    already_told: usize,
    service: &Arc<Service>,
    above: SpanKey,
    mut id_of: impl FnMut(&str) -> Option<String>,
    tracing: &mut Tracing<'_>,
) {
    for call in calls_of(exchange).skip(already_told) {
        let name = call.name.clone().unwrap_or_default();
        let told = Tool {
            call_id: id_of(&name),
            name,
            server: tool_server(&exchange.request, &service.agent),
            began: exchange.request.at,
            ended: exchange.answered_at(call),
            verdict: Verdict::of_call_in_batch(exchange, call),
        };
        tell_whole(told, service, above, tracing);
    }
}

/// Tells the use of a tool that is over.
fn tell_whole(tool: Tool, service: &Arc<Service>, above: SpanKey, tracing: &mut Tracing<'_>) {
    let key = tracing.make(service);
    tracing.put(key, Above::Span(above));
    tracing.end(key, Subject::Tool(Box::new(tool)));
}

/// The calls of a batch of several messages; nothing where there is but one.
fn calls_of(exchange: &Exchange) -> impl Iterator<Item = &McpMessage> {
    let batch = match exchange.operation.as_deref() {
        Some(Operation::Mcp(mcp)) if mcp.messages.len() > 1 => Some(mcp),
        _ => None,
    };
    batch.into_iter().flat_map(|mcp| tool_calls(mcp))
}
