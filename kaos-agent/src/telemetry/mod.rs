//! Stage 6: what happened to OpenTelemetry spans and measurements.
//!
//! - **In**: [`FinishedSpan`]s.
//! - **Out**: [`Signal`]s, by the stable semantic conventions for HTTP.
//! - **Keeps**: nothing.
//! - **Limits**: [`attributes::MAX_VALUE_BYTES`].
//! - **Loses**: what is longer in an attribute (`telemetry.values_cut`).

pub mod attributes;
pub mod connect;
pub mod http;
pub mod metrics;
pub mod url;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::identity::service::Service;
use crate::runs::span::{FinishedSpan, Subject};
use crate::time::{Nanos, WallOffset};
use attributes::Attributes;

/// One thing to export.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A finished, sampled span.
    Span {
        /// Whose it is.
        service: Arc<Service>,
        /// The span.
        span: Box<SpanData>,
    },
    /// One value for a histogram.
    Measurement {
        /// Whose it is.
        service: Arc<Service>,
        /// Of which instrument.
        histogram: &'static Histogram,
        /// The value, in the instrument's unit.
        value: f64,
        /// Its attributes.
        attributes: Vec<KeyValue>,
    },
}

/// A histogram that the agent exports.
#[derive(Debug)]
pub struct Histogram {
    /// Name, as in the semantic conventions.
    pub name: &'static str,
    /// Unit, as in UCUM.
    pub unit: &'static str,
    /// What it tells.
    pub description: &'static str,
    /// Explicit bucket boundaries.
    pub boundaries: &'static [f64],
}

crate::counters! {
    /// What stage 6 handed on.
    pub struct TelemetryCounters: "telemetry" {
        /// Spans.
        spans,
        /// Measurements.
        measurements,
        /// Attribute values that were longer than is exported.
        values_cut,
    }
}

/// What a span tells, apart from its place in the trace.
#[derive(Debug)]
struct Told {
    name: Cow<'static, str>,
    kind: SpanKind,
    began: Nanos,
    ended: Nanos,
    attributes: Attributes,
    status: Status,
}

/// Stage 6.
#[derive(Debug, Default)]
pub struct Telemetry {
    counters: TelemetryCounters,
}

impl Telemetry {
    /// Stage 6.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was handed on.
    #[must_use]
    pub fn counters(&self) -> &TelemetryCounters {
        &self.counters
    }

    /// Appends the signals of something that is over: a span where it is exported, and a
    /// measurement where there is something to measure.
    pub fn push(&mut self, finished: FinishedSpan, out: &mut Vec<Signal>) {
        if let Subject::Exchange(exchange) = &finished.subject
            && let Some((histogram, seconds, attributes)) = metrics::measure(exchange)
        {
            self.counters.measurements += 1;
            out.push(Signal::Measurement {
                service: Arc::clone(&finished.service),
                histogram,
                value: seconds,
                attributes: self.counted(attributes),
            });
        }
        if finished.exported {
            self.counters.spans += 1;
            let told = match &finished.subject {
                Subject::Exchange(exchange) => http::tell(exchange),
                Subject::ConnectFailure(failure) => connect::tell(failure),
            };
            let span = Box::new(self.span(&finished, told));
            let service = finished.service;
            out.push(Signal::Span { service, span });
        }
    }

    fn counted(&mut self, attributes: Attributes) -> Vec<KeyValue> {
        self.counters.values_cut += attributes.values_cut();
        attributes.into_vec()
    }

    fn span(&mut self, finished: &FinishedSpan, told: Told) -> SpanData {
        let parent = finished.parent;
        let scope = format!("kaos.{}", finished.service.name);
        SpanData {
            span_context: finished.context.clone(),
            parent_span_id: parent.map_or(SpanId::INVALID, |parent| parent.span_id),
            parent_span_is_remote: parent.is_some_and(|parent| parent.remote),
            span_kind: told.kind,
            name: told.name,
            start_time: wall_time(finished.clock, told.began),
            end_time: wall_time(finished.clock, told.ended.max(told.began)),
            attributes: self.counted(told.attributes),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: told.status,
            instrumentation_scope: InstrumentationScope::builder(scope).build(),
        }
    }
}

fn wall_time(clock: WallOffset, at: Nanos) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(clock.unix_nanos(at))
}
