//! What a run needs to tell spans.

use std::sync::Arc;

use crate::identity::service::Service;
use crate::runs::part::Part;
use crate::runs::span::{FinishedSpan, Subject};
use crate::runs::traces::{Above, SpanKey, Traces};
use crate::time::WallOffset;

/// Where spans are made, placed and ended.
pub struct Tracing<'a> {
    /// All that are known.
    pub traces: &'a mut Traces,
    /// The wall clock now.
    pub clock: WallOffset,
    /// Those that are finished.
    pub out: &'a mut Vec<FinishedSpan>,
}

impl Tracing<'_> {
    /// Begins a span that is no exchange. It has no place yet.
    pub fn make(&mut self, service: &Arc<Service>) -> SpanKey {
        self.traces.make(Arc::clone(service), self.clock)
    }

    /// Gives a span its place.
    pub fn put(&mut self, key: impl Into<SpanKey>, above: Above) {
        self.traces.put(key, above, self.out);
    }

    /// Gives an exchange its part, and its place below another span.
    pub fn put_as(&mut self, key: impl Into<SpanKey>, part: Part, above: impl Into<SpanKey>) {
        let key = key.into();
        self.traces.set_part(key, part);
        self.put(key, Above::Span(above.into()));
    }

    /// A span is over.
    pub fn end(&mut self, key: SpanKey, subject: Subject) {
        self.traces.end(key, subject, self.out);
    }
}
