//! What one environment says about telemetry, as a whole.

use std::collections::BTreeMap;

use opentelemetry_sdk::metrics::Temporality;
use regex::{Regex, RegexBuilder};

use super::destination::{SignalKind, destination};
use super::sdk::{sdk_disabled, sdk_traces};
use super::service::{Batching, Destination, ExemplarFilter, MetricReading, Sampler, SdkTraces};
use super::variables::{Variables, pairs};
use crate::capture::event::Surroundings;

/// Spans that may wait for one destination: thirty times the default; beyond, a setting would only
/// take memory from all others on the node.
const MAX_QUEUE_SIZE: u64 = 65_536;

/// Attributes of a resource: the specification's limit for spans.
const MAX_RESOURCE_ATTRIBUTES: usize = 128;

/// Attributes that describe one process, container or pod, and so never another.
const OWN_ATTRIBUTES: &[&str] = &[
    "container.",
    "k8s.container.",
    "k8s.daemonset.",
    "k8s.namespace.",
    "k8s.pod.",
    "kaos.",
    "process.",
    "service.",
];

/// Patterns of excluded URLs, and bytes that one may take when compiled (Unicode classes take some
/// ten thousand). They bound what a hostile environment costs.
const MAX_EXCLUDED_URLS: usize = 16;
const MAX_PATTERN_BYTES: usize = 128 << 10;

/// All settings of one environment, defaults filled in.
#[derive(Debug, Clone, Default)]
pub(super) struct Configuration {
    /// `OTEL_SERVICE_NAME`, or `service.name` among the resource attributes.
    pub(super) service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) resource_attributes: BTreeMap<String, String>,
    pub(super) traces: Option<Destination>,
    pub(super) metrics: Option<Destination>,
    pub(super) batching: Batching,
    pub(super) metric_reading: MetricReading,
    pub(super) sampler: Sampler,
    pub(super) value_limit: Option<usize>,
    /// `OTEL_INCLUDE_HTTP_SERVER`
    pub(super) http_server_spans: Option<bool>,
    /// `OTEL_INCLUDE_HTTP_CLIENT`
    pub(super) http_client_spans: Option<bool>,
    pub(super) excluded_urls: Vec<Regex>,
    /// `OTEL_SDK_DISABLED`, of the process alone: the agent's own says nothing of other SDKs.
    pub(super) sdk_disabled: bool,
    /// `OTEL_TRACES_EXPORTER`, and the protocol of its exporter: of the process alone, too.
    pub(super) sdk_traces: SdkTraces,
}

impl Configuration {
    /// Reads an environment; what it leaves open is taken from `fallback`.
    ///
    /// - The settings of an exporter go together with its endpoint: headers are credentials for
    ///   *that* endpoint, so those of one environment are never sent to the endpoint of another.
    /// - The name of a service is its own, and so are [`OWN_ATTRIBUTES`]; others are inherited.
    pub(super) fn read(
        variables: &mut Variables<'_>,
        fallback: &Self,
        around: &Surroundings,
    ) -> Self {
        let own_attributes = resource_attributes(variables);
        let service_name = variables
            .text("OTEL_SERVICE_NAME")
            .map(str::to_owned)
            .or_else(|| own_attributes.get("service.name").cloned());
        let mut resource_attributes: BTreeMap<_, _> = fallback
            .resource_attributes
            .iter()
            .filter(|(key, _)| !OWN_ATTRIBUTES.iter().any(|own| key.starts_with(own)))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        resource_attributes.extend(own_attributes);
        Self {
            service_name,
            resource_attributes,
            traces: destination(variables, SignalKind::Traces, around)
                .or_else(|| fallback.traces.clone()),
            metrics: destination(variables, SignalKind::Metrics, around)
                .or_else(|| fallback.metrics.clone()),
            batching: batching(variables, &fallback.batching),
            metric_reading: metric_reading(variables, &fallback.metric_reading),
            sampler: sampler(variables).unwrap_or(fallback.sampler),
            value_limit: value_limit(variables).or(fallback.value_limit),
            http_server_spans: variables
                .boolean("OTEL_INCLUDE_HTTP_SERVER")
                .or(fallback.http_server_spans),
            http_client_spans: variables
                .boolean("OTEL_INCLUDE_HTTP_CLIENT")
                .or(fallback.http_client_spans),
            excluded_urls: excluded_urls(variables)
                .unwrap_or_else(|| fallback.excluded_urls.clone()),
            sdk_disabled: sdk_disabled(variables),
            sdk_traces: sdk_traces(variables),
        }
    }
}

