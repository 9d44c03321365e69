//! The queue of one destination and the task that empties it.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

use super::delivery::{Delivery, RETRY_FOR, Undelivered};
use super::exporter::WhenFull;
use super::request::{self, ServiceSpan};
use super::tally::{ExportCounters, Tally};
use crate::identity::service::Batching;

/// The end that spans are put in. The task ends when this is gone and all spans have been dealt
/// with.
#[derive(Debug)]
pub(super) struct SpanQueue {
    sender: mpsc::Sender<ServiceSpan>,
    /// Told when there is a whole batch. Until then the task sleeps: a wake-up for every span would
    /// cost more than the span.
    batch_ready: Arc<Notify>,
    batch_size: usize,
    tally: Tally,
}

/// The end that spans are taken from.
#[derive(Debug)]
pub(super) struct SpanTask {
    receiver: mpsc::Receiver<ServiceSpan>,
    batch_ready: Arc<Notify>,
    batching: Batching,
    delivery: Delivery,
    stopping: watch::Receiver<bool>,
    /// Changes when memory is short.
    shedding: watch::Receiver<u64>,
    tally: Tally,
}

/// A queue and its task. The signals tell that the agent ends, and that memory is short.
pub(super) fn queue(
    batching: Batching,
    delivery: Delivery,
    (stopping, shedding): (watch::Receiver<bool>, watch::Receiver<u64>),
    tally: Tally,
) -> (SpanQueue, SpanTask) {
    let (sender, receiver) = mpsc::channel(batching.max_queue_size);
    let batch_ready = Arc::new(Notify::new());
    let queue = SpanQueue {
        sender,
        batch_ready: Arc::clone(&batch_ready),
        batch_size: batching.max_export_batch_size,
        tally: tally.clone(),
    };
    let task = SpanTask {
        receiver,
        batch_ready,
        batching,
        delivery,
        stopping,
        shedding,
        tally,
    };
    (queue, task)
}

impl SpanQueue {
    /// Puts a span in, or counts that there was no room.
    pub(super) fn push(&self, span: ServiceSpan, when_full: WhenFull) {
        let is_queued = match when_full {
            WhenFull::Drop => self.sender.try_send(span).is_ok(),
            WhenFull::Wait => self.sender.blocking_send(span).is_ok(),
        };
        self.tally.count(|counters| {
            counters.spans_accepted += 1;
            counters.spans_dropped_queue_full += u64::from(!is_queued);
        });
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        // The first span of a batch is in the task's hands already.
        if waiting + 1 >= self.batch_size {
            self.batch_ready.notify_one();
        }
    }

    /// What became of the spans that were put in.
    pub(super) fn counters(&self) -> ExportCounters {
        self.tally.counters()
    }
}

impl SpanTask {
    /// Delivers batch after batch, until nobody can put in more and all is delivered or dropped.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.receiver.recv().await {
            let batch = self.gather(first).await;
            let size = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let request = request::of_spans(batch);
            // Only what cannot be delivered from now on is in the way.
            self.shedding.borrow_and_update();
            let outcome = tokio::select! {
                biased;
                outcome = self.delivery.deliver(&request, RETRY_FOR) => outcome,
                Ok(()) = self.shedding.changed() => {
                    drop(request);
                    self.shed(size);
                    continue;
                }
            };
            self.tally.count(|counters| match outcome {
                Ok(rejected) => {
                    let rejected = rejected.min(size);
                    counters.spans_exported += size - rejected;
                    counters.spans_rejected += rejected;
                }
                Err(Undelivered::Refused) => counters.spans_dropped_refused += size,
                Err(Undelivered::Unreachable) => counters.spans_dropped_unreachable += size,
            });
        }
    }

    /// Drops a batch of this size, which is not delivered yet, and all that waits behind it.
    fn shed(&mut self, batch: u64) {
        let mut dropped = batch;
        while self.receiver.try_recv().is_ok() {
            dropped += 1;
        }
        self.tally
            .count(|counters| counters.spans_dropped_memory += dropped);
    }

    /// Waits until a batch is full, its first span has waited long enough, or the agent ends.
    async fn gather(&mut self, first: ServiceSpan) -> Vec<ServiceSpan> {
        let limit = self.batching.max_export_batch_size;
        let delay = sleep(self.batching.schedule_delay);
        tokio::pin!(delay);
        while self.receiver.len() + 1 < limit && !self.receiver.is_closed() {
            tokio::select! {
                () = &mut delay => break,
                _ = self.stopping.wait_for(|stopping| *stopping) => break,
                () = self.batch_ready.notified() => {}
            }
        }
        let mut batch = vec![first];
        while batch.len() < limit
            && let Ok(span) = self.receiver.try_recv()
        {
            batch.push(span);
        }
        batch
    }
}
