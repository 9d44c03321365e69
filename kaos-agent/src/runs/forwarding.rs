//! Who forwards blindly: sends on the `traceparent` that its process was called with.

use opentelemetry::{SpanId, TraceId};
use rustc_hash::FxHashMap;

use crate::capture::event::Pid;
use crate::exchanges::exchange::{ExchangeId, Request};
use crate::runs::join::JoinKey;
use crate::runs::w3c::Carried;

/// What the requests that are served now carry. Bounded by their number.
#[derive(Debug, Default)]
pub struct Forwarding {
    served: FxHashMap<InboundContext, Vec<(ExchangeId, JoinKey)>>,
    contexts: FxHashMap<ExchangeId, InboundContext>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct InboundContext {
    pid: Pid,
    trace_id: TraceId,
    span_id: SpanId,
}

impl InboundContext {
    fn new(request: &Request, carried: &Carried) -> Self {
        Self {
            pid: request.actor.pid,
            trace_id: carried.trace_id,
            span_id: carried.span_id,
        }
    }
}

/// What a call does with the contexts that its process was called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwards {
    /// It carries another context: a fresh one.
    Nothing,
    /// It carries the context of exactly this request.
    Of(ExchangeId),
    /// It carries the context of several requests.
    OfSeveral,
}

impl Forwarding {
    /// A request that carries a context is served from now on.
    pub fn served(&mut self, request: &Request, carried: &Carried) {
        let context = InboundContext::new(request, carried);
        let same_context = self.served.entry(context).or_default();
        same_context.push((request.id, JoinKey::of(request)));
        self.contexts.insert(request.id, context);
    }

    /// A request is served no longer.
    pub fn ended(&mut self, id: ExchangeId) {
        if let Some(context) = self.contexts.remove(&id)
            && let Some(same_context) = self.served.get_mut(&context)
        {
            same_context.retain(|(served, _)| *served != id);
            if same_context.is_empty() {
                self.served.remove(&context);
            }
        }
    }

    /// What a call with a context forwards. Its own other end, where the process serves itself,
    /// is not what it forwards.
    #[must_use]
    pub fn called(&self, request: &Request, carried: &Carried) -> Forwards {
        let key = JoinKey::of(request);
        let context = InboundContext::new(request, carried);
        let same_context = self.served.get(&context).map_or(&[][..], Vec::as_slice);
        let mut sources = same_context.iter().filter(|(_, served)| *served != key);
        match (sources.next(), sources.next()) {
            (None, _) => Forwards::Nothing,
            (Some((only, _)), None) => Forwards::Of(*only),
            (Some(_), Some(_)) => Forwards::OfSeveral,
        }
    }
}
