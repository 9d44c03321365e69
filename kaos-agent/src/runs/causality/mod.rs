//! What caused a call, known from what ran when it was made: exact in a process that interleaves its
//! requests on one thread, as asynchronous Python does.
//!
//! Whoever moves bytes runs in a *place*: a Python context, or a thread that runs in none. A context
//! is made as a copy of another one, so places form trees. Where a request is served is known
//!
//! - from its first byte: what is copied from the place that received it while it is served belongs
//!   to it, as long as that place receives one request at a time;
//! - from its response: the place that writes it, or the farthest above that was made after the
//!   request arrived, served it. A place that was made for a request is its own, with all that is
//!   below. One that is older serves one request at a time, from its arrival to its end;
//! - from the requests before it: where those of its connection were served.
//!
//! A call belongs to the request of the nearest such place above it. What nothing leads to is
//! unknown and never guessed; while somebody may still respond it waits. Where nobody does, since the
//! process is killed or the client leaves, what ran in a context that was made since belongs to the
//! one request in flight, if there was one only. So do all calls where it is not known what ran (other
//! runtimes, processes that cannot be followed), as [`OneInFlight`] has it.
//!
//! What goes on after its request is over, like a background task, was caused by it all the same.
//!
//! Calls are forgotten [`CALL_KEPT`] after their end, requests [`LINKED_FOR`], contexts and what is
//! known of them with their process or when another has their name. Bounded by [`MOST_CONTEXTS`],
//! [`MOST_CALLS`], [`MOST_PAST`], [`MOST_CONNECTIONS`] and [`MOST_PLACES`]; what is forgotten becomes
//! unknown.

mod contexts;
mod process;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use hashlink::{LinkedHashMap, LruCache};
use rustc_hash::{FxBuildHasher, FxHashMap};

use self::contexts::{Contexts, Place, Trail};
use self::process::{Found, Process, Why};
use crate::capture::event::{ContextEvent, Pid, SocketId};
use crate::exchanges::exchange::{Actor, ExchangeEvent, ExchangeId, Request, Role};
use crate::runs::cause::{CALL_KEPT, Call, Cause, CauseSource, LINKED_FOR, OneInFlight};
use crate::time::Nanos;

/// Contexts known at a time: the live ones of a hundred busy processes. Some 100 bytes each.
pub const MOST_CONTEXTS: usize = 131_072;
/// Calls whose places are known at a time: twice as many as may wait for their cause.
pub const MOST_CALLS: usize = 8_192;
/// Requests that are over and remembered at a time, over all processes: as many as exchanges are
/// known. Some 200 bytes each.
pub const MOST_PAST: usize = 16_384;
/// Connections of which it is known where their requests are served: as many as are followed.
pub const MOST_CONNECTIONS: usize = 16_384;
/// Places of which it is known what they serve.
pub const MOST_PLACES: usize = 16_384;

crate::counters! {
    /// What the source of causes saw and lost.
    pub struct CausalityCounters: "causality" {
        /// Contexts that were made.
        contexts,
        /// Contexts known now.
        contexts_known,
        /// Contexts forgotten because there were too many.
        contexts_evicted,
        /// Contexts whose origin was forgotten because they descend from too many.
        contexts_cut,
        /// Times that all contexts of a process were forgotten, since some were made unseen.
        contexts_unseen,
        /// Requests in whose time it was known what ran.
        requests,
        /// Calls of which it was known what ran.
        calls,
        /// Places that turned out to receive several requests at a time, so that they say nothing.
        places_of_several,
    }
}

/// What is known of a place beyond the requests of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// It served requests of this connection only.
    Serves(SocketId),
    /// It receives or serves several at a time, or from several connections.
    Several,
}

/// The source of causes that knows what ran.
#[derive(Debug)]
pub struct Causality {
    contexts: Contexts,
    processes: FxHashMap<Pid, Process>,
    /// Process and connection of each request that is served.
    served: FxHashMap<ExchangeId, (Pid, SocketId)>,
    /// Where calls were made, the oldest first.
    calls: LinkedHashMap<ExchangeId, Trail, FxBuildHasher>,
    /// Calls that are over, and until when they are remembered, in this order.
    over: VecDeque<(Nanos, ExchangeId)>,
    /// Requests that are over, with their process, and until when they are remembered, in this order.
    past: VecDeque<(Nanos, Pid, ExchangeId)>,
    /// Where the requests of a connection are served.
    connections: LruCache<SocketId, Place, FxBuildHasher>,
    habits: LruCache<Place, Habit, FxBuildHasher>,
    /// For what nobody knows what ran.
    otherwise: OneInFlight,
    counters: CausalityCounters,
}

