//! What processes read on their own: GETs that they repeat while they serve nothing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use hashlink::LruCache;
use rustc_hash::FxBuildHasher;

use super::url::RequestUrl;
use crate::capture::event::Pid;
use crate::exchanges::exchange::Request;

/// So many times a process must have read something while it served nothing before it is said to do so
/// on its own. As it starts it may read once or twice what it reads for requests later: keys, a list of
/// models, the card of an agent.
pub const REPEATED: u8 = 3;

/// What is remembered of one process: more than it polls. The least recently read goes first.
const MOST_OF_PROCESS: usize = 64;

/// Processes of which something is remembered; the least recently seen goes first. Some 100 KiB for those
/// that poll one thing each, 2 MiB at most.
const MOST_PROCESSES: usize = 1_024;

/// What a GET reads: stands for its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading(u64);

impl Reading {
    /// What a call reads, if that is all it does. Other methods say in their body what they want, so that
    /// two of one URL need not be alike: calls of a model have one URL for all.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        if request.method != "GET" {
            return None;
        }
        let url = RequestUrl::of(request);
        let mut hasher = DefaultHasher::new();
        (url.scheme, url.authority?, url.path, url.query).hash(&mut hasher);
        Some(Self(hasher.finish()))
    }
}

/// How often processes read what while they served nothing.
#[derive(Debug)]
pub struct Polls {
    processes: LruCache<Pid, LruCache<Reading, u8, FxBuildHasher>, FxBuildHasher>,
}

impl Default for Polls {
    fn default() -> Self {
        Self {
            processes: LruCache::with_hasher(MOST_PROCESSES, FxBuildHasher),
        }
    }
}

impl Polls {
    /// A process reads this while it serves nothing.
    pub fn note(&mut self, pid: Pid, reading: Reading) {
        // An entry of these caches would not count as a use, and take one more than they may have.
        if self.processes.get(&pid).is_none() {
            let nothing = LruCache::with_hasher(MOST_OF_PROCESS, FxBuildHasher);
            self.processes.insert(pid, nothing);
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            let times: u8 = process.peek(&reading).copied().unwrap_or(0);
            process.insert(reading, times.saturating_add(1));
        }
    }

    /// Whether a process reads this on its own, too.
    #[must_use]
    pub fn has(&self, pid: Pid, reading: Reading) -> bool {
        let process = self.processes.peek(&pid);
        let times = process.and_then(|process| process.peek(&reading));
        times.is_some_and(|times| *times >= REPEATED)
    }

    /// A process is gone.
    pub fn forget(&mut self, pid: Pid) {
        self.processes.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::testing::RequestBuilder;

    fn reading(method: &str, url: &str, host: &str) -> Option<Reading> {
        let request = RequestBuilder::new(method, url).client();
        Reading::of(&request.header("host", host).build())
    }

    #[test]
    fn a_get_is_known_by_its_url() {
        let polled = reading("GET", "/polled?x=1", "a");
        assert!(polled.is_some());
        assert_eq!(polled, reading("GET", "http://a/polled?x=1", "b"));
        for other in [
            reading("GET", "/polled?x=2", "a"),
            reading("GET", "/polled", "a"),
            reading("GET", "/polled?x=1", "b"),
        ] {
            assert!(other.is_some() && other != polled);
        }
        assert_eq!(reading("POST", "/polled?x=1", "a"), None);
        assert_eq!(
            Reading::of(&RequestBuilder::get("/").client().build()),
            None
        );
    }

    #[test]
    fn what_is_repeated_is_known_of_each_process_until_it_is_gone() {
        let mut polls = Polls::default();
        for _ in 1..REPEATED {
            polls.note(1, Reading(1));
            polls.note(2, Reading(2));
        }
        assert!(!polls.has(1, Reading(1)));
        polls.note(1, Reading(1));
        assert!(polls.has(1, Reading(1)));
        assert!(
            !polls.has(1, Reading(2)) && !polls.has(2, Reading(1)) && !polls.has(2, Reading(2))
        );
        polls.forget(1);
        assert!(!polls.has(1, Reading(1)));
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut polls = Polls::default();
        for _ in 0..REPEATED {
            polls.note(1, Reading(0));
        }
        for other in 1..MOST_OF_PROCESS as u64 {
            polls.note(1, Reading(other));
        }
        assert!(polls.has(1, Reading(0)));
        polls.note(1, Reading(MOST_OF_PROCESS as u64));
        assert!(!polls.has(1, Reading(0)));
        for pid in 1..=2 * MOST_PROCESSES {
            polls.note(u32::try_from(pid).expect("few"), Reading(0));
        }
        assert_eq!(polls.processes.len(), MOST_PROCESSES);
    }
}