/// One bad pair discards all of them, as the specification has it.
fn resource_attributes(variables: &mut Variables<'_>) -> BTreeMap<String, String> {
    const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(list) = variables.text(VARIABLE) else {
        return BTreeMap::new();
    };
    match pairs(list).collect::<Result<BTreeMap<_, _>, _>>() {
        Ok(attributes) if attributes.len() <= MAX_RESOURCE_ATTRIBUTES => attributes,
        Ok(_) => {
            variables.warn(
                VARIABLE,
                format!("more than {MAX_RESOURCE_ATTRIBUTES} attributes"),
            );
            BTreeMap::new()
        }
        Err(_) => {
            variables.warn(VARIABLE, "one of its items is not key=value");
            BTreeMap::new()
        }
    }
}

fn batching(variables: &mut Variables<'_>, fallback: &Batching) -> Batching {
    const BATCH_SIZE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    let mut size = |name: &str| {
        variables
            .number(name, 1..=MAX_QUEUE_SIZE)
            .and_then(|number| usize::try_from(number).ok())
    };
    let max_queue_size = size("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(fallback.max_queue_size);
    let asked_batch_size = size(BATCH_SIZE);
    if asked_batch_size.is_some_and(|size| size > max_queue_size) {
        variables.warn(BATCH_SIZE, "larger than the queue, whose size is taken");
    }
    Batching {
        max_queue_size,
        schedule_delay: variables
            .duration("OTEL_BSP_SCHEDULE_DELAY")
            .unwrap_or(fallback.schedule_delay),
        export_timeout: variables
            .duration("OTEL_BSP_EXPORT_TIMEOUT")
            .unwrap_or(fallback.export_timeout),
        max_export_batch_size: asked_batch_size
            .unwrap_or(fallback.max_export_batch_size)
            .min(max_queue_size),
    }
}

fn metric_reading(variables: &mut Variables<'_>, fallback: &MetricReading) -> MetricReading {
    const TEMPORALITIES: &[(&str, Temporality)] = &[
        ("cumulative", Temporality::Cumulative),
        ("delta", Temporality::Delta),
        ("lowmemory", Temporality::LowMemory),
    ];
    const FILTERS: &[(&str, ExemplarFilter)] = &[
        ("trace_based", ExemplarFilter::TraceBased),
        ("always_on", ExemplarFilter::AlwaysOn),
        ("always_off", ExemplarFilter::AlwaysOff),
    ];
    MetricReading {
        interval: variables
            .duration("OTEL_METRIC_EXPORT_INTERVAL")
            .unwrap_or(fallback.interval),
        timeout: variables
            .duration("OTEL_METRIC_EXPORT_TIMEOUT")
            .unwrap_or(fallback.timeout),
        temporality: variables
            .word(
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                TEMPORALITIES,
            )
            .unwrap_or(fallback.temporality),
        exemplars: variables
            .word("OTEL_METRICS_EXEMPLAR_FILTER", FILTERS)
            .unwrap_or(fallback.exemplars),
    }
}

/// That of spans goes before that of all signals.
fn value_limit(variables: &mut Variables<'_>) -> Option<usize> {
    const NAMES: [&str; 2] = [
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ];
    let limits = NAMES.map(|name| variables.number(name, 0..=u64::from(u32::MAX)));
    let limit = limits.into_iter().flatten().next()?;
    usize::try_from(limit).ok()
}

fn sampler(variables: &mut Variables<'_>) -> Option<Sampler> {
    type FromRatio = fn(f64) -> Sampler;
    const SAMPLERS: &[(&str, FromRatio)] = &[
        ("always_on", |_| Sampler::AlwaysOn),
        ("always_off", |_| Sampler::AlwaysOff),
        ("traceidratio", Sampler::TraceIdRatio),
        ("parentbased_always_on", |_| Sampler::ParentBasedAlwaysOn),
        ("parentbased_always_off", |_| Sampler::ParentBasedAlwaysOff),
        ("parentbased_traceidratio", Sampler::ParentBasedTraceIdRatio),
    ];
    let sampler = variables.word("OTEL_TRACES_SAMPLER", SAMPLERS)?;
    Some(sampler(ratio(variables)))
}

/// Argument of the ratio samplers; 1 without one.
fn ratio(variables: &mut Variables<'_>) -> f64 {
    const VARIABLE: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(text) = variables.text(VARIABLE) else {
        return 1.0;
    };
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            variables.warn(VARIABLE, "not a number from 0 to 1");
            1.0
        }
    }
}

