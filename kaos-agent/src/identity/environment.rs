//! Which environment variables of a process the agent reads, and which of them are secret.

/// Names, each the whole name of a variable. `*` stands for any characters, once.
const READ: &[&str] = &[
    "AGENTIC_LOOP_MAX_STEPS",
    "AGENT_NAME",
    "MCP_SERVERS",
    "MCP_SERVER_*_URL",
    "MODEL_API_URL",
    "MODEL_NAME",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_*CERTIFICATE",
    "OTEL_EXPORTER_OTLP_*COMPRESSION",
    "OTEL_EXPORTER_OTLP_*ENDPOINT",
    "OTEL_EXPORTER_OTLP_*HEADERS",
    "OTEL_EXPORTER_OTLP_*INSECURE",
    "OTEL_EXPORTER_OTLP_*PROTOCOL",
    "OTEL_EXPORTER_OTLP_*TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_INCLUDE_HTTP_CLIENT",
    "OTEL_INCLUDE_HTTP_SERVER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_PYTHON_EXCLUDED_URLS",
    "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PEER_AGENTS",
    "PEER_AGENT_*_CARD_URL",
];

/// What may stand for `*` in the names of the exporter's variables.
const SIGNALS: &[&str] = &["", "TRACES_", "METRICS_"];

/// May the agent read this variable? All others never leave `/proc/PID/environ`.
#[must_use]
pub fn is_read(name: &str) -> bool {
    READ.iter().any(|pattern| match pattern.split_once('*') {
        None => name == *pattern,
        Some((before, after)) => name
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|middle| before != "OTEL_EXPORTER_OTLP_" || SIGNALS.contains(&middle)),
    })
}

/// Is its value a secret, to be kept out of recordings, logs and messages?
#[must_use]
pub fn is_secret(name: &str) -> bool {
    name.ends_with("_HEADERS")
}

/// Of these variables those that the agent may read, sorted by name. Of two with one name the first
/// counts, as `getenv` has it.
#[must_use]
pub fn readable(variables: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut kept: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| is_read(name))
        .collect();
    kept.sort_by(|left, right| left.0.cmp(&right.0));
    kept.dedup_by(|later, first| later.0 == first.0);
    kept
}

/// The agent's own environment; what is not text cannot be a setting.
pub fn own_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_needs_and_nothing_else() {
        for name in [
            "OTEL_SERVICE_NAME",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
            "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "MCP_SERVER_CALCULATOR_URL",
            "PEER_AGENT_RESEARCHER_CARD_URL",
            "AGENT_NAME",
        ] {
            assert!(is_read(name), "{name}");
        }
        for name in [
            "",
            "PATH",
            "OPENAI_API_KEY",
            "AGENT_NAME_2",
            "LOG_LEVEL",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "otel_service_name",
            "OTEL_EXPORTER_OTLP_SECRET_HEADERS",
            "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
            "MCP_SERVER_URL",
        ] {
            assert!(!is_read(name), "{name}");
        }
    }

    #[test]
    fn headers_are_secret() {
        assert!(is_secret("OTEL_EXPORTER_OTLP_HEADERS"));
        assert!(is_secret("OTEL_EXPORTER_OTLP_METRICS_HEADERS"));
        assert!(!is_secret("OTEL_EXPORTER_OTLP_ENDPOINT"));
    }

    #[test]
    fn readable_sorts_and_keeps_the_first() {
        let given = [
            ("OTEL_SERVICE_NAME", "first"),
            ("HOME", "/root"),
            ("MODEL_NAME", "m"),
            ("OTEL_SERVICE_NAME", "second"),
        ];
        assert_eq!(
            readable(given.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            [
                ("MODEL_NAME".to_owned(), "m".to_owned()),
                ("OTEL_SERVICE_NAME".to_owned(), "first".to_owned()),
            ]
        );
    }
}
