//! Log lines carry the ids of the span that they are written in, as `trace_id` and `span_id`
//! (OpenTelemetry, "Trace Context in non-OTLP Log Formats").

use std::fmt;

use clap::ValueEnum;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

/// How lines are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines to read.
    Text,
}

/// Writes log lines.
pub fn layer<S, W>(format: LogFormat, ansi: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(ansi)
        .with_writer(writer);
    match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            // It is the last of the list of spans.
            .with_current_span(false)
            .map_event_format(WithIds)
            .boxed(),
        LogFormat::Text => lines.map_event_format(WithIds).boxed(),
    }
}

/// A format whose lines get the ids.
struct WithIds<F>(F);

impl<S, N> FormatEvent<S, N> for WithIds<Format<Json>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(span) = current_span() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let members = line.strip_prefix('{').ok_or(fmt::Error)?;
        let (trace, span) = (span.trace_id(), span.span_id());
        write!(
            writer,
            r#"{{"trace_id":"{trace}","span_id":"{span}",{members}"#
        )
    }
}

impl<S, N> FormatEvent<S, N> for WithIds<Format<Full>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(span) = current_span() {
            let (trace, span) = (span.trace_id(), span.span_id());
            write!(writer, "trace_id={trace} span_id={span} ")?;
        }
        self.0.format_event(context, writer, event)
    }
}

fn current_span() -> Option<SpanContext> {
    let context = Context::current();
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use serde_json::Value;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `act` logs from level WARN on, without an exporter.
    fn lines(format: LogFormat, act: impl FnOnce()) -> Vec<String> {
        let written = Lines::default();
        let writer = written.clone();
        let provider = SdkTracerProvider::builder().build();
        let subscriber = tracing_subscriber::registry()
            .with(super::super::spans(provider.tracer("test")))
            .with(layer(format, false, move || writer.clone()).with_filter(LevelFilter::WARN));
        tracing::subscriber::with_default(subscriber, act);
        let bytes = written.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The ids of the current span.
    fn ids() -> (String, String) {
        let context = tracing::Span::current().context();
        let span = context.span().span_context().clone();
        (span.trace_id().to_string(), span.span_id().to_string())
    }

    #[test]
    fn json_lines_carry_the_ids_of_their_span_even_where_the_span_is_not_logged() {
        let mut expected = (String::new(), String::new());
        let lines = lines(LogFormat::Json, || {
            tracing::warn!("before");
            tracing::info_span!("reconcile").in_scope(|| {
                tracing::debug_span!("write").in_scope(|| {
                    expected = ids();
                    tracing::warn!(kind = "Service", "inside");
                });
            });
        });
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].get("trace_id"), None);
        assert_eq!(lines[1]["message"], "inside");
        assert_eq!(lines[1]["kind"], "Service");
        assert_eq!(lines[1]["trace_id"], expected.0);
        assert_eq!(lines[1]["span_id"], expected.1);
        assert_ne!(expected.0, "00000000000000000000000000000000");
    }

    #[test]
    fn lines_to_read_start_with_the_ids() {
        let mut expected = (String::new(), String::new());
        let lines = lines(LogFormat::Text, || {
            tracing::info_span!("reconcile").in_scope(|| {
                expected = ids();
                tracing::warn!("inside");
            });
            tracing::warn!("after");
        });
        let (trace, span) = expected;
        assert!(lines[0].starts_with(&format!("trace_id={trace} span_id={span} ")));
        assert!(!lines[1].contains("trace_id"), "{}", lines[1]);
    }
}