/// As the Python instrumentations read them: the variable of the framework replaces the general
/// one, and the list is split at every comma.
fn excluded_urls(variables: &mut Variables<'_>) -> Option<Vec<Regex>> {
    let (name, list) = [
        "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS",
        "OTEL_PYTHON_EXCLUDED_URLS",
    ]
    .into_iter()
    .find_map(|name| Some((name, variables.text(name)?)))?;
    let mut patterns = Vec::new();
    for text in list
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        if patterns.len() == MAX_EXCLUDED_URLS {
            variables.warn(
                name,
                format!("only its first {MAX_EXCLUDED_URLS} patterns hold"),
            );
            break;
        }
        match RegexBuilder::new(text)
            .size_limit(MAX_PATTERN_BYTES)
            .dfa_size_limit(MAX_PATTERN_BYTES)
            .build()
        {
            Ok(pattern) => patterns.push(pattern),
            Err(_) => variables.warn(
                name,
                "one of its patterns is too large or no regular expression; the others hold",
            ),
        }
    }
    Some(patterns)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::variables::Warning;

    fn read(values: &[(&str, &str)], fallback: &Configuration) -> (Configuration, Vec<Warning>) {
        let mut values: Vec<_> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        values.sort();
        let mut warnings = Vec::new();
        let mut variables = Variables::new(None, &values, &mut warnings);
        let around = Surroundings::default();
        let configuration = Configuration::read(&mut variables, fallback, &around);
        (configuration, warnings)
    }

    #[track_caller]
    fn good(values: &[(&str, &str)]) -> Configuration {
        let (configuration, warnings) = read(values, &Configuration::default());
        assert_eq!(warnings, []);
        configuration
    }

    fn warned(values: &[(&str, &str)]) -> Configuration {
        let (configuration, warnings) = read(values, &Configuration::default());
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        configuration
    }

    #[test]
    fn resource_attributes_are_all_or_nothing() {
        let list = |value| [("OTEL_RESOURCE_ATTRIBUTES", value)];
        let found = good(&list("service.namespace=shop,team=a%2Cb"));
        assert_eq!(found.resource_attributes["service.namespace"], "shop");
        assert_eq!(found.resource_attributes["team"], "a,b");
        for bad in ["a=1,b", "a=1,=2", "a=1,b=%ff"] {
            assert!(warned(&list(bad)).resource_attributes.is_empty(), "{bad}");
        }
        let many: Vec<_> = (0..=MAX_RESOURCE_ATTRIBUTES)
            .map(|n| format!("k{n}=v"))
            .collect();
        assert!(
            warned(&list(&many.join(",")))
                .resource_attributes
                .is_empty()
        );
    }

    #[test]
    fn the_name_beats_the_attribute() {
        let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attribute");
        assert_eq!(good(&[]).service_name, None);
        assert_eq!(
            good(&[attributes]).service_name.as_deref(),
            Some("attribute")
        );
        let both = good(&[attributes, ("OTEL_SERVICE_NAME", "name")]);
        assert_eq!(both.service_name.as_deref(), Some("name"));
        let empty = good(&[attributes, ("OTEL_SERVICE_NAME", "")]);
        assert_eq!(empty.service_name.as_deref(), Some("attribute"));
    }

    #[test]
    fn batches() {
        assert_eq!(good(&[]).batching, Batching::default());
        let all = good(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "60"),
        ]);
        let expected = Batching {
            max_queue_size: 100,
            max_export_batch_size: 10,
            schedule_delay: Duration::from_millis(50),
            export_timeout: Duration::from_millis(60),
        };
        assert_eq!(all.batching, expected);
        // A batch is never larger than the queue; nobody asked for more, so nobody is warned.
        let small = good(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]).batching;
        assert_eq!(
            (small.max_queue_size, small.max_export_batch_size),
            (100, 100)
        );
        let asked = [
            ("OTEL_BSP_MAX_QUEUE_SIZE", "9"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10"),
        ];
        assert_eq!(warned(&asked).batching.max_export_batch_size, 9);
        for bad in ["0", "-5", "1e3", "4294967296"] {
            assert_eq!(
                warned(&[("OTEL_BSP_MAX_QUEUE_SIZE", bad)]).batching,
                Batching::default()
            );
        }
    }

    #[test]
    fn metrics() {
        assert_eq!(good(&[]).metric_reading, MetricReading::default());
        let all = good(&[
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "500"),
            ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
            ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"),
        ]);
        let expected = MetricReading {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            temporality: Temporality::Delta,
            exemplars: ExemplarFilter::AlwaysOff,
        };
        assert_eq!(all.metric_reading, expected);
    }

    #[test]
    fn limits_of_values() {
        const OF_SPANS: &str = "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT";
        const OF_ALL: &str = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT";
        let limit = |variables: &[(&str, &str)]| good(variables).value_limit;
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[(OF_ALL, "100")]), Some(100));
        assert_eq!(limit(&[(OF_ALL, "100"), (OF_SPANS, "7")]), Some(7));
        assert_eq!(limit(&[(OF_SPANS, "0")]), Some(0));
    }

    #[test]
    fn samplers() {
        let sampler = |name, ratio| {
            good(&[
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", ratio),
            ])
            .sampler
        };
        assert_eq!(good(&[]).sampler, Sampler::ParentBasedAlwaysOn);
        assert_eq!(sampler("always_on", ""), Sampler::AlwaysOn);
        assert_eq!(sampler("always_off", ""), Sampler::AlwaysOff);
        assert_eq!(
            sampler("parentbased_always_off", ""),
            Sampler::ParentBasedAlwaysOff
        );
        assert_eq!(sampler("traceidratio", "0.25"), Sampler::TraceIdRatio(0.25));
        assert_eq!(
            sampler("parentbased_traceidratio", ""),
            Sampler::ParentBasedTraceIdRatio(1.0)
        );
        assert_eq!(
            warned(&[("OTEL_TRACES_SAMPLER", "xray")]).sampler,
            Sampler::default()
        );
        for bad in ["1.1", "-0.1", "NaN", "half"] {
            let values = [
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", bad),
            ];
            assert_eq!(warned(&values).sampler, Sampler::TraceIdRatio(1.0), "{bad}");
        }
    }

    #[test]
    fn excluded_urls_are_searched() {
        let excluded = |list| good(&[("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", list)]).excluded_urls;
        let patterns = excluded("/health, /ready$");
        assert_eq!(patterns.len(), 2);
        assert!(patterns[0].is_match("http://host/healthz"));
        assert!(!patterns[1].is_match("http://host/ready/now"));
        let both = good(&[
            ("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "/a"),
            ("OTEL_PYTHON_EXCLUDED_URLS", "/b,/c"),
        ]);
        assert_eq!(both.excluded_urls.len(), 1);
        assert_eq!(
            good(&[("OTEL_PYTHON_EXCLUDED_URLS", "/b,/c")])
                .excluded_urls
                .len(),
            2
        );
    }

    #[test]
    fn bad_patterns_leave_the_others() {
        let general = |list: &str| {
            warned(&[("OTEL_PYTHON_EXCLUDED_URLS", list)])
                .excluded_urls
                .len()
        };
        assert_eq!(general("/a,(,/b"), 2);
        assert_eq!(general(r"/a,(\w{1000}){1000}"), 1);
        assert_eq!(general(&vec!["/x"; 40].join(",")), MAX_EXCLUDED_URLS);
    }

    #[test]
    fn what_is_open_comes_from_the_fallback() {
        let agent = good(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://agents:4317"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=agent"),
            ("OTEL_SERVICE_NAME", "kaos-agent"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.namespace=kaos,k8s.pod.name=agent-7,deployment.environment.name=test",
            ),
            ("OTEL_TRACES_SAMPLER", "always_off"),
            ("OTEL_BSP_SCHEDULE_DELAY", "7"),
            ("OTEL_INCLUDE_HTTP_SERVER", "yes"),
            ("OTEL_PYTHON_EXCLUDED_URLS", "/health"),
        ]);
        let (silent, _) = read(&[], &agent);
        assert_eq!(silent.traces, agent.traces);
        assert_eq!(silent.service_name, None);
        let inherited: Vec<_> = silent.resource_attributes.keys().collect();
        assert_eq!(inherited, ["deployment.environment.name"]);
        assert_eq!(silent.sampler, Sampler::AlwaysOff);
        assert_eq!(silent.batching.schedule_delay, Duration::from_millis(7));
        assert_eq!(silent.http_server_spans, Some(true));
        assert_eq!(silent.excluded_urls.len(), 1);

        // Its own endpoint never gets the agent's credentials, and the agent's never its headers.
        let (own, _) = read(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://own:4317")],
            &agent,
        );
        assert!(own.traces.expect("its own").headers.is_empty());
        let (headers, _) = read(&[("OTEL_EXPORTER_OTLP_HEADERS", "x=y")], &agent);
        assert_eq!(headers.traces, agent.traces);
    }
}
