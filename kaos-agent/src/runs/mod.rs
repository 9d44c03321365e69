//! Stage 5: exchanges to runs: what caused what, trace ids and span ids.
//!
//! - **In**: [`ExchangeEvent`]s in order, and whose each process is.
//! - **Out**: [`FinishedSpan`]s, as exchanges end, and what [`agents`] makes of several; [`sessions`] of
//!   MCP that are over.
//! - **Keeps**: the exchanges that go on, those that ended in the last [`traces::REMEMBERED_FOR`], what
//!   each process serves, server ends that wait for their client end, of each call until
//!   [`cause::CALL_KEPT`] after its end where it was made and what its other end is known by, and of
//!   served requests what a link to them says, for [`cause::LINKED_FOR`].
//! - **Limits**: [`Limits`]; [`JOIN_WAIT`] and [`CAUSE_WAIT`] bound how long an exchange may wait for its
//!   place. One whose meaning is not known yet waits for it, at the latest until it is answered or over.
//! - **Loses**: the oldest exchanges when there are too many (`runs.exchanges_evicted`); parents that
//!   cannot be known (`runs.causes_unknown`, `.causes_given_up`, `.joins_given_up`); MCP sessions when
//!   there are too many (`runs.mcp_sessions_evicted`).
//!
//! Who the parent is:
//!
//! The `traceparent` is that in `_meta` of an MCP message, else that of the header.
//!
//! | exchange | parent |
//! |---|---|
//! | served, valid `traceparent` | the span that it names; but the client end on this node where that one only forwarded what its own process was called with |
//! | served, none | the client end on this node, else none |
//! | called, its `traceparent` is the one of a request that the process serves | that request: it was forwarded blindly |
//! | called, its `traceparent` is the one of several | what the [`CauseSource`] knows, else the span that it names |
//! | called, its `traceparent` is the one of a request that is over | the span that it names, with a link to the request that left the call running, where that is known |
//! | called, with another `traceparent` | the span that it names: of an SDK in the process, to which [`beside`] leaves the call |
//! | called, none | what the [`CauseSource`] knows |
//!
//! What goes on after its request begins a trace, unless a `traceparent` says where it stands, and has a
//! link to that request (`runs.calls_after_request`).

pub mod agents;
mod asking;
pub mod beside;
mod calls;
pub mod causality;
pub mod cause;
pub mod counters;
pub mod forwarding;
pub mod ids;
pub mod join;
pub mod part;
pub mod polls;
pub mod sampling;
mod sdk;
pub mod sessions;
pub mod span;
pub mod telling;
pub mod traces;
pub mod url;
pub mod verdict;
pub mod w3c;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::capture::event::{ContextEvent, Pid};
use crate::exchanges::exchange::{
    ConnectFailure, Exchange, ExchangeEvent, ExchangeId, Request, Role,
};
use crate::exchanges::meaning::Operation;
use crate::identity::service::Service;
use crate::time::{Nanos, WallOffset};
use agents::{Agents, Outgoing, Tracing};
use asking::Asking;
use beside::Beside;
use causality::Causality;
use cause::{CALL_KEPT, Call, Cause, CauseSource};
use counters::RunCounters;
use forwarding::Forwarding;
use join::{ClientEnd, JoinKey, Joins, ServerEnd};
use sessions::Sessions;
use span::{FinishedSpan, Subject};
use telling::Telling;
use traces::{Above, Beginning, SpanKey, Traces};
use w3c::{Carried, Header};

/// How long a server end without a known client end waits for it. The two ends are told within
/// microseconds of each other; a client that is suspended inside its send can be a time slice or
/// some late.
pub const JOIN_WAIT: Nanos = 100_000_000;

/// How long a call waits until its cause becomes known. An agent's first response byte may come
/// after all its model calls.
pub const CAUSE_WAIT: Nanos = 60_000_000_000;

/// Whose a process is.
pub type Services<'a> = dyn Fn(Pid) -> Option<Arc<Service>> + 'a;

/// What bounds the memory of this stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Exchanges that are known at once, those ended lately included.
    pub exchanges: usize,
    /// Server ends that wait for their client end at once, and calls that wait for their cause.
    pub waiting: usize,
}

impl Default for Limits {
    /// As many exchanges as connections are followed by default, so a few MiB; waits are shorter.
    fn default() -> Self {
        Self {
            exchanges: 16_384,
            waiting: 4_096,
        }
    }
}

