//! Counting from several tasks.

use std::sync::{Arc, Mutex, PoisonError};

use crate::counters;

counters! {
    /// What was exported, and what was not and why. Every span taken over ends in exactly one of
    /// exported, rejected and dropped.
    pub struct ExportCounters: "export" {
        /// Spans that were handed to this stage and have somewhere to go.
        spans_accepted,
        /// Spans that a collector took, or that were written.
        spans_exported,
        /// Spans that a collector rejected in a request that it otherwise took (partial success).
        spans_rejected,
        /// Spans for which the queue had no room.
        spans_dropped_queue_full,
        /// Spans of services for whose destination there was no place beside all others.
        spans_dropped_too_many_destinations,
        /// Spans that a collector refused for good, or that cannot be sent or written at all.
        spans_dropped_refused,
        /// Spans that no collector took within the time limit.
        spans_dropped_unreachable,
        /// Spans that waited for a collector when memory was short.
        spans_dropped_memory,
        /// Spans that were not delivered when the agent had to end.
        spans_dropped_at_exit,
        /// Spans of services without an endpoint.
        spans_without_destination,
        /// Requests with metrics that a collector took.
        metric_exports,
        /// Requests with metrics that were not delivered. With cumulative temporality the next one
        /// tells the same again.
        metric_exports_failed,
        /// Data points that a collector rejected in a request that it otherwise took.
        metric_points_rejected,
        /// Exemplars that had no place: too many sets of attributes.
        exemplars_left_out,
        /// Measurements of services without an endpoint.
        measurements_without_destination,
        /// Measurements of services for whose instruments there was no place beside all others.
        measurements_dropped_too_many_services,
        /// Requests that were sent again.
        retries,
    }
}

impl ExportCounters {
    /// Accepted spans whose fate is not known yet.
    #[must_use]
    pub fn spans_pending(&self) -> u64 {
        self.spans_accepted.saturating_sub(
            self.spans_exported
                + self.spans_rejected
                + self.spans_dropped_queue_full
                + self.spans_dropped_too_many_destinations
                + self.spans_dropped_refused
                + self.spans_dropped_unreachable
                + self.spans_dropped_memory
                + self.spans_dropped_at_exit,
        )
    }
}

/// Counters that several tasks add to, of one destination and of all.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    own: Arc<Mutex<ExportCounters>>,
    all: Option<Arc<Mutex<ExportCounters>>>,
}

impl Tally {
    /// Counters of one part; they add to these, too.
    pub(super) fn part(&self) -> Self {
        Self {
            own: Arc::default(),
            all: Some(Arc::clone(&self.own)),
        }
    }

    /// Counts something.
    pub(super) fn count(&self, add: impl Fn(&mut ExportCounters)) {
        for counters in [Some(&self.own), self.all.as_ref()].into_iter().flatten() {
            add(&mut counters.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What was counted.
    pub(super) fn counters(&self) -> ExportCounters {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
