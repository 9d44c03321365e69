//! The calls that processes make: what caused them, and where that puts them.

use std::sync::Arc;

use super::agents::{Forwarded, Outgoing};
use super::asking::Waiting;
use super::beside::{Fresh, Share};
use super::cause::{Call, Cause, CauseSource};
use super::forwarding::Forwards;
use super::join::{ClientEnd, JoinKey};
use super::span::FinishedSpan;
use super::telling::{self, Telling};
use super::traces::{Above, SpanKey};
use super::w3c::Carried;
use super::{Begun, CAUSE_WAIT, Runs};
use crate::capture::event::Pid;
use crate::exchanges::exchange::{ExchangeId, Request};
use crate::exchanges::meaning::Operation;
use crate::identity::service::SdkTraces;

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
                // A span that is exported by nobody: what it would be the parent of hangs where it
                // would itself.
                Forwards::Nothing if service.sdk_traces == SdkTraces::Nowhere => {
                    forwards = true;
                    let outgoing = self.outgoing(begun, operation);
                    self.caused_since(outgoing, *cause, out);
                }
                Forwards::Nothing => {
                    forwards = self.called_with_own_span(begun, &carried) == Fresh::No;
                    let mut outgoing = self.outgoing(begun, operation);
                    if forwards {
                        outgoing.forwarded = Some(Forwarded::Over(carried));
                        self.caused_since(outgoing, *cause, out);
                    } else {
                        self.put_call(outgoing, Above::Carried(carried), out);
                    }
                }
                Forwards::Of(served) if self.traces.may_hang_under(request.id, served) => {
                    forwards = true;
                    let outgoing = self.outgoing(begun, operation);
                    self.caused_by(outgoing, served, out);
                }
                // Where nothing else tells them apart, the span that all of them hang under is the
                // nearest that is certain.
                Forwards::Of(_) | Forwards::OfSeveral => {
                    forwards = true;
                    let mut outgoing = self.outgoing(begun, operation);
                    outgoing.forwarded = Some(Forwarded::OfSeveral(carried));
                    self.caused_since(outgoing, *cause, out);
                }
            },
            None if self.beside.share(pid, service) == Share::Nothing => {
                self.leave_to_sdk(request.id);
                let outgoing = self.outgoing(begun, operation);
                self.caused(outgoing, *cause, out);
            }
            None => {
                let outgoing = self.outgoing(begun, operation);
                self.caused_since(outgoing, *cause, out);
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

    /// Puts a call where its cause says, which was asked for when it began.
    fn caused_since(&mut self, outgoing: Outgoing, cause: Cause, out: &mut Vec<FinishedSpan>) {
        match cause {
            // Somebody may have responded since.
            Cause::NotYet => self.ask(outgoing, out),
            cause => self.caused(outgoing, cause, out),
        }
    }

    /// Puts a call where its cause says.
    fn caused(&mut self, outgoing: Outgoing, cause: Cause, out: &mut Vec<FinishedSpan>) {
        let id = outgoing.id();
        let is_placed = matches!(outgoing.forwarded, Some(Forwarded::Over(_)));
        match cause {
            Cause::NotYet => return self.wait(outgoing, None, out),
            Cause::After(by) => {
                self.traces.counters.calls_after_request += 1;
                self.asking.remove(id);
                return self.put_without_cause(outgoing, Some(by), out);
            }
            _ if is_placed => {}
            Cause::Known(by) if self.traces.may_hang_under(id, by) => {
                return self.caused_by(outgoing, by, out);
            }
            Cause::Nothing if outgoing.forwarded.is_none() => {
                self.traces.counters.calls_without_request += 1;
            }
            Cause::Known(_) | Cause::Unknown | Cause::Nothing => {
                self.traces.counters.causes_unknown += 1;
            }
        }
        self.asking.remove(id);
        self.put_without_cause(outgoing, None, out);
    }

    /// Puts a call that hangs under no request below the span that it names, if it names one, and links
    /// it to the request that left it running.
    fn put_without_cause(
        &mut self,
        outgoing: Outgoing,
        after: Option<ExchangeId>,
        out: &mut Vec<FinishedSpan>,
    ) {
        let carried = outgoing.forwarded.clone().map(Forwarded::into_carried);
        let above = match (after, carried) {
            (Some(request), carried) => Above::After(request, carried),
            (None, Some(carried)) => Above::Carried(carried),
            (None, None) => Above::Nothing,
        };
        self.put_call(outgoing, above, out);
    }

    /// Puts a call below what caused it, after the calls before it that may belong there too.
    fn caused_by(&mut self, outgoing: Outgoing, by: ExchangeId, out: &mut Vec<FinishedSpan>) {
        if self.agents.wants_order(by) && self.is_preceded(&outgoing, by) {
            return self.wait(outgoing, Some(by), out);
        }
        self.asking.remove(outgoing.id());
        self.put_call(outgoing, Above::Span(by.into()), out);
    }

    /// An earlier call of the process, which may have been made for this request, still waits.
    fn is_preceded(&self, outgoing: &Outgoing, by: ExchangeId) -> bool {
        let id = outgoing.id();
        let calls = self.asking.of(outgoing.call.actor.pid);
        let mut before = calls.take_while(|waiting| waiting.outgoing.id() != id);
        before.any(|waiting| waiting.by.is_none_or(|other| other == by))
    }

    fn wait(&mut self, outgoing: Outgoing, by: Option<ExchangeId>, out: &mut Vec<FinishedSpan>) {
        let until = self.now.saturating_add(CAUSE_WAIT);
        self.asking.wait(outgoing, by, until);
        if self.asking.len() > self.limits.waiting {
            self.give_up_oldest_call(out);
        }
    }

    /// A request of this process is responded to, or over: what caused its calls may be known now.
    pub(super) fn ask_again(&mut self, pid: Pid, out: &mut Vec<FinishedSpan>) {
        for id in self.waiting_in(pid) {
            // One that was put may have let others go.
            let Some(waiting) = self.asking.get(pid, id) else {
                continue;
            };
            let cause = match waiting.by {
                Some(by) => Cause::Known(by),
                None => self.source.cause(&waiting.outgoing.call),
            };
            // Most go on waiting.
            if cause != Cause::NotYet {
                self.caused(waiting.outgoing.clone(), cause, out);
            }
        }
    }

    /// A request will not be responded to any more: calls that waited for that are known now, if they
    /// ever are. To be said before the source of causes is shown its end.
    pub(super) fn ask_at_last(&mut self, request: &Request, out: &mut Vec<FinishedSpan>) {
        let pid = request.actor.pid;
        let source = &self.source;
        let is_its = |call: &Call| source.cause_at_last(call) == Cause::Known(request.id);
        for begun in self.not_understood.values_mut() {
            let call = &begun.request;
            if begun.cause == Cause::NotYet && call.actor.pid == pid && is_its(&Call::of(call)) {
                begun.cause = Cause::Known(request.id);
            }
        }
        for id in self.waiting_in(pid) {
            let Some(waiting) = self.asking.get(pid, id) else {
                continue;
            };
            let is_its = match waiting.by {
                Some(by) => by == request.id,
                None => {
                    let cause = self.source.cause_at_last(&waiting.outgoing.call);
                    cause == Cause::Known(request.id)
                }
            };
            if is_its {
                let outgoing = waiting.outgoing.clone();
                self.caused(outgoing, Cause::Known(request.id), out);
            }
        }
    }

    /// The calls of a process that wait, in order.
    fn waiting_in(&self, pid: Pid) -> Vec<ExchangeId> {
        let calls = self.asking.of(pid);
        calls.map(|waiting| waiting.outgoing.id()).collect()
    }

    /// Lets the call that has waited longest for its cause, or for those before it, wait no longer.
    pub(super) fn give_up_oldest_call(&mut self, out: &mut Vec<FinishedSpan>) {
        let Some(Waiting { outgoing, by, .. }) = self.asking.remove_oldest() else {
            return;
        };
        match by.filter(|by| self.traces.may_hang_under(outgoing.id(), *by)) {
            Some(by) => self.put_call(outgoing, Above::Span(by.into()), out),
            None => {
                self.traces.counters.causes_given_up += 1;
                self.put_without_cause(outgoing, None, out);
            }
        }
    }
}
