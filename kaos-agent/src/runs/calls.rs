//! The calls that processes make: what caused them, and where that puts them.

use std::sync::Arc;

use super::agents::Outgoing;
use super::beside::Share;
use super::cause::{Cause, CauseSource};
use super::forwarding::Forwards;
use super::join::{ClientEnd, JoinKey};
use super::span::FinishedSpan;
use super::telling::{self, Telling};
use super::traces::{Above, SpanKey};
use super::w3c::Carried;
use super::{Begun, CAUSE_WAIT, Runs};
use crate::capture::event::Pid;
use crate::exchanges::meaning::Operation;

impl<Source: CauseSource> Runs<Source> {
    /// A request was sent, and what it asks for is known.
    pub(super) fn called(
        &mut self,
        begun: &Begun,
        operation: Option<&Arc<Operation>>,
        carried: Option<Carried>,
        out: &mut Vec<FinishedSpan>,
    ) {
        let Begun {
            request,
            service,
            telling,
            cause,
        } = begun;
        let pid = request.actor.pid;
        let key = JoinKey::of(request);
        let mut forwards = false;
        if telling::exports_spans(request) {
            self.exports_spans(pid, service);
        }
        match carried {
            _ if *telling == Telling::Nothing => {
                self.traces.counters.otlp_requests += 1;
                self.traces.put(request.id, Above::Nothing, out);
            }
            Some(carried) => match self.forwarding.called(request, &carried) {
                Forwards::Nothing => {
                    self.called_with_own_span(begun, &carried);
                    let outgoing = self.outgoing(begun, operation);
                    self.put_call(outgoing, Above::Carried(carried), out);
                }
                Forwards::Of(served) if self.traces.may_hang_under(request.id, served) => {
                    forwards = true;
                    let outgoing = self.outgoing(begun, operation);
                    self.put_call(outgoing, Above::Span(served.into()), out);
                }
                // The span that all of them hang under is the nearest that is certain.
                Forwards::Of(_) | Forwards::OfSeveral => {
                    forwards = true;
                    self.traces.counters.causes_unknown += 1;
                    let outgoing = self.outgoing(begun, operation);
                    self.put_call(outgoing, Above::Carried(carried), out);
                }
            },
            None if self.beside.share(pid, service) == Share::Nothing => {
                self.leave_to_sdk(request.id);
                let outgoing = self.outgoing(begun, operation);
                self.caused(outgoing, *cause, out);
            }
            None => {
                let outgoing = self.outgoing(begun, operation);
                match cause {
                    // Somebody may have responded since.
                    Cause::NotYet => self.ask(outgoing, out),
                    cause => self.caused(outgoing, *cause, out),
                }
            }
        }
        let client = ClientEnd {
            id: request.id,
            forwards,
        };
        if let Some(server) = self.joins.client_began(key, client) {
            self.join(client, server, out);
        }
    }

    fn outgoing(&self, begun: &Begun, operation: Option<&Arc<Operation>>) -> Outgoing {
        let Begun {
            request, service, ..
        } = begun;
        let share = self.beside.share(request.actor.pid, service);
        Outgoing::request(request, operation, share.has_meaning())
    }

    /// Gives a call its place: in the run of what caused it, if that is one.
    fn put_call(&mut self, outgoing: Outgoing, above: Above, out: &mut Vec<FinishedSpan>) {
        let (agents, mut tracing) = self.agents(out);
        match above {
            Above::Span(SpanKey::Exchange(by)) => agents.caused(outgoing, by, &mut tracing),
            above => agents.alone(&outgoing, above, &mut tracing),
        }
    }

    /// Asks the source for the cause of a call.
    pub(super) fn ask(&mut self, outgoing: Outgoing, out: &mut Vec<FinishedSpan>) {
        let cause = self.source.cause(&outgoing.call);
        self.caused(outgoing, cause, out);
    }

    /// Puts a call where its cause says.
    fn caused(&mut self, outgoing: Outgoing, cause: Cause, out: &mut Vec<FinishedSpan>) {
        let id = outgoing.id();
        let above = match cause {
            Cause::Known(by) if self.traces.may_hang_under(id, by) => Above::Span(by.into()),
            Cause::Known(_) | Cause::Unknown => {
                self.traces.counters.causes_unknown += 1;
                Above::Nothing
            }
            Cause::Nothing => {
                self.traces.counters.calls_without_request += 1;
                Above::Nothing
            }
            Cause::NotYet => {
                if !self.asking.contains_key(&id) {
                    let until = self.now.saturating_add(CAUSE_WAIT);
                    self.asking.insert(id, (outgoing, until));
                }
                if self.asking.len() > self.limits.waiting {
                    self.give_up_oldest_call(out);
                }
                return;
            }
        };
        self.asking.remove(&id);
        self.put_call(outgoing, above, out);
    }

    /// A request of this process is responded to, or over: what caused its calls may be known now.
    pub(super) fn ask_again(&mut self, pid: Pid, out: &mut Vec<FinishedSpan>) {
        let calls = self.asking.values().map(|(outgoing, _)| outgoing);
        let calls = calls.filter(|outgoing| outgoing.call.actor.pid == pid);
        for outgoing in calls.cloned().collect::<Vec<_>>() {
            self.ask(outgoing, out);
        }
    }

    /// Lets the call that has waited longest for its cause wait no longer.
    pub(super) fn give_up_oldest_call(&mut self, out: &mut Vec<FinishedSpan>) {
        if let Some((_, (outgoing, _))) = self.asking.pop_front() {
            self.traces.counters.causes_given_up += 1;
            self.put_call(outgoing, Above::Nothing, out);
        }
    }
}
