//! Traces as readable trees.
//!
//! - **In:** finished spans, children before parents or after.
//! - **Out:** text, a tree per trace.
//! - **Keeps:** spans of the traces that are not printed yet.
//! - **Limits:** [`MAX_WAITING_SPANS`]; beyond that the oldest trace is printed as far as it is known.
//! - **Loses:** nothing. Spans that come after their trace was printed make a tree of their own.

mod render;
mod writer;

use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use hashlink::LinkedHashMap;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

pub use render::render;

/// Spans of traces that are not printed yet: more than a screen ever shows at once.
const MAX_WAITING_SPANS: usize = 10_000;

/// A trace whose root has ended is printed when nothing was added for this long: both ends of a
/// call are told within milliseconds of each other.
const QUIET_WITH_ROOT_NANOS: u64 = 300_000_000;

/// One whose root is not known, because it is elsewhere or still runs, waits this long.
const QUIET_WITHOUT_ROOT_NANOS: u64 = 5_000_000_000;

/// One span of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSpan {
    /// Trace id in hexadecimal.
    pub trace_id: String,
    /// Span id in hexadecimal.
    pub span_id: String,
    /// Span id of the parent, empty for a root.
    pub parent_span_id: String,
    /// Trace and span id of each span that it is linked to.
    pub links: Vec<(String, String)>,
    /// `service.name`.
    pub service: String,
    /// `SERVER`, `CLIENT`, `INTERNAL`, …
    pub kind: &'static str,
    /// Name of the span.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start_nanos: u64,
    /// Nanoseconds since the Unix epoch.
    pub end_nanos: u64,
    /// How it went.
    pub status: TreeStatus,
    /// Attributes, in any order.
    pub attributes: Vec<(String, String)>,
}

/// How a span went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeStatus {
    /// Nothing is said.
    Unset,
    /// Well.
    Ok,
    /// Not well, and why.
    Error(String),
}

/// How trees look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With ANSI colours.
    pub colours: bool,
    /// What is told of each span.
    pub details: Details,
}

/// What is told of each span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Details {
    /// A line, with the attributes that matter most.
    Line,
    /// All attributes, a line each.
    All,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` says otherwise (<https://no-color.org>).
    #[must_use]
    pub fn for_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: io::stdout().is_terminal() && !no_color,
            details: Details::Line,
        }
    }
}

impl TreeSpan {
    /// From a span of a service.
    #[must_use]
    pub fn new(service: &str, span: &SpanData) -> Self {
        let has_parent = span.parent_span_id != SpanId::INVALID;
        Self {
            trace_id: span.span_context.trace_id().to_string(),
            span_id: span.span_context.span_id().to_string(),
            parent_span_id: if has_parent {
                span.parent_span_id.to_string()
            } else {
                String::new()
            },
            links: span
                .links
                .iter()
                .map(|link| &link.span_context)
                .map(|linked| (linked.trace_id().to_string(), linked.span_id().to_string()))
                .collect(),
            service: service.to_owned(),
            kind: match span.span_kind {
                SpanKind::Client => "CLIENT",
                SpanKind::Server => "SERVER",
                SpanKind::Producer => "PRODUCER",
                SpanKind::Consumer => "CONSUMER",
                SpanKind::Internal => "INTERNAL",
            },
            name: span.name.to_string(),
            start_nanos: unix_nanos(span.start_time),
            end_nanos: unix_nanos(span.end_time),
            status: match &span.status {
                Status::Unset => TreeStatus::Unset,
                Status::Ok => TreeStatus::Ok,
                Status::Error { description } => TreeStatus::Error(description.to_string()),
            },
            attributes: span
                .attributes
                .iter()
                .map(|attribute| (attribute.key.to_string(), attribute.value.to_string()))
                .collect(),
        }
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// Prints traces as they become complete.
pub struct TreePrinter<W> {
    output: W,
    style: Style,
    /// Traces that are not printed yet, in the order of their first spans.
    traces: LinkedHashMap<String, Vec<TreeSpan>>,
    waiting_spans: usize,
}

impl<W: Write> TreePrinter<W> {
    /// A printer to `output`.
    pub fn new(output: W, style: Style) -> Self {
        Self {
            output,
            style,
            traces: LinkedHashMap::new(),
            waiting_spans: 0,
        }
    }

    /// Takes a finished span.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn push(&mut self, span: TreeSpan) -> io::Result<()> {
        self.traces
            .entry(span.trace_id.clone())
            .or_insert_with(Vec::new)
            .push(span);
        self.waiting_spans += 1;
        if self.waiting_spans > MAX_WAITING_SPANS
            && let Some((_, oldest)) = self.traces.pop_front()
        {
            self.print(&oldest)?;
        }
        Ok(())
    }

    /// Prints the traces in which nothing ended for a while. `now` is in nanoseconds since the
    /// Unix epoch, by the clock of the spans.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn tick(&mut self, now: u64) -> io::Result<()> {
        let due: Vec<_> = self
            .traces
            .iter()
            .filter(|(_, spans)| is_due(spans, now))
            .map(|(trace_id, _)| trace_id.clone())
            .collect();
        for trace_id in due {
            if let Some(spans) = self.traces.remove(&trace_id) {
                self.print(&spans)?;
            }
        }
        Ok(())
    }

    /// Prints all that is left.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        while let Some((_, spans)) = self.traces.pop_front() {
            self.print(&spans)?;
        }
        Ok(())
    }

    fn print(&mut self, spans: &[TreeSpan]) -> io::Result<()> {
        self.waiting_spans -= spans.len();
        self.output
            .write_all(render(spans, self.style).as_bytes())?;
        self.output.flush()
    }
}

fn is_due(spans: &[TreeSpan], now: u64) -> bool {
    let last_end = spans.iter().map(|span| span.end_nanos).max().unwrap_or(0);
    let has_root = spans.iter().any(|span| span.parent_span_id.is_empty());
    let quiet = if has_root {
        QUIET_WITH_ROOT_NANOS
    } else {
        QUIET_WITHOUT_ROOT_NANOS
    };
    now.saturating_sub(last_end) >= quiet
}

#[cfg(test)]
mod tests;
