//! OTLP messages: requests of spans and metrics, and what an answer says.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use serde::Serialize;
use serde_json::Value;

use crate::identity::service::Service;

/// A finished span and whose it is.
#[derive(Debug)]
pub struct ServiceSpan {
    /// Whose it is.
    pub service: Arc<Service>,
    /// The span.
    pub span: Box<SpanData>,
}

/// What the two signals differ in.
pub(super) trait ExportRequest: Message + Serialize {
    /// Path of the gRPC method.
    const GRPC_PATH: &str;
    /// Field of the answer that tells how many items were rejected, in OTLP/JSON.
    const REJECTED_FIELD: &str;
    /// How many items an answer in protobuf says were rejected.
    fn rejected(response: &[u8]) -> i64;
}

impl ExportRequest for ExportTraceServiceRequest {
    const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    const REJECTED_FIELD: &str = "rejectedSpans";

    fn rejected(response: &[u8]) -> i64 {
        ExportTraceServiceResponse::decode(response)
            .ok()
            .and_then(|response| response.partial_success)
            .map_or(0, |partial| partial.rejected_spans)
    }
}

impl ExportRequest for ExportMetricsServiceRequest {
    const GRPC_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    const REJECTED_FIELD: &str = "rejectedDataPoints";

    fn rejected(response: &[u8]) -> i64 {
        ExportMetricsServiceResponse::decode(response)
            .ok()
            .and_then(|response| response.partial_success)
            .map_or(0, |partial| partial.rejected_data_points)
    }
}

/// How many items an answer in OTLP/JSON says were rejected. 64-bit numbers are strings there, but
/// some collectors write numbers.
pub(super) fn rejected_in_json(response: &[u8], field: &str) -> i64 {
    let Ok(response) = serde_json::from_slice::<Value>(response) else {
        return 0;
    };
    match &response["partialSuccess"][field] {
        Value::String(number) => number.parse().unwrap_or(0),
        number => number.as_i64().unwrap_or(0),
    }
}

/// One request for spans of any services, grouped by service in the order in which they first
/// come; the spans of one service keep their order.
pub(super) fn of_spans(spans: Vec<ServiceSpan>) -> ExportTraceServiceRequest {
    let mut groups: Vec<(Arc<Service>, Vec<SpanData>)> = Vec::new();
    for ServiceSpan { service, span } in spans {
        // Few services share a destination, and neighbours are often of one.
        match groups
            .iter_mut()
            .rev()
            .find(|(other, _)| Arc::ptr_eq(other, &service))
        {
            Some((_, group)) => group.push(*span),
            None => groups.push((service, vec![*span])),
        }
    }
    let resource_spans = groups
        .into_iter()
        .flat_map(|(service, group)| {
            let mut grouped =
                group_spans_by_resource_and_scope(group, &ResourceAttributesWithSchema::default());
            for spans in &mut grouped {
                spans.resource = Some(resource(&service));
            }
            grouped
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

/// The request for what was measured in one service.
pub(super) fn of_metrics(
    service: &Service,
    measured: &ResourceMetrics,
) -> ExportMetricsServiceRequest {
    let mut request = ExportMetricsServiceRequest::from(measured);
    for metrics in &mut request.resource_metrics {
        metrics.resource = Some(resource(service));
    }
    request
}

/// Attributes sorted by key: a resource is always the same bytes.
fn resource(service: &Service) -> Resource {
    let attributes = service
        .resource
        .iter()
        .map(|(key, value)| KeyValue {
            key: key.clone(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(value.clone())),
            }),
            ..KeyValue::default()
        })
        .collect();
    Resource {
        attributes,
        ..Resource::default()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;
    use crate::export::testing::{named_service, span};

    #[test]
    fn spans_are_grouped_by_service_in_order() {
        let services = [named_service("a"), named_service("b")];
        let spans = [(0, "1"), (1, "2"), (0, "3"), (1, "4")].map(|(service, name)| ServiceSpan {
            service: Arc::clone(&services[service]),
            span: Box::new(span(name)),
        });
        let request = of_spans(Vec::from(spans));
        let found: Vec<_> = request
            .resource_spans
            .iter()
            .map(|group| {
                let names = group.scope_spans[0]
                    .spans
                    .iter()
                    .map(|span| span.name.as_str());
                let resource = group.resource.as_ref().expect("always there");
                let value = resource.attributes[0].value.clone();
                (value.and_then(|it| it.value), names.collect::<Vec<_>>())
            })
            .collect();
        let name = |name: &str| Some(any_value::Value::StringValue(name.to_owned()));
        assert_eq!(
            found,
            [(name("a"), vec!["1", "3"]), (name("b"), vec!["2", "4"])]
        );
    }

    #[test]
    fn answers_tell_what_was_rejected() {
        let response = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 3,
                error_message: String::new(),
            }),
        };
        assert_eq!(
            ExportTraceServiceRequest::rejected(&response.encode_to_vec()),
            3
        );
        assert_eq!(ExportTraceServiceRequest::rejected(b""), 0);
        assert_eq!(ExportTraceServiceRequest::rejected(b"\xff\xff"), 0);
        for (text, expected) in [
            (r#"{"partialSuccess":{"rejectedSpans":"3"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedSpans":3}}"#, 3),
            (r#"{"partialSuccess":{}}"#, 0),
            ("{}", 0),
            ("", 0),
            ("no json", 0),
        ] {
            assert_eq!(
                rejected_in_json(text.as_bytes(), "rejectedSpans"),
                expected,
                "{text}"
            );
        }
    }
}
