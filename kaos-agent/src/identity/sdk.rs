//! What an environment says of the SDK in its process.

use super::service::SdkTraces;
use super::variables::Variables;

/// Only `true` switches an SDK off, as the specification has it.
pub(super) fn sdk_disabled(variables: &mut Variables<'_>) -> bool {
    variables
        .text("OTEL_SDK_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Whether its spans go to some receiver of OTLP, as those of automatic instrumentation do by default.
pub(super) fn exports_over_otlp(variables: &mut Variables<'_>) -> bool {
    let exporters = variables.text("OTEL_TRACES_EXPORTER").unwrap_or("otlp");
    exporters
        .split(',')
        .any(|name| name.trim().starts_with("otlp"))
}

/// Where the spans of the SDK go. One that the program sets up itself need not heed it: in plain text
/// it is recognised all the same.
pub(super) fn sdk_traces(variables: &mut Variables<'_>) -> SdkTraces {
    let exporters = variables.text("OTEL_TRACES_EXPORTER").unwrap_or("otlp");
    if exporters.eq_ignore_ascii_case("none") {
        return SdkTraces::Nowhere;
    }
    let protocol = variables
        .text("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|| variables.text("OTEL_EXPORTER_OTLP_PROTOCOL"));
    let is_http = protocol.is_some_and(|protocol| protocol.starts_with("http/"));
    // `otlp_proto_grpc` is one of Python's names.
    let may_be_grpc = |name: &str| match name.trim() {
        "otlp" => !is_http,
        name => name == "otlp_proto_grpc",
    };
    match exporters.split(',').any(may_be_grpc) {
        true => SdkTraces::Anyhow,
        false => SdkTraces::NotOverGrpc,
    }
}
