//! What this stage hands on: a finished exchange with its place in a trace.

use std::sync::Arc;

use opentelemetry::SpanId;
use opentelemetry::trace::SpanContext;

use crate::exchanges::exchange::{ConnectFailure, Exchange};
use crate::identity::service::Service;
use crate::time::WallOffset;

/// Something that is over, and where it stands in its trace.
#[derive(Debug, Clone)]
pub struct FinishedSpan {
    /// Whose it is.
    pub service: Arc<Service>,
    /// Its trace id, span id, flags and tracestate.
    pub context: SpanContext,
    /// Its parent; a root span has none.
    pub parent: Option<Parent>,
    /// What turns its times into wall-clock times.
    pub clock: WallOffset,
    /// It is to be exported as a span. Where not, it still counts in the metrics.
    pub exported: bool,
    /// What it tells.
    pub subject: Subject,
}

/// The parent of a span, in the same trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub span_id: SpanId,
    /// It belongs to another process.
    pub remote: bool,
}

/// What a span tells.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A request and its response: a SERVER or a CLIENT span, by the role of the request.
    Exchange(Box<Exchange>),
    /// A connection that was not made, so that there was no request: a CLIENT span.
    ConnectFailure(ConnectFailure),
}
