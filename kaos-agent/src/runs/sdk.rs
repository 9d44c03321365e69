//! What a run leaves to the SDKs in processes.

use super::beside::{Fresh, Share, Sign};
use super::cause::{Cause, CauseSource};
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

    /// Processes in which an SDK was found since this was asked last, and what showed it.
    pub fn take_sdks(&mut self) -> Vec<(Pid, Sign)> {
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