impl Default for Causality {
    fn default() -> Self {
        Self {
            contexts: Contexts::new(MOST_CONTEXTS),
            processes: FxHashMap::default(),
            served: FxHashMap::default(),
            calls: LinkedHashMap::default(),
            over: VecDeque::new(),
            past: VecDeque::new(),
            connections: LruCache::with_hasher(MOST_CONNECTIONS, FxBuildHasher),
            habits: LruCache::with_hasher(MOST_PLACES, FxBuildHasher),
            otherwise: OneInFlight::default(),
            counters: CausalityCounters::default(),
        }
    }
}

impl Causality {
    /// What it saw and lost.
    #[must_use]
    pub fn counters(&self) -> CausalityCounters {
        CausalityCounters {
            contexts_known: self.contexts.len() as u64,
            contexts_evicted: self.contexts.evicted,
            contexts_cut: self.contexts.cut,
            ..self.counters
        }
    }

    /// Everything that is remembered.
    #[cfg(test)]
    fn kept(&self) -> usize {
        let of_requests = self.processes.len() + self.served.len() + self.past.len();
        let of_calls = self.calls.len() + self.over.len();
        let of_places = self.connections.len() + self.habits.len();
        self.contexts.len() + of_requests + of_calls + of_places
    }

    fn served(&mut self, request: &Request) {
        let (id, pid, socket) = (request.id, request.actor.pid, request.socket);
        let expected = self.expected_place(socket);
        self.served.insert(id, (pid, socket));
        let process = self.processes.entry(pid).or_default();
        process.started(request, expected.is_some());
        if let Some(place) = expected {
            process.served_at(id, place, Why::Expected);
        }
        if let Some(received) = self.contexts.trail(&request.actor).first() {
            self.counters.requests += 1;
            // What receives several says nothing, and each call would look through all that it received.
            if self.habits.get(&received.place) != Some(&Habit::Several) {
                process.served_at(id, received.place, Why::Received);
                if process.receives_several(received.place) {
                    self.note_several(received.place);
                }
            }
        }
    }

    /// Where the next request of a connection is served, as far as those before it tell.
    fn expected_place(&mut self, socket: SocketId) -> Option<Place> {
        let place = *self.connections.get(&socket)?;
        (self.habits.get(&place) == Some(&Habit::Serves(socket))).then_some(place)
    }

    fn called(&mut self, id: ExchangeId, actor: &Actor, at: Nanos) {
        let trail = self.contexts.trail(actor);
        // One that was made since has the name of the one that called: of a connect, the end is seen
        // later.
        if trail.first().is_none_or(|step| step.born > at) {
            return;
        }
        self.counters.calls += 1;
        if self.calls.len() >= MOST_CALLS {
            self.calls.pop_front();
        }
        self.calls.insert(id, trail);
    }

    /// A request is responded to by somebody: now it is known where it is served.
    fn responded(&mut self, id: ExchangeId, actor: &Actor) {
        let Some(&(pid, socket)) = self.served.get(&id) else {
            return;
        };
        let trail = self.contexts.trail(actor);
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.responded(id);
        let (Some(writer), Some(began)) = (trail.first(), process.began(id)) else {
            return;
        };
        let made_for_it = trail.iter().take_while(|step| step.born >= began).count();
        let serving = match made_for_it.checked_sub(1) {
            Some(top) => {
                process.served_at(id, trail[top].place, Why::Made);
                trail.get(made_for_it).map(|step| step.place)
            }
            None => {
                process.served_at(id, writer.place, Why::Responded);
                Some(writer.place)
            }
        };
        if let Some(place @ Place::Context(_)) = serving {
            self.note_serving(place, socket);
        }
    }

    fn note_serving(&mut self, place: Place, socket: SocketId) {
        let habit = Habit::Serves(socket);
        if *self.habits.entry(place).or_insert(habit) == habit {
            self.connections.insert(socket, place);
        } else {
            self.connections.remove(&socket);
            self.note_several(place);
        }
    }

    fn note_several(&mut self, place: Place) {
        match self.habits.insert(place, Habit::Several) {
            Some(Habit::Several) => return,
            Some(Habit::Serves(socket)) => self.forget_connection(socket, place),
            None => {}
        }
        self.counters.places_of_several += 1;
    }

    fn is_made_since(&self, call: &Call, id: ExchangeId) -> bool {
        let process = self.processes.get(&call.actor.pid);
        let began = process.and_then(|process| process.began(id));
        let mut trail = self.calls.get(&call.id).into_iter().flatten();
        began.is_some_and(|began| trail.any(|step| step.born >= began))
    }

