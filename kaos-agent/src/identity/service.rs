//! A traced service: its resource, its destination, and what it wants to be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_sdk::metrics::Temporality;
use regex::Regex;

use super::agent::AgentSettings;
use super::host::Host;

/// A traced service. Processes that agree in everything here share one.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// `service.name`.
    pub name: String,
    /// Resource attributes, `service.name` among them, sorted by key.
    pub resource: BTreeMap<String, String>,
    /// Where its spans go; `None` where it has no endpoint at all.
    pub traces: Option<Destination>,
    /// Where its metrics go.
    pub metrics: Option<Destination>,
    /// How its spans are gathered before they are sent.
    pub batching: Batching,
    /// When its metrics are sent, and in which form.
    pub metric_reading: MetricReading,
    /// Which of its traces are kept.
    pub sampler: Sampler,
    /// Characters of an attribute's value in its spans, where that is limited
    /// (`OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`).
    pub value_limit: Option<usize>,
    /// Tell HTTP requests that it serves (`OTEL_INCLUDE_HTTP_SERVER`).
    pub http_server_spans: bool,
    /// Tell HTTP requests that it makes (`OTEL_INCLUDE_HTTP_CLIENT`).
    pub http_client_spans: bool,
    /// Served URLs that match one of these, anywhere, are not told.
    pub excluded_urls: Vec<Regex>,
    /// What it is set up to do as an agent.
    pub agent: AgentSettings,
    /// What is told of it where an SDK tells of it too.
    pub beside_sdk: BesideSdk,
    /// Where the spans of an SDK in it go, as far as its environment says so.
    pub sdk_traces: SdkTraces,
    /// It was started with an SDK that exports its spans over OTLP.
    pub is_instrumented: bool,
}

/// Where the spans of an SDK go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SdkTraces {
    /// Nothing is said.
    #[default]
    Anyhow,
    /// Not over gRPC: what is sent so are metrics or logs.
    NotOverGrpc,
    /// Nowhere (`OTEL_TRACES_EXPORTER=none`): a span that its headers name is told by nobody.
    Nowhere,
}

/// What is told of a process with an OpenTelemetry SDK inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BesideSdk {
    /// What its SDK does not tell.
    #[default]
    Complement,
    /// All, as if there were none. So it is too where `OTEL_SDK_DISABLED` switches the SDK off, or
    /// `OTEL_TRACES_EXPORTER` lets it export no spans.
    Always,
    /// Nothing.
    Never,
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart, so that a new field cannot be forgotten here.
        let Self {
            name,
            resource,
            traces,
            metrics,
            batching,
            metric_reading,
            sampler,
            value_limit,
            http_server_spans,
            http_client_spans,
            excluded_urls,
            agent,
            beside_sdk,
            sdk_traces,
            is_instrumented,
        } = self;
        let patterns = |urls: &[Regex]| -> Vec<_> {
            urls.iter()
                .map(|pattern| pattern.as_str().to_owned())
                .collect()
        };
        *name == other.name
            && *resource == other.resource
            && *traces == other.traces
            && *metrics == other.metrics
            && *batching == other.batching
            && *metric_reading == other.metric_reading
            && *sampler == other.sampler
            && *value_limit == other.value_limit
            && *http_server_spans == other.http_server_spans
            && *http_client_spans == other.http_client_spans
            && *agent == other.agent
            && patterns(excluded_urls) == patterns(&other.excluded_urls)
            && *beside_sdk == other.beside_sdk
            && *sdk_traces == other.sdk_traces
            && *is_instrumented == other.is_instrumented
    }
}

/// The batch processor's settings (`OTEL_BSP_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batching {
    /// Spans that wait at most; what comes then is dropped.
    pub max_queue_size: usize,
    /// How long a span waits at most until its batch is sent.
    pub schedule_delay: Duration,
    /// Time limit of one attempt to send a batch.
    pub export_timeout: Duration,
    /// Spans in a batch; as many are sent at once without waiting.
    pub max_export_batch_size: usize,
}

