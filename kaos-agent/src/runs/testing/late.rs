//! Sources of causes that know late, and of what goes on late.

use rustc_hash::FxHashMap;

use crate::capture::event::Pid;
use crate::exchanges::exchange::{ExchangeEvent, ExchangeId, Role};
use crate::runs::cause::{Call, Cause, CauseSource, OneInFlight};

/// Knows only after so many responses that all calls belong to the request that was responded to
/// first. At last it says what one request in flight says.
#[derive(Default)]
pub struct AfterResponses {
    missing: usize,
    first: Option<ExchangeId>,
    otherwise: OneInFlight,
}

impl AfterResponses {
    pub fn of(responses: usize) -> Self {
        Self {
            missing: responses,
            ..Self::default()
        }
    }
}

impl CauseSource for AfterResponses {
    fn observe(&mut self, event: &ExchangeEvent) {
        self.otherwise.observe(event);
        if let ExchangeEvent::Responding { id, .. } = event {
            self.missing = self.missing.saturating_sub(1);
            self.first.get_or_insert(*id);
        }
    }

    fn cause(&self, _: &Call) -> Cause {
        let first = self.first.filter(|_| self.missing == 0);
        first.map_or(Cause::NotYet, Cause::Known)
    }

    fn cause_at_last(&self, call: &Call) -> Cause {
        self.otherwise.cause(call)
    }
}

/// Knows of each call that the process's last request that was over by then left it running, and
/// else what one request in flight says.
#[derive(Default)]
pub struct LeftRunning {
    ended: FxHashMap<Pid, ExchangeId>,
    otherwise: OneInFlight,
}

impl CauseSource for LeftRunning {
    fn observe(&mut self, event: &ExchangeEvent) {
        self.otherwise.observe(event);
        if let ExchangeEvent::Ended(exchange) = event
            && exchange.request.role == Role::Server
        {
            let request = &exchange.request;
            self.ended.insert(request.actor.pid, request.id);
        }
    }

    fn cause(&self, call: &Call) -> Cause {
        let ended = self.ended.get(&call.actor.pid);
        ended.map_or_else(|| self.otherwise.cause(call), |id| Cause::After(*id))
    }
}
