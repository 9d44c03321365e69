//! What a run leaves to the SDKs in processes.

use opentelemetry::TraceId;

use super::beside::{Fresh, News, Share, Started};
use super::cause::{Cause, CauseSource};
use super::sampling::is_sampled;
use super::telling::Telling;
use super::w3c::Carried;
use super::{Begun, Runs};
use crate::capture::event::Pid;
use crate::exchanges::exchange::ExchangeId;
use crate::identity::service::Service;

impl<Source: CauseSource> Runs<Source> {
    /// A process exports spans by a way that is not read: there is an SDK in it.
    pub fn exports_spans(&mut self, pid: Pid, service: &Service) {
        let serves = self.beside.exports(pid);
        self.leave_served_to_sdk(pid, service, &serves);
    }

    /// A process begins to serve a request.
    pub(super) fn served_beside_sdk(&mut self, begun: &Begun, carried: Option<&Carried>) {
        let Begun {
            request,
            service,
            telling,
            ..
        } = begun;
        let pid = request.actor.pid;
        match self.beside.started(pid, service, self.now) {
            Started::Same => {}
            Started::Found(serves) => self.leave_served_to_sdk(pid, service, &serves),
            Started::NotShown => self.traces.counters.sdks_not_shown += 1,
        }
        let is_exported = *telling != Telling::Nothing && is_sampled_by_sdk(service, carried);
        self.beside.served(request, carried, is_exported);
    }

    /// What became known of SDKs in processes since this was asked last.
    pub fn take_sdks(&mut self) -> Vec<(Pid, News)> {
        self.beside.take_news()
    }

    /// A call carries a context that no request in flight came with. Returns whether the process made the
    /// span that it names.
    pub(super) fn called_with_own_span(&mut self, begun: &Begun, carried: &Carried) -> Fresh {
        let Begun {
            request, service, ..
        } = begun;
        let pid = request.actor.pid;
        let cause = match begun.cause {
            Cause::Known(id) => Some(id),
            _ => None,
        };
        let fresh = self.beside.called(request, carried, cause);
        if let Fresh::First { serves } = &fresh {
            self.leave_served_to_sdk(pid, service, serves);
        }
        match self.beside.share(pid, service) {
            Share::All => {}
            Share::Nothing => self.leave_to_sdk(request.id),
            Share::OtherCalls | Share::NotItsCalls => {
                if matches!(fresh, Fresh::First { .. }) {
                    self.leave_to_sdk(request.id);
                }
            }
        }
        fresh
    }

    pub(super) fn leave_served_to_sdk(
        &mut self,
        pid: Pid,
        service: &Service,
        serves: &[ExchangeId],
    ) {
        if !self.beside.share(pid, service).has_server_spans() {
            for id in serves {
                self.leave_to_sdk(*id);
            }
        }
    }

    pub(super) fn leave_to_sdk(&mut self, id: ExchangeId) {
        let is_left = self.traces.leave_out(id);
        self.traces.counters.left_to_sdk += u64::from(is_left);
    }
}

/// Whether an SDK in a process of this service keeps its span for a request for certain. The id of a
/// trace that it begins itself is not known; the one that is taken is the last that a ratio keeps.
fn is_sampled_by_sdk(service: &Service, carried: Option<&Carried>) -> bool {
    let last = TraceId::from(u128::MAX);
    let trace_id = carried.map_or(last, |carried| carried.trace_id);
    let parent = carried.map(|carried| carried.flags.is_sampled());
    is_sampled(service.sampler, trace_id, parent)
}