impl Default for Batching {
    /// The specification's defaults.
    fn default() -> Self {
        Self {
            max_queue_size: 2048,
            schedule_delay: Duration::from_millis(5_000),
            export_timeout: Duration::from_millis(30_000),
            max_export_batch_size: 512,
        }
    }
}

/// The periodic metric reader's settings (`OTEL_METRIC_EXPORT_*`,
/// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` and `OTEL_METRICS_EXEMPLAR_FILTER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MetricReading {
    /// Time between two exports.
    pub interval: Duration,
    /// Time limit of one export.
    pub timeout: Duration,
    /// Since when a point counts.
    pub temporality: Temporality,
    /// Which measurements are told as examples (`OTEL_METRICS_EXEMPLAR_FILTER`).
    pub exemplars: ExemplarFilter,
}

/// Which measurements may be exemplars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExemplarFilter {
    /// Those of sampled traces.
    #[default]
    TraceBased,
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
}

impl Default for MetricReading {
    /// The specification's defaults.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(60_000),
            timeout: Duration::from_millis(30_000),
            temporality: Temporality::Cumulative,
            exemplars: ExemplarFilter::default(),
        }
    }
}

/// The port of OTLP over gRPC.
pub const GRPC_PORT: u16 = 4317;

impl Service {
    /// Would an exporter in the process send its spans over gRPC to this address? Which signal goes there
    /// is another question, and not all that is sent can be read.
    #[must_use]
    pub fn exports_over_grpc_to(&self, remote: SocketAddr) -> bool {
        let is_own = |destination: &Destination| {
            destination.protocol == Protocol::Grpc && destination.is_at(remote)
        };
        self.sdk_traces == SdkTraces::Anyhow
            && (remote.port() == GRPC_PORT || self.traces.as_ref().is_some_and(is_own))
    }

    /// The port of its collector, where it speaks gRPC in plain text.
    #[must_use]
    pub fn grpc_port(&self) -> Option<u16> {
        let destination = self.traces.as_ref()?;
        let is_plain = destination.endpoint.starts_with("http:");
        destination
            .port()
            .filter(|_| is_plain && destination.protocol == Protocol::Grpc)
    }
}

/// Where one signal of a service goes. Equal destinations share one connection.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// URL: for gRPC the base, for HTTP the full path of the signal.
    pub endpoint: String,
    /// The host as the process names it, where that leads elsewhere for the agent: whom the process
    /// itself connects to, and whom a certificate names.
    pub named: Option<String>,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Headers to send, in order. Secret: never printed.
    pub headers: Vec<(String, String)>,
    /// Time limit of one request.
    pub timeout: Duration,
    /// Compression of requests.
    pub compression: Option<Compression>,
    /// The certificate authorities to trust, as PEM, where those of the machine are not; or why they
    /// could not be read.
    pub certificate: Option<Result<Bytes, String>>,
}

impl Destination {
    /// Is this its address? A name can be any address's; but web servers' own ports say too little.
    fn is_at(&self, address: SocketAddr) -> bool {
        // Most addresses differ in the port, and it is asked for every send.
        if self.port() != Some(address.port()) {
            return false;
        }
        let uri = self.endpoint.parse::<http::Uri>().ok();
        let Some(host) = self
            .named
            .as_deref()
            .or_else(|| uri.as_ref().and_then(http::Uri::host))
        else {
            return false;
        };
        match Host::of(host) {
            Host::Address(ip) => ip == address.ip().to_canonical(),
            Host::Local => address.ip().to_canonical().is_loopback(),
            Host::Name(_) => !matches!(address.port(), 80 | 443),
        }
    }

    /// Its port, where the URL names one.
    fn port(&self) -> Option<u16> {
        self.endpoint.rsplit(':').next()?.parse().ok()
    }

