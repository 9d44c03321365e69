//! The exchanges that are known, and where each stands in its trace.
//!
//! An exchange gets its ids when it begins and its place when its parent is known. One whose
//! parent has no place yet gets it together with the parent. What has ended and has a place is
//! handed on at once; the exchange then stays known for a while, for those that hang under it.

use std::collections::VecDeque;
use std::sync::Arc;

use hashlink::LinkedHashMap;
use opentelemetry::trace::{SpanContext, TraceState};
use opentelemetry::{SpanId, TraceFlags, TraceId};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::exchanges::exchange::{ExchangeId, Role};
use crate::identity::service::Service;
use crate::runs::counters::RunCounters;
use crate::runs::ids::Ids;
use crate::runs::sampling::is_sampled;
use crate::runs::span::{FinishedSpan, Parent, Subject};
use crate::runs::telling::Telling;
use crate::runs::w3c::{Carried, RANDOM_TRACE_ID};
use crate::time::{Nanos, WallOffset};

/// How long an exchange stays known after its end: a busy server reads a request late, perhaps
/// after its client gave up waiting.
pub const REMEMBERED_FOR: Nanos = 10_000_000_000;

/// What stands above an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Above {
    /// Nothing that is known: it begins a trace.
    Nothing,
    /// A span that a header names.
    Carried(Carried),
    /// Another exchange.
    Exchange(ExchangeId),
}

/// All that is known.
#[derive(Debug)]
pub struct Traces {
    ids: Ids,
    max_exchanges: usize,
    /// In the order in which they began.
    exchanges: LinkedHashMap<ExchangeId, Known, FxBuildHasher>,
    /// Those that have ended and have a place, and when they are forgotten.
    done: VecDeque<(Nanos, ExchangeId)>,
    /// The clock of each trace that a known exchange is in, and how many are.
    clocks: FxHashMap<TraceId, (WallOffset, usize)>,
    now: Nanos,
    /// Counters of the whole stage.
    pub counters: RunCounters,
}

#[derive(Debug)]
struct Known {
    role: Role,
    service: Arc<Service>,
    telling: Telling,
    /// Something hangs under it: it cannot be left out any more.
    is_parent: bool,
    /// The trace that it begins where nothing stands above it.
    own_trace_id: TraceId,
    span_id: SpanId,
    /// The clock when it began.
    clock: WallOffset,
    place: Option<Place>,
    /// What it will hang under as soon as that has a place.
    waits_for: Option<ExchangeId>,
    /// Those that wait for this one's place, in order.
    waited_for_by: Vec<ExchangeId>,
    end: End,
}

/// How far an exchange is.
#[derive(Debug)]
enum End {
    /// It goes on.
    Open,
    /// It has ended, and is handed on as soon as it has a place.
    Held(Subject),
    /// It was handed on.
    Done,
}

/// Where an exchange stands.
#[derive(Debug, Clone)]
struct Place {
    context: SpanContext,
    parent: Option<Parent>,
}

/// What an exchange inherits from above.
struct Inherited {
    trace_id: TraceId,
    parent: Option<Parent>,
    flags: TraceFlags,
    state: TraceState,
}

impl Traces {
    /// Knows at most so many exchanges, and draws ids from the seed.
    #[must_use]
    pub fn new(max_exchanges: usize, seed: u64) -> Self {
        Self {
            ids: Ids::new(seed),
            max_exchanges,
            exchanges: LinkedHashMap::default(),
            done: VecDeque::new(),
            clocks: FxHashMap::default(),
            now: 0,
            counters: RunCounters::default(),
        }
    }

    /// An exchange begins.
    pub fn begin(
        &mut self,
        id: ExchangeId,
        role: Role,
        service: Arc<Service>,
        telling: Telling,
        clock: WallOffset,
    ) {
        let known = Known {
            role,
            service,
            telling,
            is_parent: false,
            own_trace_id: self.ids.trace_id(),
            span_id: self.ids.span_id(),
            clock,
            place: None,
            waits_for: None,
            waited_for_by: Vec::new(),
            end: End::Open,
        };
        self.exchanges.insert(id, known);
    }

    fn is_unplaced(&self, id: ExchangeId) -> bool {
        let known = self.exchanges.get(&id);
        known.is_some_and(|known| known.place.is_none())
    }

    /// An exchange may hang under this one: it is known, and does not itself wait, however
    /// indirectly, for the first.
    #[must_use]
    pub fn may_hang_under(&self, id: ExchangeId, above: ExchangeId) -> bool {
        let mut next = Some(above);
        while let Some(ancestor) = next {
            if ancestor == id {
                return false;
            }
            next = match self.exchanges.get(&ancestor) {
                Some(known) => known.waits_for,
                None => return false,
            };
        }
        true
    }

    /// Gives an exchange its place, at once or together with what it hangs under; one that may
    /// not hang there ([`Self::may_hang_under`]) begins a trace.
    pub fn put(&mut self, id: ExchangeId, above: Above, out: &mut Vec<FinishedSpan>) {
        if !self.is_unplaced(id) {
            return;
        }
        let inherited = match above {
            Above::Nothing => None,
            Above::Carried(carried) => Some(Inherited {
                trace_id: carried.trace_id,
                parent: Some(Parent {
                    span_id: carried.span_id,
                    remote: false,
                }),
                flags: carried.flags,
                state: carried.state,
            }),
            Above::Exchange(above) if self.may_hang_under(id, above) => {
                match self.exchanges.get_mut(&above) {
                    Some(known) if known.place.is_none() => {
                        known.waited_for_by.push(id);
                        if let Some(waiting) = self.exchanges.get_mut(&id) {
                            waiting.waits_for = Some(above);
                        }
                        return;
                    }
                    known => known.and_then(|known| known.passes_on()),
                }
            }
            Above::Exchange(_) => None,
        };
        let mut to_place = VecDeque::from([(id, inherited)]);
        while let Some((id, inherited)) = to_place.pop_front() {
            let Some(known) = self.exchanges.get_mut(&id) else {
                continue;
            };
            known.place(inherited);
            for below in std::mem::take(&mut known.waited_for_by) {
                to_place.push_back((below, known.passes_on()));
            }
            if let Some(place) = &known.place {
                let clock = self.clocks.entry(place.context.trace_id());
                clock.or_insert((known.clock, 0)).1 += 1;
            }
            self.hand_on(id, out);
        }
    }

