//! Batches of JSON-RPC with several calls of tools, outside of runs.
//!
//! No call is more than its siblings what the request is, so the request is HTTP, and each call is a
//! span below it, told when the request is over. (In a run each is the use of a tool; see
//! [`tools`](super::tools).)

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::call::{Outgoing, tool_calls};
use super::destinations::tool_server;
use super::tools::tell_uses;
use super::tracing::Tracing;
use crate::exchanges::exchange::{Exchange, ExchangeId};
use crate::exchanges::meaning::Operation;
use crate::exchanges::rpc::mcp::McpRequest;
use crate::identity::service::Service;
use crate::runs::span::{BatchedCall, Subject};
use crate::runs::traces::Above;

/// Batches that are not over.
#[derive(Debug, Default)]
pub struct Batches {
    open: FxHashMap<ExchangeId, Batch>,
}

/// Whose a batch is.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The service.
    pub service: Arc<Service>,
    /// An agent sends it: its calls are uses of tools.
    pub in_agent: bool,
}

/// These messages are several calls of tools.
#[must_use]
pub fn is_batch(mcp: &McpRequest) -> bool {
    tool_calls(mcp).nth(1).is_some()
}

impl Batches {
    /// Batches that are open.
    #[cfg(test)]
    #[must_use]
    pub fn kept(&self) -> usize {
        self.open.len()
    }

    /// A batch is served.
    pub fn served(&mut self, id: ExchangeId, service: &Arc<Service>) {
        let batch = Batch {
            service: Arc::clone(service),
            in_agent: false,
        };
        self.open.insert(id, batch);
    }

    /// A batch is sent, and this stands above it. Tells its calls where it is over already.
    pub fn sent(
        &mut self,
        outgoing: &Outgoing,
        batch: Batch,
        above: Above,
        tracing: &mut Tracing<'_>,
    ) {
        let id = outgoing.id();
        let held = tracing.traces.held(id).cloned();
        tracing.put(id, above);
        match held {
            Some(Subject::Exchange(exchange)) => batch.tell(&exchange, tracing),
            _ => {
                self.open.insert(id, batch);
            }
        }
    }

    /// An exchange is over: tells its calls where it is a batch.
    pub fn ended(&mut self, exchange: &Arc<Exchange>, tracing: &mut Tracing<'_>) {
        if let Some(batch) = self.open.remove(&exchange.request.id) {
            batch.tell(exchange, tracing);
        }
    }

    /// An exchange is not known any more, or not told here.
    pub fn forget(&mut self, id: ExchangeId) {
        self.open.remove(&id);
    }
}

impl Batch {
    fn tell(&self, exchange: &Arc<Exchange>, tracing: &mut Tracing<'_>) {
        let request = &exchange.request;
        if self.in_agent {
            let above = request.id.into();
            return tell_uses(exchange, 0, &self.service, above, |_| None, tracing);
        }
        let Some(Operation::Mcp(mcp)) = exchange.operation.as_deref() else {
            return;
        };
        let server = tool_server(request, &self.service.agent);
        for (index, message) in mcp.messages.iter().enumerate() {
            if !message.is_tool_call() {
                continue;
            }
            let key = tracing.make(&self.service);
            tracing.put(key, Above::Span(request.id.into()));
            let call = BatchedCall {
                exchange: Arc::clone(exchange),
                index,
                server: server.clone(),
            };
            tracing.end(key, Subject::BatchedCall(Box::new(call)));
        }
    }
}
