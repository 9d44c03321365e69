//! Stage 6: what happened to OpenTelemetry spans and measurements.
//!
//! - **In**: [`FinishedSpan`]s, and [`McpSession`]s that are over.
//! - **Out**: [`Signal`]s, by the semantic conventions for HTTP, GenAI and MCP, and in KAOS's names.
//! - **Keeps**: nothing.
//! - **Limits**: [`attributes::MAX_VALUE_BYTES`].
//! - **Loses**: what is longer in an attribute (`telemetry.values_cut`).

mod agent;
pub mod attributes;
mod connect;
mod genai;
mod http;
pub mod instruments;
mod mcp;
mod metrics;
mod names;
mod peer;
mod secrets;
pub mod url;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Event, Link, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use opentelemetry_semantic_conventions::attribute;

use crate::identity::service::Service;
use crate::runs::part::Part;
use crate::runs::sessions::McpSession;
use crate::runs::span::{FinishedSpan, Subject};
use crate::runs::verdict::Verdict;
use crate::time::{Nanos, WallOffset};
use attributes::Attributes;
pub use instruments::Instrument;

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
    /// One value for an instrument.
    Measurement {
        /// Whose it is.
        service: Arc<Service>,
        /// Which.
        instrument: &'static Instrument,
        /// The value, in the instrument's unit.
        value: f64,
        /// Its attributes.
        attributes: Vec<KeyValue>,
        /// When it was measured, and in which trace.
        moment: Moment,
    },
}

/// What an exemplar says of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// When it was measured.
    pub at: SystemTime,
    /// The sampled span that it was measured of, or where that is not told, the one above it.
    pub span: Option<(TraceId, SpanId)>,
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
    events: Vec<ToldEvent>,
}

/// Something that happened at a moment of a span.
#[derive(Debug)]
struct ToldEvent {
    name: &'static str,
    at: Nanos,
    attributes: Attributes,
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
        let moment = Moment {
            at: wall_time(finished.clock, metrics::ended_at(&finished.subject)),
            span: sampled_span(&finished),
        };
        for measurement in metrics::measure(&finished) {
            self.counters.measurements += 1;
            out.push(Signal::Measurement {
                service: Arc::clone(&finished.service),
                instrument: measurement.instrument,
                value: measurement.value,
                attributes: self.counted(measurement.attributes),
                moment,
            });
        }
        if finished.exported {
            self.counters.spans += 1;
            let mut told = tell(&finished);
            if let Some(peer) = &finished.peer {
                peer::tell(peer, &mut told.attributes);
            }
            let span = Box::new(self.span(&finished, told));
            let service = finished.service;
            out.push(Signal::Span { service, span });
        }
    }

    /// Appends the measurement of a session that is over. It belongs to no trace: many may have
    /// used it.
    pub fn push_session(&mut self, session: McpSession, clock: WallOffset, out: &mut Vec<Signal>) {
        self.counters.measurements += 1;
        let service = Arc::clone(&session.service);
        let at = wall_time(clock, session.ended);
        let measurement = metrics::session(session);
        out.push(Signal::Measurement {
            service,
            instrument: measurement.instrument,
            value: measurement.value,
            attributes: self.counted(measurement.attributes),
            moment: Moment { at, span: None },
        });
    }

    fn counted(&mut self, attributes: Attributes) -> Vec<KeyValue> {
        self.counters.values_cut += attributes.values_cut();
        attributes.into_vec()
    }

    fn span(&mut self, finished: &FinishedSpan, mut told: Told) -> SpanData {
        if let Some(limit) = finished.service.value_limit {
            let of_events = told.events.iter_mut().map(|event| &mut event.attributes);
            for attributes in of_events.chain([&mut told.attributes]) {
                attributes.limit(limit);
            }
        }
        let mut events = SpanEvents::default();
        for event in told.events {
            let at = wall_time(finished.clock, event.at);
            events.events.push(Event::new(
                event.name,
                at,
                self.counted(event.attributes),
                0,
            ));
        }
        let mut links = SpanLinks::default();
        let link = finished.link.clone();
        links
            .links
            .extend(link.map(|request| Link::new(request, Vec::new(), 0)));
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
            events,
            links,
            status: told.status,
            instrumentation_scope: InstrumentationScope::builder(scope).build(),
        }
    }
}

/// The span that a measurement of this belongs to, if it was sampled.
fn sampled_span(finished: &FinishedSpan) -> Option<(TraceId, SpanId)> {
    let context = &finished.context;
    let span_id = if finished.exported {
        context.span_id()
    } else {
        finished.parent.filter(|_| context.is_sampled())?.span_id
    };
    Some((context.trace_id(), span_id))
}

/// What a finished span tells: HTTP first, and on top of it what it is beyond that.
fn tell(finished: &FinishedSpan) -> Told {
    let service = &finished.service;
    match (&finished.subject, &finished.part) {
        (Subject::Exchange(exchange), Part::Http) => http::tell(exchange),
        (Subject::Exchange(exchange), Part::Model(part)) => genai::tell(exchange, part, service),
        (Subject::Exchange(exchange), Part::ToolCall(part)) => mcp::tell(exchange, part, service),
        (Subject::Exchange(exchange), Part::Delegation { target }) => {
            agent::tell_delegation(exchange, target, service)
        }
        (Subject::ConnectFailure(failure), part) => connect::tell(failure, part, service),
        (Subject::Loop(run), _) => agent::tell_loop(run, service),
        (Subject::Step(step), _) => agent::tell_step(step, service),
        (Subject::Tool(tool), _) => agent::tell_tool(tool, service),
        (Subject::BatchedCall(call), _) => mcp::tell_batched(call),
    }
}

/// Bytes of a span's name: the names of models and tools come from the traffic.
const MAX_NAME_BYTES: usize = 256;

/// Name of a span with a part that comes from the traffic.
fn name_of(prefix: &str, named: &str) -> Cow<'static, str> {
    let end = named.floor_char_boundary(2 * MAX_NAME_BYTES);
    let mut name = format!("{prefix}{}", secrets::masked_name(&named[..end]));
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    name.into()
}

/// Why it failed, if it did.
fn tell_error_type(verdict: &Verdict, attributes: &mut Attributes) {
    if let Some(error_type) = verdict.error_type() {
        attributes.said(attribute::ERROR_TYPE, error_type);
    }
}

/// Status of a span that this became of. OK is said explicitly.
fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Succeeded => Status::Ok,
        Verdict::Open => Status::Unset,
        Verdict::Failed { message, .. } => Status::error(secrets::masked(message)),
    }
}

fn wall_time(clock: WallOffset, at: Nanos) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(clock.unix_nanos(at))
}
