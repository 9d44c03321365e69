//! What a process serves, and where.

use std::collections::BTreeSet;

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::contexts::{Place, Step};
use crate::exchanges::exchange::{ExchangeId, Request};
use crate::runs::cause::Call;
use crate::runs::join::JoinKey;
use crate::time::Nanos;

/// Ended requests of a process that are remembered, since a call is told later than it began, and
/// some go on when their request is over.
const MOST_ENDED: usize = 256;

/// When a request is served.
#[derive(Debug, Clone, Copy)]
struct Times {
    at: Nanos,
    ended_at: Option<Nanos>,
}

impl Times {
    fn holds(&self, at: Nanos) -> bool {
        self.at <= at && self.ended_at.is_none_or(|end| at <= end)
    }
}

/// A request that a process serves, or served lately.
#[derive(Debug)]
struct Served {
    times: Times,
    key: JoinKey,
    /// Where it is, or may be, served: a call from there, or from what was copied from there while it
    /// was served, is caused by it.
    places: Vec<Place>,
}

/// A request at a place. Its times are here, too: a place may have hundreds that are over, which each
/// call passes over.
#[derive(Debug, Clone, Copy)]
struct AtPlace {
    id: ExchangeId,
    why: Why,
    times: Times,
}

/// Why a request is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Requests of its connection are served there.
    Expected,
    /// What is older than the request has responded to it.
    Responded,
    /// Its first byte was received there.
    Received,
    /// The place was made for it: everything below is its own.
    Made,
}

/// What is known of the cause of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This request.
    Request(ExchangeId),
    /// This request, which was over by then.
    After(ExchangeId),
    /// Several that cannot be told apart.
    Several,
    /// It will be known when others are responded to.
    NotYet,
    /// Nothing leads to a request.
    Nothing,
}

/// The requests that a process serves, or served lately.
#[derive(Debug, Default)]
pub struct Process {
    /// In the order of their starts.
    requests: LinkedHashMap<ExchangeId, Served, FxBuildHasher>,
    at: FxHashMap<Place, Vec<AtPlace>>,
    ended: usize,
    /// When those began that were not responded to.
    unanswered: BTreeSet<(Nanos, ExchangeId)>,
    /// Those of them of which nothing says where they are served.
    unexpected: BTreeSet<(Nanos, ExchangeId)>,
}

impl Process {
    /// A request began.
    pub fn started(&mut self, request: &Request, expected: bool) {
        let served = Served {
            times: Times {
                at: request.at,
                ended_at: None,
            },
            key: JoinKey::of(request),
            places: Vec::new(),
        };
        self.unanswered.insert((request.at, request.id));
        if !expected {
            self.unexpected.insert((request.at, request.id));
        }
        self.requests.insert(request.id, served);
    }

    /// A request is, or may be, served at a place.
    pub fn served_at(&mut self, id: ExchangeId, place: Place, why: Why) {
        let Some(served) = self.requests.get_mut(&id) else {
            return;
        };
        served.places.push(place);
        let times = served.times;
        let at_place = self.at.entry(place).or_default();
        at_place.push(AtPlace { id, why, times });
    }

    /// Whether a place receives another request while it serves this one.
    #[must_use]
    pub fn receives_several(&self, place: Place) -> bool {
        let requests = self.at.get(&place).into_iter().flatten();
        let open = requests.filter(|it| it.why == Why::Received && it.times.ended_at.is_none());
        open.count() > 1
    }

    /// When a request began.
    #[must_use]
    pub fn began(&self, id: ExchangeId) -> Option<Nanos> {
        self.requests.get(&id).map(|served| served.times.at)
    }

    /// A request is responded to: where it is served need not be expected any more.
    pub fn responded(&mut self, id: ExchangeId) {
        let Some(served) = self.requests.get(&id) else {
            return;
        };
        self.unanswered.remove(&(served.times.at, id));
        self.unexpected.remove(&(served.times.at, id));
        for place in &served.places {
            if let Some(requests) = self.at.get_mut(place) {
                requests.retain(|known| known.id != id || known.why != Why::Expected);
            }
        }
    }

