//! The calls that wait for their cause, or for the calls before them.

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::agents::Outgoing;
use crate::capture::event::Pid;
use crate::exchanges::exchange::ExchangeId;
use crate::time::Nanos;

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) outgoing: Outgoing,
    /// Its cause, where that is known already.
    pub(super) by: Option<ExchangeId>,
    /// Until when.
    pub(super) until: Nanos,
}

type Calls = LinkedHashMap<ExchangeId, Waiting, FxBuildHasher>;

/// The calls that wait, in the order in which they began to. A process is asked for its own each
/// time that it responds, so they are kept by process.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The process of each, the oldest first.
    order: LinkedHashMap<ExchangeId, Pid, FxBuildHasher>,
    processes: FxHashMap<Pid, Calls>,
}

impl Asking {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A call waits until then, unless it did already; with its cause, where that is known.
    pub(super) fn wait(&mut self, outgoing: Outgoing, by: Option<ExchangeId>, until: Nanos) {
        let (id, pid) = (outgoing.id(), outgoing.call.actor.pid);
        let calls = self.processes.entry(pid).or_default();
        if let Some(waiting) = calls.get_mut(&id) {
            waiting.by = by;
            return;
        }
        let waiting = Waiting {
            outgoing,
            by,
            until,
        };
        calls.insert(id, waiting);
        self.order.insert(id, pid);
    }

    /// A call waits no longer, if it did.
    pub(super) fn remove(&mut self, id: ExchangeId) -> Option<Waiting> {
        let pid = self.order.remove(&id)?;
        let calls = self.processes.get_mut(&pid)?;
        let waiting = calls.remove(&id);
        if calls.is_empty() {
            self.processes.remove(&pid);
        }
        waiting
    }

    /// Until when the call waits that began to before all others.
    pub(super) fn oldest_until(&self) -> Option<Nanos> {
        let (id, pid) = self.order.front()?;
        Some(self.processes.get(pid)?.get(id)?.until)
    }

    /// The call that began to wait before all others waits no longer.
    pub(super) fn remove_oldest(&mut self) -> Option<Waiting> {
        let (&oldest, _) = self.order.front()?;
        self.remove(oldest)
    }

    /// A call of a process that waits.
    pub(super) fn get(&self, pid: Pid, id: ExchangeId) -> Option<&Waiting> {
        self.processes.get(&pid)?.get(&id)
    }

    /// The calls of a process that wait, in order.
    pub(super) fn of(&self, pid: Pid) -> impl Iterator<Item = &Waiting> {
        let calls = self.processes.get(&pid);
        calls.into_iter().flat_map(LinkedHashMap::values)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runs::testing::RequestBuilder;

    fn call(id: u64, pid: Pid) -> Outgoing {
        let request = RequestBuilder::get("/").id(id).client().pid(pid).build();
        Outgoing::request(&Arc::new(request), None, true)
    }

    fn of(asking: &Asking, pid: Pid) -> Vec<u64> {
        let calls = asking.of(pid);
        calls.map(|waiting| waiting.outgoing.id().0).collect()
    }

    #[test]
    fn calls_wait_in_order_each_for_its_process() {
        let mut asking = Asking::default();
        for (id, pid) in [(3, 1), (1, 2), (2, 1)] {
            asking.wait(call(id, pid), None, id);
        }
        assert_eq!((of(&asking, 1), of(&asking, 2)), (vec![3, 2], vec![1]));
        assert_eq!((asking.len(), asking.oldest_until()), (3, Some(3)));

        // One that waits already keeps its turn and its time.
        asking.wait(call(3, 1), Some(ExchangeId(9)), 99);
        assert_eq!(of(&asking, 1), [3, 2]);
        let oldest = asking.remove_oldest().expect("three wait");
        assert_eq!((oldest.by, oldest.until), (Some(ExchangeId(9)), 3));

        assert_eq!(asking.oldest_until(), Some(1));
        assert!(asking.remove(ExchangeId(3)).is_none());
        assert!(asking.remove(ExchangeId(1)).is_some());
        assert_eq!((of(&asking, 1), of(&asking, 2)), (vec![2], vec![]));
        assert!(asking.remove_oldest().is_some());
        assert!(asking.is_empty() && asking.processes.is_empty());
    }
}
