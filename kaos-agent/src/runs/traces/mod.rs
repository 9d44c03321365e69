//! The spans that are known, and where each stands in its trace.
//!
//! A span gets its ids when it begins and its place when its parent is known. One whose parent has
//! no place yet gets it together with the parent. What has ended and has a place is handed on at
//! once; the span then stays known for a while, for those that hang under it.
//!
//! Most are exchanges; others are made for what several exchanges are together (a run of an agent,
//! one of its steps, the use of a tool).

mod known;
mod links;

use std::collections::VecDeque;
use std::sync::Arc;

use hashlink::LinkedHashMap;
use opentelemetry::TraceId;
use opentelemetry::trace::SpanContext;
use rustc_hash::{FxBuildHasher, FxHashMap};

use self::known::{End, Inherited, Known};
use self::links::Links;
use crate::exchanges::exchange::{ExchangeId, Role};
use crate::identity::service::Service;
use crate::runs::counters::RunCounters;
use crate::runs::ids::Ids;
use crate::runs::part::Part;
use crate::runs::span::{FinishedSpan, Subject};
use crate::runs::telling::Telling;
use crate::runs::w3c::Carried;
use crate::time::{Nanos, WallOffset};

/// How long an exchange stays known after its end: a busy server reads a request late, perhaps
/// after its client gave up waiting.
pub const REMEMBERED_FOR: Nanos = 10_000_000_000;

/// Made spans of each exchange at most: a run and a step or the use of a tool.
const MADE_PER_EXCHANGE: usize = 3;

/// Which span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKey {
    /// That of an exchange.
    Exchange(ExchangeId),
    /// One that was made, by its number.
    Made(u64),
}

impl From<ExchangeId> for SpanKey {
    fn from(id: ExchangeId) -> Self {
        Self::Exchange(id)
    }
}

/// What stands above a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Above {
    /// Nothing that is known: it begins a trace.
    Nothing,
    /// What caused it was over: it has a link to this request, and stands below the span that a header
    /// names, or begins a trace.
    After(ExchangeId, Option<Carried>),
    /// A span that a header names.
    Carried(Carried),
    /// Another span.
    Span(SpanKey),
}

/// What is known of a span when it begins.
#[derive(Debug)]
pub struct Beginning {
    /// Which end of an exchange it is, if it is one.
    pub role: Option<Role>,
    /// Whose it is.
    pub service: Arc<Service>,
    /// How much is told of it, as far as HTTP goes.
    pub telling: Telling,
    /// The wall clock.
    pub clock: WallOffset,
}

/// All that is known.
#[derive(Debug)]
pub struct Traces {
    ids: Ids,
    max_exchanges: usize,
    /// In the order in which they began.
    spans: LinkedHashMap<SpanKey, Known, FxBuildHasher>,
    /// How many of them were made.
    made: usize,
    next_made: u64,
    /// Those that have ended and have a place, and when they are forgotten.
    done: VecDeque<(Nanos, SpanKey)>,
    /// The clock of each trace that a known span is in, and how many are.
    clocks: FxHashMap<TraceId, (WallOffset, usize)>,
    links: Links,
    now: Nanos,
    /// Counters of the whole stage.
    pub counters: RunCounters,
}

impl Traces {
    /// Knows at most so many exchanges, and draws ids from the seed.
    #[must_use]
    pub fn new(max_exchanges: usize, seed: u64) -> Self {
        Self {
            ids: Ids::new(seed),
            max_exchanges,
            spans: LinkedHashMap::default(),
            made: 0,
            next_made: 0,
            done: VecDeque::new(),
            clocks: FxHashMap::default(),
            links: Links::new(max_exchanges),
            now: 0,
            counters: RunCounters::default(),
        }
    }

    /// A span begins.
    pub fn begin(&mut self, key: impl Into<SpanKey>, beginning: Beginning) {
        let Beginning {
            role,
            service,
            telling,
            clock,
        } = beginning;
        let known = Known {
            role,
            service,
            telling,
            part: Part::Http,
            is_parent: false,
            own_trace_id: self.ids.trace_id(),
            span_id: self.ids.span_id(),
            clock,
            place: None,
            run: None,
            after: None,
            link: None,
            waits_for: None,
            waited_for_by: Vec::new(),
            end: End::Open,
        };
        self.spans.insert(key.into(), known);
    }

