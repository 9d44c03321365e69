//! What the agent's other threads know of the pipeline: that it is alive, and what it counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::counters::{Counters, Snapshot};
use crate::kubernetes::Watches;
use crate::time::Nanos;

/// A pipeline that has not finished a round for so long is taken for dead: rounds take milliseconds,
/// at worst a full ring of them.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// How old the counters may be that are shown.
const PUBLISH_EVERY: Nanos = 1_000_000_000;

/// What is known of the pipeline.
#[derive(Debug, Default)]
pub struct Status {
    /// When its last round ended, `CLOCK_MONOTONIC`.
    last_round: AtomicU64,
    published: Mutex<Published>,
    watches: Watches,
}

/// What was counted, and what there was.
#[derive(Debug, Default, Clone)]
pub struct Published {
    /// Counters.
    pub counters: Snapshot,
    /// Sizes of what is kept.
    pub levels: Snapshot,
    at: Nanos,
}

/// Whether the agent does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does with what it knows, but something is missing.
    Degraded(&'static str),
    /// Not yet.
    NotReady(&'static str),
}

impl Status {
    /// Of a pipeline that begins now.
    #[must_use]
    pub fn new(now: Nanos, watches: Watches) -> Self {
        Self {
            last_round: AtomicU64::new(now),
            published: Mutex::default(),
            watches,
        }
    }

    /// A round of the pipeline has ended.
    pub fn round_ended(&self, now: Nanos, sources: &[&dyn Counters]) {
        self.last_round.store(now, Ordering::Relaxed);
        let mut published = self.locked();
        if published.at == 0 || now.saturating_sub(published.at) >= PUBLISH_EVERY {
            *published = Published {
                counters: self.counters(sources),
                levels: Snapshot::of_levels(sources),
                at: now,
            };
        }
    }

    /// All counters, those of the watches among them.
    #[must_use]
    pub fn counters(&self, sources: &[&dyn Counters]) -> Snapshot {
        let watches: &dyn Counters = &self.watches;
        let sources: Vec<_> = sources.iter().copied().chain([watches]).collect();
        Snapshot::of(&sources)
    }

    /// What was counted a second ago, or lately.
    #[must_use]
    pub fn published(&self) -> Published {
        self.locked().clone()
    }

    /// The pipeline goes on.
    #[must_use]
    pub fn is_alive(&self, now: Nanos) -> bool {
        let idle = now.saturating_sub(self.last_round.load(Ordering::Relaxed));
        u128::from(idle) < STALLED_AFTER.as_nanos()
    }

    /// Whether the agent does its work.
    #[must_use]
    pub fn readiness(&self, now: Nanos) -> Readiness {
        if !self.is_alive(now) {
            return Readiness::NotReady("the pipeline stands still");
        }
        match self.watches.pods.as_deref() {
            Some(pods) if !pods.is_synced() && pods.errors() > 0 && !pods.is_connected() => {
                return Readiness::NotReady(
                    "the API server does not answer: the pods of this node are not known yet",
                );
            }
            Some(pods) if !pods.is_synced() => {
                return Readiness::NotReady("the pods of this node are not known yet");
            }
            Some(pods) if !pods.is_connected() => {
                return Readiness::Degraded(
                    "the API server does not answer: going on with the pods that are known",
                );
            }
            _ => {}
        }
        match self.watches.services.as_deref() {
            Some(services) if services.errors() > 0 && !services.is_connected() => {
                Readiness::Degraded(
                    "the Services of the cluster cannot be read: going on with the names that are known",
                )
            }
            _ => Readiness::Ready,
        }
    }

    /// The watches of the API server that there are.
    #[must_use]
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Published> {
        // What is in it is replaced whole, so a panic elsewhere cannot have left it half-done.
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kubernetes::WatchState;

    #[test]
    fn a_pipeline_that_stands_still_is_dead() {
        let status = Status::new(5, Watches::default());
        let limit = u64::try_from(STALLED_AFTER.as_nanos()).expect("thirty seconds");
        assert!(status.is_alive(4 + limit));
        assert!(!status.is_alive(5 + limit));
        assert_eq!(
            status.readiness(5 + limit),
            Readiness::NotReady("the pipeline stands still")
        );
        status.round_ended(limit, &[]);
        assert_eq!(status.readiness(5 + limit), Readiness::Ready);
    }

    #[test]
    fn a_watch_that_was_never_synced_is_not_ready() {
        let watches = Watches {
            pods: Some(Arc::default()),
            services: None,
        };
        assert_eq!(
            Status::new(5, watches).readiness(5),
            Readiness::NotReady("the pods of this node are not known yet")
        );
    }

    #[test]
    fn without_an_api_server_from_the_start_it_says_so() {
        let pods: Arc<WatchState> = Arc::default();
        let watches = Watches {
            pods: Some(Arc::clone(&pods)),
            services: None,
        };
        let status = Status::new(5, watches);
        pods.failed();
        let why = "the API server does not answer: the pods of this node are not known yet";
        assert_eq!(status.readiness(5), Readiness::NotReady(why));
        // It answers now, and what it knows is on its way.
        pods.answered();
        let why = "the pods of this node are not known yet";
        assert_eq!(status.readiness(5), Readiness::NotReady(why));
        pods.listed();
        assert_eq!(status.readiness(5), Readiness::Ready);
        pods.failed();
        let why = "the API server does not answer: going on with the pods that are known";
        assert_eq!(status.readiness(5), Readiness::Degraded(why));
    }

    #[test]
    fn without_names_of_services_it_goes_on() {
        let services: Arc<WatchState> = Arc::default();
        let watches = Watches {
            pods: None,
            services: Some(Arc::clone(&services)),
        };
        let status = Status::new(5, watches);
        assert_eq!(status.readiness(5), Readiness::Ready);
        services.failed();
        let why =
            "the Services of the cluster cannot be read: going on with the names that are known";
        assert_eq!(status.readiness(5), Readiness::Degraded(why));
        services.answered();
        assert_eq!(status.readiness(5), Readiness::Ready);
    }
}