    /// Whether it is in the pod of the process, which calls it by a name of its own.
    #[must_use]
    pub fn is_in_own_pod(&self) -> bool {
        let named = self.named.as_deref().map(Host::of);
        named.is_some_and(Host::is_loopback)
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Destination")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// Values of `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    HttpProtobuf,
    /// `http/json`
    HttpJson,
}

/// Values of `OTEL_EXPORTER_OTLP_COMPRESSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
}

/// Values of `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Sampler {
    /// `always_on`
    AlwaysOn,
    /// `always_off`
    AlwaysOff,
    /// `traceidratio`, with its argument from 0 to 1.
    TraceIdRatio(f64),
    /// `parentbased_always_on`
    #[default]
    ParentBasedAlwaysOn,
    /// `parentbased_always_off`
    ParentBasedAlwaysOff,
    /// `parentbased_traceidratio`, with its argument from 0 to 1.
    ParentBasedTraceIdRatio(f64),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exports(endpoint: &str, remote: &str) -> bool {
        exports_named(endpoint, None, remote)
    }

    fn destination(endpoint: &str, named: Option<&str>) -> Destination {
        Destination {
            endpoint: endpoint.to_owned(),
            named: named.map(str::to_owned),
            protocol: Protocol::Grpc,
            headers: Vec::new(),
            timeout: Duration::default(),
            compression: None,
            certificate: None,
        }
    }

    fn exports_named(endpoint: &str, named: Option<&str>, remote: &str) -> bool {
        let service = Service {
            traces: Some(destination(endpoint, named)),
            ..Service::default()
        };
        service.exports_over_grpc_to(remote.parse().expect("an address"))
    }

    #[test]
    fn exporters_are_recognised_by_where_they_connect_to() {
        assert!(exports("http://10.0.0.1:9000", "10.0.0.1:9000"));
        assert!(exports("http://10.0.0.1:9000", "[::ffff:10.0.0.1]:9000"));
        assert!(exports("http://[::1]:9000", "[::1]:9000"));
        assert!(exports("http://localhost:9000", "127.0.0.1:9000"));
        assert!(exports("http://collector.obs:9000", "10.0.0.7:9000"));
        assert!(exports("http://10.0.0.1:9000", "10.0.0.7:4317"));
        assert!(!exports("http://10.0.0.1:9000", "10.0.0.2:9000"));
        assert!(!exports("http://10.0.0.1:9000", "10.0.0.1:9001"));
        assert!(!exports("http://localhost:9000", "10.0.0.1:9000"));
        assert!(!exports("https://collector:443", "10.0.0.1:443"));
        assert!(!exports("http://collector", "10.0.0.1:80"));
        // In a pod it is the process's own name of it that counts.
        let own = |remote| exports_named("http://10.244.0.7:9000", Some("localhost"), remote);
        assert!(own("127.0.0.1:9000") && !own("10.244.0.7:9000"));
    }

    #[test]
    fn a_collector_beside_the_process_is_known_by_what_that_calls_it() {
        let is_in_own_pod = |named: Option<&str>| {
            let destination = destination("http://10.244.0.7:9000", named);
            destination.is_in_own_pod()
        };
        assert!(is_in_own_pod(Some("localhost")) && is_in_own_pod(Some("[::1]")));
        assert!(!is_in_own_pod(Some("collector")) && !is_in_own_pod(None));
    }

    #[test]
    fn what_sends_no_spans_over_grpc_is_no_exporter_of_them() {
        for (sdk_traces, expected) in [
            (SdkTraces::Anyhow, true),
            (SdkTraces::NotOverGrpc, false),
            (SdkTraces::Nowhere, false),
        ] {
            let service = Service {
                sdk_traces,
                ..Service::default()
            };
            let remote = "10.0.0.1:4317".parse().expect("an address");
            assert_eq!(service.exports_over_grpc_to(remote), expected);
        }
    }
}