    /// Requests that are remembered.
    #[cfg(test)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// How often a request is said to be at a place, which each call from there looks through.
    #[cfg(test)]
    #[must_use]
    pub fn len_at_places(&self) -> usize {
        self.at.values().map(Vec::len).sum()
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// A request is over. It is remembered until it is told to [`forget`](Self::forget) it, or too
    /// many others were over since.
    pub fn ended(&mut self, id: ExchangeId, at: Nanos) {
        if let Some(served) = self.requests.get_mut(&id)
            && served.times.ended_at.is_none()
        {
            served.times.ended_at = Some(at);
            self.unanswered.remove(&(served.times.at, id));
            self.unexpected.remove(&(served.times.at, id));
            self.ended += 1;
            for place in &served.places {
                let requests = self.at.get_mut(place).into_iter().flatten();
                for known in requests.filter(|known| known.id == id) {
                    known.times = served.times;
                }
            }
        }
        if self.ended > MOST_ENDED {
            let mut known = self.requests.iter();
            let oldest = known.find(|(_, served)| served.times.ended_at.is_some());
            if let Some((&oldest, _)) = oldest {
                self.forget(oldest);
            }
        }
    }

    /// A request that is over is not asked about any more.
    pub fn forget(&mut self, id: ExchangeId) {
        let Some(served) = self.requests.remove(&id) else {
            return;
        };
        self.ended -= 1;
        for place in served.places {
            if let Some(requests) = self.at.get_mut(&place) {
                requests.retain(|other| other.id != id);
                if requests.is_empty() {
                    self.at.remove(&place);
                }
            }
        }
    }

    /// What caused a call that was made where the trail says: the nearest place that serves, or
    /// served, a request. `trusts` says whether a place serves one request at a time.
    #[must_use]
    pub fn cause(&self, call: &Call, trail: &[Step], trusts: impl Fn(Place) -> bool) -> Found {
        let mut below = call.at;
        for step in trail {
            // What was copied while a request was served belongs to that request.
            let found = self.at_place(step.place, below, call, &trusts);
            if found != Found::Nothing {
                return found;
            }
            below = step.born;
        }
        // Whoever responds may be above.
        if self.has_others(&self.unanswered, call.at, None, call.key) {
            Found::NotYet
        } else {
            Found::Nothing
        }
    }

    /// Whether a request is, or was, served at this time.
    #[must_use]
    pub fn serves_at(&self, at: Nanos, except: Option<JoinKey>) -> bool {
        self.requests
            .values()
            .any(|served| served.times.holds(at) && Some(served.key) != except)
    }

    fn at_place(
        &self,
        place: Place,
        at: Nanos,
        call: &Call,
        trusts: &impl Fn(Place) -> bool,
    ) -> Found {
        let mut found: Option<AtPlace> = None;
        let is_trusted = trusts(place);
        for known in self.at.get(&place).into_iter().flatten() {
            let is_served = known.times.holds(at);
            let counts = match known.why {
                Why::Made => true,
                Why::Responded => is_served,
                Why::Received | Why::Expected => is_served && is_trusted,
            };
            if !counts || self.is_own(known.id, call) {
                continue;
            }
            match &mut found {
                None => found = Some(*known),
                Some(other) if other.id == known.id => other.why = other.why.max(known.why),
                // What is served there now goes before what is over.
                Some(other) if is_served != other.times.holds(at) => {
                    if is_served {
                        found = Some(*known);
                    }
                }
                Some(_) => {
                    // Whoever responds to one of them may be nearer.
                    let may_know = self.has_others(&self.unanswered, at, None, call.key);
                    return if may_know {
                        Found::NotYet
                    } else {
                        Found::Several
                    };
                }
            }
        }
        let Some(AtPlace { id, why, times }) = found else {
            return Found::Nothing;
        };
        // What is older than its request may serve others, of which nothing is known yet.
        let is_older = matches!(why, Why::Responded | Why::Expected);
        if is_older && self.has_others(&self.unexpected, at, Some(id), call.key) {
            Found::NotYet
        } else if times.holds(call.at) {
            Found::Request(id)
        } else {
            Found::After(id)
        }
    }

    /// Whether a request is the other end of a call.
    fn is_own(&self, id: ExchangeId, call: &Call) -> bool {
        let key = self.requests.get(&id).map(|served| served.key);
        call.key.is_some() && key == call.key
    }

    /// Whether one of these requests had begun at this time, other than one and the call's own.
    fn has_others(
        &self,
        requests: &BTreeSet<(Nanos, ExchangeId)>,
        at: Nanos,
        except: Option<ExchangeId>,
        own: Option<JoinKey>,
    ) -> bool {
        let mut before = requests.iter().take_while(|(began, _)| *began <= at);
        before.any(|(_, id)| {
            let served = self.requests.get(id);
            Some(*id) != except && served.is_some_and(|served| Some(served.key) != own)
        })
    }
}
