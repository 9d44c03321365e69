//! What the agent's other threads know of the pipeline: that it is alive, and what it counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::counters::{Counters, Snapshot};
use crate::kubernetes::WatchState;
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
    /// Of the watch of pods, where there is one.
    watch: Option<Arc<WatchState>>,
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
    pub fn new(now: Nanos, watch: Option<Arc<WatchState>>) -> Self {
        Self {
            last_round: AtomicU64::new(now),
            published: Mutex::default(),
            watch,
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

    /// All counters, those of the watch among them.
    #[must_use]
    pub fn counters(&self, sources: &[&dyn Counters]) -> Snapshot {
        let watch = self.watch.as_deref().map(|watch| watch as &dyn Counters);
        let sources: Vec<_> = sources.iter().copied().chain(watch).collect();
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
        let watch = self.watch.as_deref();
        if !self.is_alive(now) {
            return Readiness::NotReady("the pipeline stands still");
        }
        match watch {
            Some(watch) if !watch.is_synced() => {
                Readiness::NotReady("the pods of this node are not known yet")
            }
            Some(watch) if !watch.is_connected() => Readiness::Degraded(
                "the API server does not answer: going on with the pods that are known",
            ),
            _ => Readiness::Ready,
        }
    }

    /// Of the watch of pods, where there is one.
    #[must_use]
    pub fn watch(&self) -> Option<&WatchState> {
        self.watch.as_deref()
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
    use super::*;

    #[test]
    fn a_pipeline_that_stands_still_is_dead() {
        let status = Status::new(5, None);
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
        let status = Status::new(5, Some(Arc::default()));
        assert_eq!(
            status.readiness(5),
            Readiness::NotReady("the pods of this node are not known yet")
        );
    }
}
