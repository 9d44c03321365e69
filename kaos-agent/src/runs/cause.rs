//! What caused a client request: the interface, and its first source.

use rustc_hash::FxHashMap;

use crate::capture::event::{ContextEvent, Pid};
use crate::exchanges::exchange::{Actor, ConnectFailure, ExchangeEvent, ExchangeId, Request, Role};
use crate::runs::CAUSE_WAIT;
use crate::runs::join::JoinKey;
use crate::runs::polls::{Polls, Reading};
use crate::runs::traces::REMEMBERED_FOR;
use crate::time::Nanos;

/// How long after the end of a call something may ask about it: it waits for its place, and then its
/// span is remembered.
pub const CALL_KEPT: Nanos = CAUSE_WAIT + REMEMBERED_FOR;

/// How long after its end a request is remembered for what it left running: as long as a call waits
/// for its cause.
pub const LINKED_FOR: Nanos = CAUSE_WAIT;

/// A client request, or an attempt to connect for one, whose cause is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Number of its exchange.
    pub id: ExchangeId,
    /// Who made it.
    pub actor: Actor,
    /// When it began.
    pub at: Nanos,
    /// Its name, where there is a request. The process may serve it itself.
    pub key: Option<JoinKey>,
    /// What it reads, where it is a request that does nothing else.
    pub reads: Option<Reading>,
}

impl Call {
    /// The call that this request is.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        Self {
            id: request.id,
            actor: request.actor,
            at: request.at,
            key: Some(JoinKey::of(request)),
            reads: Reading::of(request),
        }
    }

    /// The call that an attempt to connect was made for.
    #[must_use]
    pub fn failed(failure: &ConnectFailure) -> Self {
        Self {
            id: failure.id,
            actor: failure.actor,
            at: failure.at,
            key: None,
            reads: None,
        }
    }
}

/// What is known of the cause of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// This served request.
    Known(ExchangeId),
    /// This served request, which was over when the call was made: it left running what made it.
    After(ExchangeId),
    /// No request: none was being served by the process.
    Nothing,
    /// Cannot be known, now or later.
    Unknown,
    /// May become known when one of the process's requests is responded to; ask again then.
    NotYet,
}

/// Something that knows what caused a call.
///
/// It is shown every event in order, before runs acts on it, and must not be asked about calls
/// that it was not shown.
pub trait CauseSource {
    /// Something happened.
    fn observe(&mut self, event: &ExchangeEvent);

    /// Something happened to the contexts of a Python process.
    fn context(&mut self, _event: &ContextEvent) {}

    /// What caused this call, as far as it is known now?
    fn cause(&self, call: &Call) -> Cause;

    /// A request of the process ends without a response, so that nobody will say any more what was
    /// done for it: what caused a call that waited for that? Asked before the end is shown.
    fn cause_at_last(&self, call: &Call) -> Cause {
        self.cause(call)
    }
}

/// The source that needs nothing but the exchanges: a process that serves exactly one request
/// when it makes a call makes it for that request.
///
/// A process that serves several at once has calls of unknown cause, and so has a call that it also
/// makes on its own. Requests that other processes serve never count.
#[derive(Debug, Default)]
pub struct OneInFlight {
    /// Processes that serve at least one request now.
    processes: FxHashMap<Pid, Serving>,
    /// Process of each request that is served now.
    served_by: FxHashMap<ExchangeId, Pid>,
    /// What processes read on their own.
    polls: Polls,
}

/// Ended requests that a process's entry remembers, since a call is told only when its head is
/// complete, or its connection attempt failed: later than it began.
const REMEMBERED_PER_PROCESS: usize = 64;

#[derive(Debug, Default)]
struct Serving {
    /// Requests in the order of their starts, the ended ones among them.
    requests: Vec<Served>,
    /// The latest end that is no longer remembered: before it nothing is certain.
    forgotten_until: Nanos,
}

#[derive(Debug)]
struct Served {
    id: ExchangeId,
    at: Nanos,
    ended_at: Option<Nanos>,
    key: JoinKey,
}

impl CauseSource for OneInFlight {
    fn observe(&mut self, event: &ExchangeEvent) {
        match event {
            ExchangeEvent::Started(request) => match request.role {
                Role::Server => self.started(request),
                Role::Client => self.called(&Call::of(request)),
            },
            ExchangeEvent::Ended(exchange) => self.ended(exchange.request.id, exchange.ended_at),
            // A stream is open all the time that a session lasts, and causes nothing.
            ExchangeEvent::Understood {
                id,
                at,
                operation: Some(operation),
            } if operation.is_stream() => self.ended(*id, *at),
            ExchangeEvent::ProcessExited { pid, .. } => {
                self.processes.remove(pid);
                self.polls.forget(*pid);
            }
            _ => {}
        }
    }

    fn cause(&self, call: &Call) -> Cause {
        let is_own = |reading| self.polls.has(call.actor.pid, reading);
        match self.in_flight(call) {
            Cause::Known(_) if call.reads.is_some_and(is_own) => Cause::Unknown,
            cause => cause,
        }
    }
}

