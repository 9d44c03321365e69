//! What the operator tells of itself: log lines, and a trace of each reconcile.
//!
//! - **In**: the spans and events of `tracing`, and the operator's own `OTEL_*` variables.
//! - **Out**: lines on stderr with the ids of their span; spans over OTLP where there is an endpoint.
//! - **Keeps**: ended spans until their batch is sent (`OTEL_BSP_MAX_QUEUE_SIZE`, 2048).
//! - **Limits**: one batch is sent at a time; at the end [`FLUSH`] is waited.
//! - **Loses**: spans that the queue has no room for or that cannot be sent; the log tells.

mod endpoint;
mod log_line;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::endpoint::{Protocol, Variables};
pub use self::log_line::LogFormat;

/// How long the spans that are left may take to be sent at the end: well within the 30 s that
/// Kubernetes gives, after the reconciles and the lease.
const FLUSH: Duration = Duration::from_secs(5);
/// Name of the service and of the instrumentation scope.
const SERVICE: &str = "kaos-operator";

/// Sends spans until it is shut down.
#[must_use = "spans are only sent at the end if it is shut down"]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Starts logging and, where the variables name an endpoint, the export of spans. Must be
    /// called inside of the Tokio runtime that the export is to use.
    ///
    /// # Errors
    /// A variable has a value that it cannot have, or logging has been started already.
    pub fn start(filter: EnvFilter, format: LogFormat, identity: &str) -> Result<Self> {
        let variables = Variables::of_the_process();
        let provider = provider(&variables, identity)?;
        let ansi = std::io::stderr().is_terminal();
        tracing_subscriber::registry()
            .with(spans(provider.tracer(SERVICE)))
            .with(log_line::layer(format, ansi, std::io::stderr).with_filter(filter))
            .try_init()
            .context("cannot start logging")?;
        Ok(Self { provider })
    }

    /// Sends what is left. That it fails is logged, since nothing else depends on it.
    pub fn shut_down(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Without an endpoint, spans get their ids all the same and go nowhere.
fn provider(variables: &Variables, identity: &str) -> Result<SdkTracerProvider> {
    let builder = SdkTracerProvider::builder().with_resource(resource(variables, identity));
    let Some(protocol) = variables.protocol()? else {
        return Ok(builder.build());
    };
    // It reads endpoint, headers, timeout and so on from the same variables.
    let exporter = match protocol {
        // Whom the machine trusts, or SSL_CERT_FILE names; over HTTP that is so by itself.
        Protocol::Grpc if variables.is_secure() => SpanExporter::builder()
            .with_tonic()
            .with_tls_config(ClientTlsConfig::new().with_enabled_roots())
            .build(),
        Protocol::Grpc => SpanExporter::builder().with_tonic().build(),
        Protocol::Http => SpanExporter::builder().with_http().build(),
    };
    let exporter = exporter.context("cannot export the operator's own spans")?;
    Ok(builder.with_batch_exporter(exporter).build())
}

fn resource(variables: &Variables, identity: &str) -> Resource {
    let builder = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", identity.to_owned()),
        ])
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    match variables.get("OTEL_SERVICE_NAME") {
        Some(name) => builder.with_service_name(name.to_owned()).build(),
        None => builder.build(),
    }
}

/// Makes OpenTelemetry spans of ours alone, whatever is logged: those of libraries say nothing of
/// a resource.
fn spans<S>(tracer: Tracer) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let ours =
        filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("kaos_operator"));
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
}