    /// Makes a span that is no exchange; begins it.
    pub fn make(&mut self, service: Arc<Service>, clock: WallOffset) -> SpanKey {
        let key = SpanKey::Made(self.next_made);
        self.next_made += 1;
        self.made += 1;
        let beginning = Beginning {
            role: None,
            service,
            telling: Telling::Span,
            clock,
        };
        self.begin(key, beginning);
        key
    }

    /// Spans that are known.
    #[cfg(test)]
    #[must_use]
    pub fn kept(&self) -> usize {
        self.spans.len() + self.clocks.len() + self.links.len()
    }

    /// Spans that were made so far.
    #[cfg(test)]
    #[must_use]
    pub fn made(&self) -> u64 {
        self.next_made
    }

    /// What an exchange is beyond HTTP, which is always told. To be said before anything hangs
    /// under it.
    pub fn set_part(&mut self, key: impl Into<SpanKey>, part: Part) {
        if let Some(known) = self.spans.get_mut(&key.into())
            && known.telling != Telling::Nothing
        {
            if part.is_always_told() {
                known.telling = Telling::Span;
            }
            known.part = part;
        }
    }

    /// A request began this run.
    pub fn set_run(&mut self, request: ExchangeId, run: SpanKey) {
        if let Some(known) = self.spans.get_mut(&request.into()) {
            known.run = Some(run);
        }
    }

    /// Leaves a span out, unless that is so already or too late. What would hang under it hangs
    /// under what is above it.
    pub fn leave_out(&mut self, key: impl Into<SpanKey>) -> bool {
        let known = self.spans.get_mut(&key.into()).filter(|known| {
            known.telling != Telling::Nothing && !known.is_parent && !matches!(known.end, End::Done)
        });
        known
            .map(|known| known.telling = Telling::Nothing)
            .is_some()
    }

    /// Forgets a made span that will have no end. What waits for its place stays without one, so
    /// there must be nothing.
    pub fn give_up(&mut self, key: SpanKey) {
        self.forget(key);
    }

    /// Whose a span is, and how much of it is told; `None` for one that is not known (any more).
    #[must_use]
    pub fn service_of(&self, key: impl Into<SpanKey>) -> Option<(&Arc<Service>, Telling)> {
        let known = self.spans.get(&key.into())?;
        Some((&known.service, known.telling))
    }

    /// What has ended, but waits for its place.
    #[must_use]
    pub fn held(&self, key: impl Into<SpanKey>) -> Option<&Subject> {
        match &self.spans.get(&key.into())?.end {
            End::Held(subject) => Some(subject),
            End::Open | End::Done => None,
        }
    }

    fn is_unplaced(&self, key: SpanKey) -> bool {
        let known = self.spans.get(&key);
        known.is_some_and(|known| known.place.is_none())
    }

    /// A span may hang under this one: it is known, and does not itself wait, however indirectly,
    /// for the first.
    #[must_use]
    pub fn may_hang_under(&self, key: impl Into<SpanKey>, above: impl Into<SpanKey>) -> bool {
        let key = key.into();
        let mut next = Some(above.into());
        while let Some(ancestor) = next {
            if ancestor == key {
                return false;
            }
            next = match self.spans.get(&ancestor) {
                Some(known) => known.waits_for,
                None => return false,
            };
        }
        true
    }

    /// Gives a span its place, at once or together with what it hangs under; one that may
    /// not hang there ([`Self::may_hang_under`]) begins a trace.
    pub fn put(&mut self, key: impl Into<SpanKey>, above: Above, out: &mut Vec<FinishedSpan>) {
        let key = key.into();
        if !self.is_unplaced(key) {
            return;
        }
        let above = match above {
            Above::After(request, carried) => {
                if let Some(known) = self.spans.get_mut(&key) {
                    known.after = Some((request, carried));
                }
                // What a link says is known when the request has its place.
                Above::Span(request.into())
            }
            above => above,
        };
        let inherited = match above {
            Above::Nothing | Above::After(..) => None,
            Above::Carried(carried) => Some(Inherited::from(carried)),
            Above::Span(above) if self.may_hang_under(key, above) => {
                match self.spans.get_mut(&above) {
                    Some(known) if known.place.is_none() => {
                        known.waited_for_by.push(key);
                        if let Some(waiting) = self.spans.get_mut(&key) {
                            waiting.waits_for = Some(above);
                        }
                        return;
                    }
                    known => known.and_then(Known::passes_on_to_child),
                }
            }
            Above::Span(_) => None,
        };
        let mut to_place = VecDeque::from([(key, inherited)]);
        while let Some((key, inherited)) = to_place.pop_front() {
            // One that was put twice waits twice.
            if !self.is_unplaced(key) {
                continue;
            }
            let after = self
                .spans
                .get_mut(&key)
                .and_then(|known| known.after.take());
            let (link, inherited) = match after {
                Some((request, carried)) => (self.link_to(request), carried.map(Inherited::from)),
                None => (None, inherited),
            };
            let Some(known) = self.spans.get_mut(&key) else {
                continue;
            };
            known.link = link;
            known.place(inherited);
            for below in std::mem::take(&mut known.waited_for_by) {
                to_place.push_back((below, known.passes_on_to_child()));
            }
            if let Some(place) = &known.place {
                let clock = self.clocks.entry(place.context.trace_id());
                clock.or_insert((known.clock, 0)).1 += 1;
            }
            self.hand_on(key, out);
        }
    }