    /// A call is over: nobody asks for its cause much longer.
    fn call_ended(&mut self, id: ExchangeId, at: Nanos) {
        if self.calls.contains_key(&id) {
            if self.over.len() >= MOST_CALLS {
                self.over.pop_front();
            }
            self.over.push_back((at.saturating_add(CALL_KEPT), id));
        }
    }

    /// Forgets the calls that nobody asks about any more.
    fn forget_calls(&mut self, now: Nanos) {
        while let Some((until, id)) = self.over.front().copied()
            && until <= now
        {
            self.over.pop_front();
            self.calls.remove(&id);
        }
    }

    /// Forgets what is known of contexts that are gone.
    fn forget_places(&mut self) {
        while let Some(place) = self.contexts.gone.pop() {
            if let Some(Habit::Serves(socket)) = self.habits.remove(&place) {
                self.forget_connection(socket, place);
            }
        }
    }

    /// The requests of a connection are not expected at this place any more.
    fn forget_connection(&mut self, socket: SocketId, place: Place) {
        if self.connections.peek(&socket) == Some(&place) {
            self.connections.remove(&socket);
        }
    }

    fn ended(&mut self, id: ExchangeId, at: Nanos) {
        let Some((pid, _)) = self.served.remove(&id) else {
            return;
        };
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.ended(id, at);
        if self.past.len() >= MOST_PAST {
            self.forget_oldest_request();
        }
        self.past
            .push_back((at.saturating_add(LINKED_FOR), pid, id));
    }

    /// Forgets the requests that nothing is linked to any more.
    fn forget_requests(&mut self, now: Nanos) {
        while let Some((until, ..)) = self.past.front()
            && *until <= now
        {
            self.forget_oldest_request();
        }
    }

    fn forget_oldest_request(&mut self) {
        let Some((_, pid, id)) = self.past.pop_front() else {
            return;
        };
        if let Some(process) = self.processes.get_mut(&pid) {
            process.forget(id);
            if process.is_empty() {
                self.processes.remove(&pid);
            }
        }
    }
}

impl CauseSource for Causality {
    fn observe(&mut self, event: &ExchangeEvent) {
        self.otherwise.observe(event);
        self.forget_calls(event.at());
        self.forget_requests(event.at());
        self.forget_places();
        match event {
            ExchangeEvent::Started(request) => match request.role {
                Role::Server => self.served(request),
                Role::Client => self.called(request.id, &request.actor, Nanos::MAX),
            },
            ExchangeEvent::Responding { id, actor, .. } => self.responded(*id, actor),
            ExchangeEvent::Ended(exchange) => match exchange.request.role {
                Role::Server => self.ended(exchange.request.id, exchange.ended_at),
                Role::Client => self.call_ended(exchange.request.id, exchange.ended_at),
            },
            ExchangeEvent::ProcessExited { pid, .. } => {
                self.contexts.forget(*pid);
                self.forget_places();
                self.processes.remove(pid);
            }
            ExchangeEvent::ConnectFailed(failure) => {
                self.called(failure.id, &failure.actor, failure.at);
                self.call_ended(failure.id, failure.failed_at);
            }
            ExchangeEvent::Understood { .. } => {}
        }
    }

    fn context(&mut self, event: &ContextEvent) {
        match event.change {
            crate::capture::event::ContextChange::Made { .. } => self.counters.contexts += 1,
            crate::capture::event::ContextChange::Unseen => self.counters.contexts_unseen += 1,
        }
        self.contexts.push(event);
        self.forget_places();
    }

    fn cause(&self, call: &Call) -> Cause {
        let Some(trail) = self.calls.get(&call.id) else {
            return self.otherwise.cause(call);
        };
        let Some(process) = self.processes.get(&call.actor.pid) else {
            return Cause::Nothing;
        };
        let trusts = |place| self.habits.peek(&place) != Some(&Habit::Several);
        match process.cause(call, trail, trusts) {
            Found::Request(id) => Cause::Known(id),
            Found::NotYet => Cause::NotYet,
            Found::After(id) => Cause::After(id),
            Found::Several => Cause::Unknown,
            Found::Nothing if process.serves_at(call.at, call.key) => Cause::Unknown,
            Found::Nothing => Cause::Nothing,
        }
    }

    /// The one request that was in flight, if there was one only and what made the call was made
    /// since it arrived: what runs in the background is older.
    fn cause_at_last(&self, call: &Call) -> Cause {
        match (self.cause(call), self.otherwise.in_flight(call)) {
            (Cause::NotYet, Cause::Known(id)) if self.is_made_since(call, id) => Cause::Known(id),
            (cause, _) => cause,
        }
    }
}
