//! Spans as text on a stream, written by a thread of their own.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::warn;

use super::exporter::WhenFull;
pub use super::request::ServiceSpan;
use super::tally::Tally;

/// Spans that wait at most until they are written.
const QUEUE_SIZE: usize = 4096;

/// Spans that are written at once, as many as in a batch of the SDKs.
const BATCH_SIZE: usize = 512;

/// How long a live span waits for others at most, and how often a quiet stream is told that time
/// passed.
const TICK: Duration = Duration::from_millis(200);

/// Writes spans as text. Called from one thread, which may block on the stream.
pub trait SpanWriter: Send {
    /// These spans ended, in this order. They need not be written at once.
    ///
    /// # Errors
    /// The stream cannot be written; nothing more will be.
    fn write(&mut self, spans: Vec<ServiceSpan>) -> io::Result<()>;

    /// Some time passed without spans: what was held back may be written. Never called in a
    /// replay, whose output must not depend on time.
    ///
    /// # Errors
    /// The stream cannot be written; nothing more will be.
    fn idle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// No span will come any more: what was held back must be written.
    ///
    /// # Errors
    /// The stream cannot be written.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The thread's queue.
#[derive(Debug)]
pub(super) struct StreamQueue {
    sender: SyncSender<ServiceSpan>,
    finished: oneshot::Receiver<()>,
    tally: Tally,
}

impl StreamQueue {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be made.
    pub(super) fn start(
        writer: Box<dyn SpanWriter>,
        when_full: WhenFull,
        tally: Tally,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE_SIZE);
        let (finish, finished) = oneshot::channel();
        let thread_tally = tally.clone();
        thread::Builder::new()
            .name("span-writer".to_owned())
            .spawn(move || {
                let tick = (when_full == WhenFull::Drop).then_some(TICK);
                write_all(writer, &receiver, tick, &thread_tally);
                // Nobody waits any more where the agent had to end sooner.
                let _ = finish.send(());
            })?;
        Ok(Self {
            sender,
            finished,
            tally,
        })
    }

    pub(super) fn push(&self, span: ServiceSpan, when_full: WhenFull) {
        let is_queued = match when_full {
            WhenFull::Drop => self.sender.try_send(span).is_ok(),
            WhenFull::Wait => self.sender.send(span).is_ok(),
        };
        self.tally.count(|counters| {
            counters.spans_accepted += 1;
            counters.spans_dropped_queue_full += u64::from(!is_queued);
        });
    }

    /// Returns when all is written.
    pub(super) async fn finish(self) {
        drop(self.sender);
        let _ = self.finished.await;
    }
}

fn write_all(
    mut writer: Box<dyn SpanWriter>,
    spans: &Receiver<ServiceSpan>,
    tick: Option<Duration>,
    tally: &Tally,
) {
    if let Err(error) = write_batches(writer.as_mut(), spans, tick, tally) {
        warn!(%error, "the output cannot be written; spans are dropped from now on");
        // They are taken all the same, so that nobody waits for room.
        for _ in spans {
            tally.count(|counters| counters.spans_dropped_refused += 1);
        }
    }
}

fn write_batches(
    writer: &mut dyn SpanWriter,
    spans: &Receiver<ServiceSpan>,
    tick: Option<Duration>,
    tally: &Tally,
) -> io::Result<()> {
    while let Some(batch) = gather(spans, tick) {
        if batch.is_empty() {
            writer.idle()?;
            continue;
        }
        let size = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let result = writer.write(batch);
        tally.count(|counters| match result {
            Ok(()) => counters.spans_exported += size,
            Err(_) => counters.spans_dropped_refused += size,
        });
        result?;
    }
    writer.finish()
}

/// The next batch, empty where a tick passed without a span; `None` at the end.
fn gather(spans: &Receiver<ServiceSpan>, tick: Option<Duration>) -> Option<Vec<ServiceSpan>> {
    let deadline = tick.map(|tick| Instant::now() + tick);
    let mut batch = Vec::new();
    while batch.len() < BATCH_SIZE {
        let next = match deadline {
            Some(deadline) => {
                spans.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
            None => spans.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(span) => batch.push(span),
            Err(RecvTimeoutError::Disconnected) if batch.is_empty() => return None,
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
        }
    }
    Some(batch)
}
