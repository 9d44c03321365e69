//! Spans of reconciles, and of the writes that they make.
//!
//! `k8s.namespace.name` and `error.type` are of the semantic conventions. These have no names for
//! objects of any kind yet: `k8s.object.*` are those of the OpenTelemetry collector's receiver of
//! Kubernetes events, and what is `kaos.*` is ours.

use kube::ResourceExt as _;
use opentelemetry::trace::Status;
use tracing::{Instrument as _, Span, debug_span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::api::Component;

/// Span of one reconcile of a resource.
pub fn reconcile<K: Component>(resource: &K) -> Span {
    info_span!(
        "reconcile",
        k8s.namespace.name = resource.namespace(),
        k8s.object.kind = %K::kind(&()),
        k8s.object.name = resource.name_any(),
        k8s.object.uid = resource.uid(),
        kaos.resource.generation = resource.meta().generation,
    )
}

/// Makes a write to the API server inside a span of its own, such as `apply Deployment`.
///
/// # Errors
/// Those of the write.
pub async fn write<T>(
    verb: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    // Of a finer level than the reconcile's, so that it does not lengthen each log line.
    let span = debug_span!(
        "write",
        otel.name = format!("{verb} {kind}"),
        otel.kind = "client",
        k8s.namespace.name = namespace,
        k8s.object.kind = kind,
        k8s.object.name = name,
    );
    let result = request.instrument(span.clone()).await;
    if let Err(error) = &result {
        fail(&span, error, error.to_string());
    }
    result
}

/// Marks a span as failed; `error.type` is the API server's status code where there is one.
pub fn fail(span: &Span, error: &kube::Error, description: String) {
    let error_type = match error {
        kube::Error::Api(status) => status.code.to_string(),
        // The semantic conventions' value for what has no identifier of low cardinality.
        _ => "_OTHER".to_owned(),
    };
    span.set_attribute("error.type", error_type);
    span.set_status(Status::error(description));
}