    /// Leaves an exchange out, unless that is so already or too late. What would hang under it hangs
    /// under what is above it.
    pub fn leave_out(&mut self, id: ExchangeId) -> bool {
        let known = self.exchanges.get_mut(&id).filter(|known| {
            known.telling != Telling::Nothing && !known.is_parent && !matches!(known.end, End::Done)
        });
        known
            .map(|known| known.telling = Telling::Nothing)
            .is_some()
    }

    /// An exchange has ended. One that is not known any more is dropped.
    pub fn end(&mut self, id: ExchangeId, subject: Subject, out: &mut Vec<FinishedSpan>) {
        if let Some(known) = self.exchanges.get_mut(&id)
            && matches!(known.end, End::Open)
        {
            known.end = End::Held(subject);
            self.hand_on(id, out);
        }
    }

    /// No other exchange can begin.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.exchanges.len() >= self.max_exchanges.max(1)
    }

    /// Forgets what has been over for longest, if anything is over.
    pub fn forget_oldest_done(&mut self) -> bool {
        let oldest = self.done.pop_front();
        oldest.map(|(_, id)| self.forget(id)).is_some()
    }

    /// Forgets what goes on for longest.
    pub fn evict_oldest(&mut self) {
        if let Some((&oldest, _)) = self.exchanges.front() {
            self.forget(oldest);
            self.counters.exchanges_evicted += 1;
        }
    }

    /// Forgets what was remembered long enough.
    pub fn advance(&mut self, now: Nanos) {
        self.now = now;
        while let Some((until, id)) = self.done.front().copied()
            && until <= now
        {
            self.done.pop_front();
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ExchangeId) {
        let known = self.exchanges.remove(&id);
        let Some(place) = known.and_then(|known| known.place) else {
            return;
        };
        let trace_id = place.context.trace_id();
        if let Some((_, exchanges)) = self.clocks.get_mut(&trace_id) {
            *exchanges -= 1;
            if *exchanges == 0 {
                self.clocks.remove(&trace_id);
            }
        }
    }

    /// Hands on what has both ended and a place.
    fn hand_on(&mut self, id: ExchangeId, out: &mut Vec<FinishedSpan>) {
        let Some(known) = self.exchanges.get_mut(&id) else {
            return;
        };
        let (Some(place), End::Held(_)) = (&known.place, &known.end) else {
            return;
        };
        self.done
            .push_back((self.now.saturating_add(REMEMBERED_FOR), id));
        let End::Held(subject) = std::mem::replace(&mut known.end, End::Done) else {
            return;
        };
        let sampled = place.context.is_sampled();
        match known.telling {
            Telling::Span if sampled => self.counters.spans += 1,
            Telling::Span => self.counters.spans_sampled_out += 1,
            Telling::Measurement => self.counters.spans_not_wanted += 1,
            Telling::Nothing => return,
        }
        let clock = self.clocks.get(&place.context.trace_id());
        out.push(FinishedSpan {
            service: Arc::clone(&known.service),
            context: place.context.clone(),
            parent: place.parent,
            clock: clock.map_or(known.clock, |(clock, _)| *clock),
            exported: known.telling == Telling::Span && sampled,
            subject,
        });
    }
}

impl Known {
    /// Takes its place below what it inherits from.
    fn place(&mut self, inherited: Option<Inherited>) {
        let inherited = inherited.unwrap_or(Inherited {
            trace_id: self.own_trace_id,
            parent: None,
            flags: RANDOM_TRACE_ID,
            state: TraceState::NONE,
        });
        let parent = inherited.parent.map(|parent| Parent {
            // A server's parent is its client; of a client's, the one who inherits knows best.
            remote: parent.remote || self.role == Role::Server,
            ..parent
        });
        let flags = match self.telling {
            Telling::Span => {
                let parent_sampled = parent.map(|_| inherited.flags.is_sampled());
                let sampler = self.service.sampler;
                let sampled = is_sampled(sampler, inherited.trace_id, parent_sampled);
                inherited.flags.with_sampled(sampled)
            }
            // Nobody sees it, so those below decide as if they hung under its parent.
            Telling::Measurement | Telling::Nothing => inherited.flags,
        };
        let context = SpanContext::new(
            inherited.trace_id,
            self.span_id,
            flags,
            false,
            inherited.state,
        );
        self.place = Some(Place { context, parent });
        self.waits_for = None;
    }

    /// What those below inherit: itself as the parent where it is told, or else its own parent.
    fn passes_on(&mut self) -> Option<Inherited> {
        let Place { context, parent } = self.place.as_ref()?;
        self.is_parent = self.telling == Telling::Span;
        let parent = match self.telling {
            Telling::Span => Some(Parent {
                span_id: context.span_id(),
                remote: false,
            }),
            Telling::Measurement | Telling::Nothing => *parent,
        };
        Some(Inherited {
            trace_id: context.trace_id(),
            parent,
            flags: context.trace_flags(),
            state: context.trace_state().clone(),
        })
    }
}