/// A request that has its ids.
#[derive(Debug)]
struct Begun {
    request: Arc<Request>,
    service: Arc<Service>,
    telling: Telling,
    /// What caused it, as far as that was known when it began.
    cause: Cause,
}

/// Stage 5.
#[derive(Debug)]
pub struct Runs<Source = Causality> {
    limits: Limits,
    source: Source,
    traces: Traces,
    joins: Joins,
    forwarding: Forwarding,
    agents: Agents,
    beside: Beside,
    sessions: Sessions,
    /// Requests that wait until it is known what they ask for. Not more than stage 4 has open.
    not_understood: FxHashMap<ExchangeId, Begun>,
    /// Calls that wait for their cause or for calls before them, in the order in which they began to.
    asking: Asking,
    clock: WallOffset,
    now: Nanos,
}

impl Runs {
    /// With the source of causes that knows what ran. A live agent takes a random seed, a replay a
    /// fixed one: the same input and seed give the same output.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self::with_source(limits, seed, Causality::default())
    }
}

impl<Source: CauseSource> Runs<Source> {
    /// With another source of causes.
    #[must_use]
    pub fn with_source(limits: Limits, seed: u64, source: Source) -> Self {
        Self {
            limits,
            source,
            traces: Traces::new(limits.exchanges, seed),
            joins: Joins::new(limits.exchanges),
            forwarding: Forwarding::default(),
            agents: Agents::default(),
            beside: Beside::default(),
            sessions: Sessions::default(),
            not_understood: FxHashMap::default(),
            asking: Asking::default(),
            clock: WallOffset::default(),
            now: 0,
        }
    }

    /// The wall clock was measured; holds for all traces that begin from now on.
    pub fn clock(&mut self, offset: WallOffset) {
        self.clock = offset;
    }

    /// The wall clock as it was last measured.
    #[must_use]
    pub fn wall_clock(&self) -> WallOffset {
        self.clock
    }

    /// The source of causes.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What was seen, decided, and given up.
    #[must_use]
    pub fn counters(&self) -> &RunCounters {
        &self.traces.counters
    }

    /// Something happened to the contexts of a Python process.
    pub fn context(&mut self, event: &ContextEvent) {
        self.source.context(event);
    }

    /// Something happened; appends the spans that are finished by it.
    pub fn push(
        &mut self,
        event: ExchangeEvent,
        services: &Services<'_>,
        out: &mut Vec<FinishedSpan>,
    ) {
        self.tick(event.at(), out);
        self.will_observe(&event, out);
        self.source.observe(&event);
        match event {
            ExchangeEvent::Started(request) => self.started(request, services, out),
            ExchangeEvent::Understood { id, operation, .. } => {
                if let Some(begun) = self.not_understood.remove(&id) {
                    self.understood(&begun, operation.as_ref(), out);
                }
            }
            ExchangeEvent::Responding { actor, .. } => self.ask_again(actor.pid, out),
            ExchangeEvent::Ended(exchange) => {
                let request = &exchange.request;
                if request.role == Role::Server && exchange.response.is_none() {
                    // Nobody needs to wait for its response any more.
                    self.ask_again(request.actor.pid, out);
                }
                self.ended(Arc::from(exchange), out);
            }
            ExchangeEvent::ConnectFailed(failure) => self.connect_failed(failure, services, out),
            ExchangeEvent::ProcessExited { pid, at } => {
                self.agents.exited(pid);
                self.sessions.exited(pid, at);
                self.beside.exited(pid);
            }
        }
    }

    /// Before the source of causes learns of an event.
    fn will_observe(&mut self, event: &ExchangeEvent, out: &mut Vec<FinishedSpan>) {
        match event {
            ExchangeEvent::Responding { id, .. } => self.agents.answered(*id),
            ExchangeEvent::Ended(exchange) if exchange.request.role == Role::Server => {
                self.agents.answered(exchange.request.id);
                if exchange.response.is_none() {
                    self.ask_at_last(&exchange.request, out);
                }
            }
            _ => {}
        }
    }

