//! What a receiver got, flat enough to assert on.

use std::collections::BTreeMap;

use kaos_agent::export::tree::{TreeSpan, TreeStatus};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span as ProtoSpan, Status};

/// Everything that arrived, in the order of its arrival.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// All spans.
    pub spans: Vec<Span>,
    /// All histogram points.
    pub points: Vec<HistogramPoint>,
    /// The trace requests as they came.
    pub trace_requests: Vec<ExportTraceServiceRequest>,
    /// Requests that were refused because the receiver was told to.
    pub refused: usize,
}

/// A span with its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    /// All attributes of its resource.
    pub resource: Attributes,
    /// Name of its instrumentation scope.
    pub scope: String,
    /// Trace id in lower-case hex.
    pub trace_id: String,
    /// Span id in lower-case hex.
    pub span_id: String,
    /// Parent's span id in lower-case hex; empty for a root.
    pub parent_id: String,
    /// Trace id and span id of each span that it is linked to, in lower-case hex.
    pub links: Vec<(String, String)>,
    /// Name.
    pub name: String,
    /// `SERVER`, `CLIENT`, `INTERNAL`, …
    pub kind: &'static str,
    /// Start, nanoseconds since the Unix epoch.
    pub start: u64,
    /// End, nanoseconds since the Unix epoch.
    pub end: u64,
    /// `UNSET`, `OK` or `ERROR`.
    pub status: &'static str,
    /// What the status says beside its code.
    pub message: String,
    /// Attributes.
    pub attributes: Attributes,
}

impl Span {
    /// Value of an attribute, or an empty string.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The same for the tree that the agent prints.
    #[must_use]
    pub fn to_tree_span(&self) -> TreeSpan {
        TreeSpan {
            trace_id: self.trace_id.clone(),
            span_id: self.span_id.clone(),
            parent_span_id: self.parent_id.clone(),
            links: self.links.clone(),
            service: self.service.clone(),
            kind: self.kind,
            name: self.name.clone(),
            start_nanos: self.start,
            end_nanos: self.end,
            status: match self.status {
                "OK" => TreeStatus::Ok,
                "ERROR" => TreeStatus::Error(self.message.clone()),
                _ => TreeStatus::Unset,
            },
            attributes: self.attributes.clone().into_iter().collect(),
        }
    }
}

/// A point of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramPoint {
    /// `service.name` of its resource.
    pub service: String,
    /// Name of the instrument.
    pub name: String,
    /// Attributes.
    pub attributes: Attributes,
    /// How many values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Boundaries of the buckets.
    pub boundaries: Vec<f64>,
    /// Trace id and span id of each exemplar.
    pub exemplars: Vec<(String, String)>,
}

/// Attributes by name, with their values as text.
pub type Attributes = BTreeMap<String, String>;

impl Received {
    /// Takes a trace request in.
    pub fn add_traces(&mut self, request: ExportTraceServiceRequest) {
        for resource_spans in &request.resource_spans {
            let resource = resource_attributes(resource_spans.resource.as_ref());
            for scope_spans in &resource_spans.scope_spans {
                let scope = scope_spans.scope.as_ref();
                let scope = scope.map(|scope| scope.name.clone()).unwrap_or_default();
                for span in &scope_spans.spans {
                    self.spans.push(flat_span(span, &resource, &scope));
                }
            }
        }
        self.trace_requests.push(request);
    }

    /// Takes a metrics request in. Of what kind a metric is decides here: only histograms are kept.
    pub fn add_metrics(&mut self, request: &ExportMetricsServiceRequest) {
        for resource_metrics in &request.resource_metrics {
            let resource = resource_attributes(resource_metrics.resource.as_ref());
            let metrics = resource_metrics
                .scope_metrics
                .iter()
                .flat_map(|scope_metrics| &scope_metrics.metrics);
            for metric in metrics {
                let Some(Data::Histogram(histogram)) = &metric.data else {
                    continue;
                };
                for point in &histogram.data_points {
                    self.points.push(HistogramPoint {
                        service: service_name(&resource),
                        name: metric.name.clone(),
                        attributes: attributes(&point.attributes),
                        count: point.count,
                        sum: point.sum.unwrap_or_default(),
                        boundaries: point.explicit_bounds.clone(),
                        exemplars: point
                            .exemplars
                            .iter()
                            .map(|exemplar| (hex(&exemplar.trace_id), hex(&exemplar.span_id)))
                            .collect(),
                    });
                }
            }
        }
    }
}

fn flat_span(span: &ProtoSpan, resource: &Attributes, scope: &str) -> Span {
    Span {
        service: service_name(resource),
        resource: resource.clone(),
        scope: scope.to_owned(),
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        links: span
            .links
            .iter()
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        name: span.name.clone(),
        kind: match span.kind() {
            SpanKind::Server => "SERVER",
            SpanKind::Client => "CLIENT",
            SpanKind::Internal => "INTERNAL",
            SpanKind::Producer => "PRODUCER",
            SpanKind::Consumer => "CONSUMER",
            SpanKind::Unspecified => "UNSPECIFIED",
        },
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        status: match span.status.as_ref().map(Status::code) {
            Some(StatusCode::Ok) => "OK",
            Some(StatusCode::Error) => "ERROR",
            Some(StatusCode::Unset) | None => "UNSET",
        },
        message: span
            .status
            .as_ref()
            .map(|status| status.message.clone())
            .unwrap_or_default(),
        attributes: attributes(&span.attributes),
    }
}

fn resource_attributes(resource: Option<&Resource>) -> Attributes {
    resource
        .map(|resource| attributes(&resource.attributes))
        .unwrap_or_default()
}

fn service_name(resource: &Attributes) -> String {
    resource.get("service.name").cloned().unwrap_or_default()
}

fn attributes(list: &[KeyValue]) -> Attributes {
    list.iter()
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref())))
        .collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::ArrayValue(array)) => {
            let items: Vec<String> = array.values.iter().map(|item| text(Some(item))).collect();
            format!("[{}]", items.join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many runs of an agent have ended.
#[must_use]
pub fn ended_runs(spans: &[Span], service: &str) -> usize {
    let is_run = |span: &&Span| span.service == service && span.name == "agent.agentic_loop";
    spans.iter().filter(is_run).count()
}

/// Spans by the trace that they belong to.
#[must_use]
pub fn by_trace(spans: Vec<Span>) -> BTreeMap<String, Vec<Span>> {
    let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    traces
}
