//! Takes signals and leads each to where its service wants it.

use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use super::request::ServiceSpan;
use super::routes::OtlpRoutes;
use super::stream::{SpanWriter, StreamQueue};
pub use super::tally::ExportCounters;
use super::tally::Tally;
use crate::telemetry::Signal;

/// Where signals go.
pub enum Target {
    /// Over OTLP to the destinations of each service.
    Otlp,
    /// Spans as text to a stream. Measurements are not written.
    Stream(Box<dyn SpanWriter>),
}

/// What becomes of a span for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It is dropped and counted: what is observed does not wait.
    Drop,
    /// The caller waits: a recording can. The caller must not be a task of the runtime.
    Wait,
}

/// Stage 7. Dropping it loses what is not delivered yet; see [`flush_and_stop`](Self::flush_and_stop).
#[derive(Debug)]
pub struct Exporter {
    route: Route,
    when_full: WhenFull,
    tally: Tally,
}

#[derive(Debug)]
enum Route {
    Otlp(Box<OtlpRoutes>),
    Stream(StreamQueue),
}

impl Exporter {
    /// Starts exporting. Its tasks run on `runtime`.
    ///
    /// # Errors
    /// The thread that writes to a stream cannot be made.
    pub fn start(target: Target, when_full: WhenFull, runtime: Handle) -> io::Result<Self> {
        let tally = Tally::default();
        let route = match target {
            Target::Otlp => Route::Otlp(Box::new(OtlpRoutes::new(runtime, tally.clone()))),
            Target::Stream(writer) => {
                Route::Stream(StreamQueue::start(writer, when_full, tally.clone())?)
            }
        };
        Ok(Self {
            route,
            when_full,
            tally,
        })
    }

    /// Takes a signal. With [`WhenFull::Drop`] it never blocks.
    pub fn send(&mut self, signal: Signal) {
        match (signal, &mut self.route) {
            (Signal::Span { service, span }, Route::Stream(queue)) => {
                queue.push(ServiceSpan { service, span }, self.when_full);
            }
            (Signal::Measurement { .. }, Route::Stream(_)) => {}
            (Signal::Span { service, span }, Route::Otlp(routes)) => {
                routes.push(ServiceSpan { service, span }, self.when_full);
            }
            (
                Signal::Measurement {
                    service,
                    instrument,
                    value,
                    attributes,
                    moment,
                },
                Route::Otlp(routes),
            ) => routes.record(&service, instrument, value, &attributes, moment),
        }
    }

    /// Time goes by: forgets what belonged to services that are gone.
    pub fn tick(&mut self) {
        if let Route::Otlp(routes) = &mut self.route {
            routes.tick();
        }
    }

    /// Calls `visit` with the name and the size of each thing that is kept now.
    pub fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        if let Route::Otlp(routes) = &self.route {
            for (name, size) in routes.levels() {
                visit(name, size as u64);
            }
            let waiting = self.tally.counters().spans_pending();
            visit("export.spans_waiting", waiting);
        }
    }

    /// Memory is short: drops, and counts, the spans that wait for a collector. Those written to a
    /// stream are few, and stay.
    pub fn shed(&self) {
        if let Route::Otlp(routes) = &self.route {
            routes.shed();
        }
    }

    /// What became of all signals so far.
    #[must_use]
    pub fn counters(&self) -> ExportCounters {
        self.tally.counters()
    }

    /// The destinations that are in use, without their secrets, and what became of the spans for
    /// each.
    #[must_use]
    pub fn destinations(&self) -> Vec<(String, ExportCounters)> {
        match &self.route {
            Route::Otlp(routes) => routes.destinations(),
            Route::Stream(_) => Vec::new(),
        }
    }

    /// Delivers everything, but stops after `limit`; what is not delivered then is counted.
    pub async fn flush_and_stop(self, limit: Duration) -> ExportCounters {
        let is_complete = match self.route {
            Route::Otlp(routes) => routes.finish(limit).await,
            Route::Stream(queue) => timeout(limit, queue.finish()).await.is_ok(),
        };
        let lost = self.tally.counters().spans_pending();
        self.tally
            .count(|counters| counters.spans_dropped_at_exit += lost);
        if !is_complete {
            warn!(
                spans = lost,
                "not all telemetry was delivered before the end"
            );
        }
        self.tally.counters()
    }
}