impl OneInFlight {
    /// The one request that was being served when a call was made, whatever else the process calls.
    #[must_use]
    pub fn in_flight(&self, call: &Call) -> Cause {
        let Some(serving) = self.processes.get(&call.actor.pid) else {
            return Cause::Nothing;
        };
        if call.at < serving.forgotten_until {
            return Cause::Unknown;
        }
        let mut in_flight = serving.requests.iter().filter(|served| {
            served.at <= call.at
                && served.ended_at.is_none_or(|end| call.at < end)
                && call.key != Some(served.key)
        });
        match (in_flight.next(), in_flight.next()) {
            (None, _) => Cause::Nothing,
            (Some(only), None) => Cause::Known(only.id),
            (Some(_), Some(_)) => Cause::Unknown,
        }
    }

    fn called(&mut self, call: &Call) {
        if let Some(reading) = call.reads
            && self.in_flight(call) == Cause::Nothing
        {
            self.polls.note(call.actor.pid, reading);
        }
    }

    fn started(&mut self, request: &Request) {
        let pid = request.actor.pid;
        self.served_by.insert(request.id, pid);
        self.processes
            .entry(pid)
            .or_default()
            .requests
            .push(Served {
                id: request.id,
                at: request.at,
                ended_at: None,
                key: JoinKey::of(request),
            });
    }

    fn ended(&mut self, id: ExchangeId, at: Nanos) {
        let Some(pid) = self.served_by.remove(&id) else {
            return;
        };
        let Some(serving) = self.processes.get_mut(&pid) else {
            return;
        };
        let requests = &mut serving.requests;
        if let Some(served) = requests.iter_mut().find(|served| served.id == id) {
            served.ended_at = Some(at);
        }
        let in_flight = requests.iter().filter(|r| r.ended_at.is_none()).count();
        if in_flight == 0 {
            self.processes.remove(&pid);
        } else if requests.len() - in_flight > REMEMBERED_PER_PROCESS
            && let Some(oldest) = requests.iter().position(|r| r.ended_at.is_some())
        {
            let end = requests.remove(oldest).ended_at.unwrap_or_default();
            serving.forgotten_until = serving.forgotten_until.max(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::exchanges::meaning::Operation;
    use crate::exchanges::rpc::mcp::{McpKind, McpRequest};
    use crate::runs::testing::RequestBuilder;

    fn served(id: u64, at: Nanos) -> RequestBuilder {
        RequestBuilder::get("/").id(id).pid(1).at(at)
    }

    fn call(at: Nanos) -> Call {
        Call {
            id: ExchangeId(999),
            actor: Actor {
                pid: 1,
                tid: 1,
                label: crate::capture::event::Label::Unknown,
            },
            at,
            key: None,
            reads: None,
        }
    }

    #[test]
    fn streams_cause_nothing() {
        let mut source = OneInFlight::default();
        for id in 1..=2 {
            let request = served(id, id * 10);
            source.observe(&ExchangeEvent::Started(Arc::new(request.build())));
        }
        assert_eq!(source.cause(&call(30)), Cause::Unknown);
        let stream = Operation::Mcp(Box::new(McpRequest {
            kind: McpKind::Stream,
            session_id: None,
            protocol_version: None,
            messages: Vec::new(),
        }));
        source.observe(&ExchangeEvent::Understood {
            id: ExchangeId(1),
            at: 10,
            operation: Some(Arc::new(stream)),
        });
        assert_eq!(source.cause(&call(30)), Cause::Known(ExchangeId(2)));
    }

    #[test]
    fn remembers_so_many_ended_requests_and_knows_what_it_forgot() {
        let mut source = OneInFlight::default();
        let start = |request: RequestBuilder| ExchangeEvent::Started(Arc::new(request.build()));
        source.observe(&start(served(0, 0)));
        for id in 1..=REMEMBERED_PER_PROCESS as u64 + 1 {
            let request = served(id, id * 10);
            source.observe(&start(request.clone()));
            let ended = request.answered(200, id * 10 + 5);
            source.observe(&ExchangeEvent::Ended(Box::new(ended)));
        }
        assert_eq!(source.cause(&call(22)), Cause::Unknown);
        assert_eq!(source.cause(&call(27)), Cause::Known(ExchangeId(0)));
        assert_eq!(source.cause(&call(14)), Cause::Unknown, "forgotten");
        assert_eq!(
            source.cause(&call(5)),
            Cause::Unknown,
            "before what was forgotten"
        );
    }

    #[test]
    fn keeps_nothing_of_what_is_over() {
        let mut source = OneInFlight::default();
        let request = served(1, 0);
        source.observe(&ExchangeEvent::Started(Arc::new(request.clone().build())));
        source.observe(&ExchangeEvent::Ended(Box::new(request.answered(200, 9))));
        assert!(source.processes.is_empty() && source.served_by.is_empty());
    }
}