    /// A span has ended. One that is not known any more is dropped.
    pub fn end(&mut self, key: impl Into<SpanKey>, subject: Subject, out: &mut Vec<FinishedSpan>) {
        let key = key.into();
        if let Some(known) = self.spans.get_mut(&key)
            && matches!(known.end, End::Open)
        {
            known.end = End::Held(subject);
            self.hand_on(key, out);
        }
    }

    /// No other exchange can begin.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let most = self.max_exchanges.max(1);
        self.spans.len() - self.made >= most || self.made >= most * MADE_PER_EXCHANGE
    }

    /// Forgets what has been over for longest, if anything is over.
    pub fn forget_oldest_done(&mut self) -> bool {
        let oldest = self.done.pop_front();
        oldest.map(|(_, key)| self.forget(key)).is_some()
    }

    /// Forgets what goes on for longest, and says what it was.
    pub fn evict_oldest(&mut self) -> Option<SpanKey> {
        let (&oldest, _) = self.spans.front()?;
        self.forget(oldest);
        if let SpanKey::Exchange(_) = oldest {
            self.counters.exchanges_evicted += 1;
        }
        Some(oldest)
    }

    /// Forgets what was remembered long enough.
    pub fn advance(&mut self, now: Nanos) {
        self.now = now;
        while let Some((until, key)) = self.done.front().copied()
            && until <= now
        {
            self.done.pop_front();
            self.forget(key);
        }
        self.links.advance(now);
    }

    /// The span that stands for a request: its own, else that of the run that it began, else the
    /// nearest above it that is told. None where that was not sampled: nobody could follow it.
    fn link_to(&self, request: ExchangeId) -> Option<SpanContext> {
        let Some(known) = self.spans.get(&request.into()) else {
            return self.links.of(request);
        };
        let run = known.run.and_then(|run| self.spans.get(&run));
        let run = run.filter(|run| known.telling != Telling::Span && run.place.is_some());
        let Inherited {
            trace_id,
            parent,
            flags,
            state,
        } = run.unwrap_or(known).passes_on()?;
        let span_id = parent.filter(|_| flags.is_sampled())?.span_id;
        Some(SpanContext::new(trace_id, span_id, flags, false, state))
    }

    fn forget(&mut self, key: SpanKey) {
        if let SpanKey::Exchange(id) = key
            && let Some(known) = self.spans.get(&key)
            && known.role == Some(Role::Server)
            && let Some(link) = self.link_to(id)
        {
            self.links.remember(id, link, self.now);
        }
        let known = self.spans.remove(&key);
        if let (SpanKey::Made(_), Some(_)) = (key, &known) {
            self.made -= 1;
        }
        let Some(place) = known.and_then(|known| known.place) else {
            return;
        };
        let trace_id = place.context.trace_id();
        if let Some((_, spans)) = self.clocks.get_mut(&trace_id) {
            *spans -= 1;
            if *spans == 0 {
                self.clocks.remove(&trace_id);
            }
        }
    }

    /// Hands on what has both ended and a place.
    fn hand_on(&mut self, key: SpanKey, out: &mut Vec<FinishedSpan>) {
        let Some(known) = self.spans.get_mut(&key) else {
            return;
        };
        let (Some(place), End::Held(_)) = (&known.place, &known.end) else {
            return;
        };
        self.done
            .push_back((self.now.saturating_add(REMEMBERED_FOR), key));
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
            link: known.link.take(),
            clock: clock.map_or(known.clock, |(clock, _)| *clock),
            exported: known.telling == Telling::Span && sampled,
            part: std::mem::take(&mut known.part),
            subject,
            peer: None,
        });
    }
}