    /// Time goes by; appends the spans that have waited long enough. All events before `now` must
    /// have been pushed.
    pub fn tick(&mut self, now: Nanos, out: &mut Vec<FinishedSpan>) {
        self.now = self.now.max(now);
        while let Some(server) = self.joins.give_up_expired(self.now) {
            self.put_without_client(server, out);
        }
        while let Some(until) = self.asking.oldest_until()
            && until <= self.now
        {
            self.give_up_oldest_call(out);
        }
        let now = self.now;
        let (agents, mut tracing) = self.agents(out);
        agents.advance(now, &mut tracing);
        self.traces.advance(now);
        self.joins.advance(now);
        self.sessions.advance(now);
        self.traces.counters.mcp_sessions_evicted = self.sessions.evicted();
    }

    /// The agent stops, and every exchange has ended; appends all spans that still waited.
    pub fn finish(&mut self, now: Nanos, out: &mut Vec<FinishedSpan>) {
        self.tick(now, out);
        while let Some(server) = self.joins.give_up_oldest() {
            self.put_without_client(server, out);
        }
        while !self.asking.is_empty() {
            self.give_up_oldest_call(out);
        }
        let (agents, mut tracing) = self.agents(out);
        agents.finish(&mut tracing);
    }

    /// The runs of agents, and what they need to tell spans.
    fn agents<'a>(&'a mut self, out: &'a mut Vec<FinishedSpan>) -> (&'a mut Agents, Tracing<'a>) {
        let tracing = Tracing {
            traces: &mut self.traces,
            clock: self.clock,
            out,
        };
        (&mut self.agents, tracing)
    }

    /// A request began: its ids are chosen now. Its place may depend on what it asks for.
    fn started(
        &mut self,
        request: Arc<Request>,
        services: &Services<'_>,
        out: &mut Vec<FinishedSpan>,
    ) {
        self.traces.counters.requests += 1;
        let Some(service) = services(request.actor.pid) else {
            self.traces.counters.without_service += 1;
            return;
        };
        let telling = Telling::of(&request, &service);
        self.make_room(out);
        let beginning = Beginning {
            role: Some(request.role),
            service: Arc::clone(&service),
            telling,
            clock: self.clock,
        };
        self.traces.begin(request.id, beginning);
        // A source remembers the past for a while only, so it is asked now.
        let cause = match request.role {
            Role::Server => Cause::Nothing,
            Role::Client => self.source.cause(&Call::of(&request)),
        };
        let begun = Begun {
            request,
            service,
            telling,
            cause,
        };
        if begun.request.is_understood_later {
            self.not_understood.insert(begun.request.id, begun);
        } else {
            self.understood(&begun, None, out);
        }
    }

    /// All is known that its place depends on.
    fn understood(
        &mut self,
        begun: &Begun,
        operation: Option<&Arc<Operation>>,
        out: &mut Vec<FinishedSpan>,
    ) {
        let carried = self.carried(&begun.request, operation.map(Arc::as_ref));
        self.sessions
            .asked(&begun.request, operation.map(Arc::as_ref));
        match begun.request.role {
            Role::Server => {
                self.served_beside_sdk(begun, carried.as_ref());
                let share = self.beside.share(begun.request.actor.pid, &begun.service);
                if share.has_meaning() {
                    let (agents, mut tracing) = self.agents(out);
                    agents.served(&begun.request, operation, &mut tracing);
                }
                self.served(begun, carried, out);
            }
            Role::Client => self.called(begun, operation, carried, out),
        }
    }

    /// The context that a request carries: that of its messages before that of its header, which
    /// in clients that share a connection is often another task's.
    fn carried(&mut self, request: &Request, operation: Option<&Operation>) -> Option<Carried> {
        let messages = match operation {
            Some(Operation::Mcp(mcp)) => &mcp.messages[..],
            _ => &[],
        };
        let in_messages = messages.iter().map(Header::of_message);
        let in_headers = std::iter::once_with(|| Header::of(&request.headers));
        for header in in_messages.chain(in_headers) {
            match header {
                Header::Valid(carried) => return Some(carried),
                Header::Absent => {}
                Header::Invalid => self.traces.counters.invalid_traceparents += 1,
            }
        }
        None
    }

    fn served(&mut self, begun: &Begun, carried: Option<Carried>, out: &mut Vec<FinishedSpan>) {
        let Begun {
            request,
            service,
            telling,
            ..
        } = begun;
        self.leave_served_to_sdk(request.actor.pid, service, &[request.id]);
        if *telling == Telling::Nothing {
            self.traces.counters.excluded_requests += 1;
        }
        if let Some(carried) = &carried {
            self.forwarding.served(request, carried);
        }
        let server = ServerEnd {
            id: request.id,
            carried,
        };
        let key = JoinKey::of(request);
        if let Some(client) = self.joins.client_of(key) {
            return self.join(client, server, out);
        }
        let until = self.now.saturating_add(JOIN_WAIT);
        if let Some(displaced) = self.joins.wait(key, server, until) {
            self.put_without_client(displaced, out);
        }
        if self.joins.waiting() > self.limits.waiting
            && let Some(oldest) = self.joins.give_up_oldest()
        {
            self.traces.counters.joins_given_up += 1;
            self.put_without_client(oldest, out);
        }
    }

    fn ended(&mut self, exchange: Arc<Exchange>, out: &mut Vec<FinishedSpan>) {
        let id = exchange.request.id;
        let pid = exchange.request.actor.pid;
        if exchange.request.role == Role::Client {
            let until = self.now.saturating_add(CALL_KEPT);
            let key = JoinKey::of(&exchange.request);
            self.joins.client_ended(key, id, until);
        }
        self.forwarding.ended(id);
        self.beside.ended(id, self.now);
        let told = self.traces.service_of(id);
        let meant = told.filter(|(service, _)| self.beside.share(pid, service).has_meaning());
        let has_meaning = meant.is_some();
        let measured = meant.filter(|(_, telling)| *telling != Telling::Nothing);
        self.sessions
            .ended(&exchange, measured.map(|(service, _)| service));
        let now = self.now;
        let (agents, mut tracing) = self.agents(out);
        agents.ending(&exchange, has_meaning, &mut tracing);
        let subject = Subject::Exchange(Arc::clone(&exchange));
        tracing.traces.end(id, subject, tracing.out);
        agents.ended(&exchange, now, &mut tracing);
    }

    fn connect_failed(
        &mut self,
        failure: ConnectFailure,
        services: &Services<'_>,
        out: &mut Vec<FinishedSpan>,
    ) {
        self.traces.counters.connect_failures += 1;
        let Some(service) = services(failure.actor.pid) else {
            self.traces.counters.without_service += 1;
            return;
        };
        let mut telling = Telling::of_connect_failure(&service);
        if telling != Telling::Nothing
            && !self
                .beside
                .tells_failed_connects(failure.actor.pid, &service)
        {
            self.traces.counters.left_to_sdk += 1;
            telling = Telling::Nothing;
        }
        let share = self.beside.share(failure.actor.pid, &service);
        let outgoing = Outgoing::failure(&failure, share.has_meaning());
        let beginning = Beginning {
            role: Some(Role::Client),
            service,
            telling,
            clock: self.clock,
        };
        self.make_room(out);
        self.traces.begin(failure.id, beginning);
        self.traces
            .end(failure.id, Subject::ConnectFailure(failure), out);
        self.ask(outgoing, out);
    }

    /// Both ends of a request are known.
    fn join(&mut self, client: ClientEnd, server: ServerEnd, out: &mut Vec<FinishedSpan>) {
        if !self.traces.may_hang_under(server.id, client.id) {
            return self.put_without_client(server, out);
        }
        self.traces.counters.joined += 1;
        let above = match server.carried {
            Some(carried) if !client.forwards => Above::Carried(carried),
            _ => Above::Span(client.id.into()),
        };
        self.traces.put(server.id, above, out);
    }

    fn put_without_client(&mut self, server: ServerEnd, out: &mut Vec<FinishedSpan>) {
        let above = server.carried.map_or(Above::Nothing, Above::Carried);
        self.traces.put(server.id, above, out);
    }

    /// Makes room for one more exchange: forgets what is over, then lets nobody wait, then forgets
    /// what goes on.
    fn make_room(&mut self, out: &mut Vec<FinishedSpan>) {
        while self.traces.is_full() && !self.traces.forget_oldest_done() {
            if let Some(server) = self.joins.give_up_oldest() {
                self.traces.counters.joins_given_up += 1;
                self.put_without_client(server, out);
            } else if !self.asking.is_empty() {
                self.give_up_oldest_call(out);
            } else if let Some(SpanKey::Exchange(id)) = self.traces.evict_oldest() {
                let (agents, mut tracing) = self.agents(out);
                agents.forget(id, &mut tracing);
            }
        }
    }
}
