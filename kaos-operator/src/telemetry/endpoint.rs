//! Where spans go: the operator's own `OTEL_*` variables.

use std::collections::BTreeMap;

use crate::settings::{SettingsError, is_endpoint};

/// Names of a setting, the one of the signal first: it wins.
type Names = [&'static str; 2];

const ENDPOINT: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOL: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

/// Not supported: neither exporter has it. The variable of OpenSSL's works for both.
const CERTIFICATE: Names = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`.
    Http,
}

/// The `OTEL_*` variables that are not empty.
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// From the process's environment.
    pub fn of_the_process() -> Self {
        Self::new(std::env::vars())
    }

    fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = variables
            .into_iter()
            .filter(|(name, value)| name.starts_with("OTEL_") && !value.is_empty());
        Self(ours.collect())
    }

    /// Value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn first(&self, names: Names) -> Option<(&'static str, &str)> {
        names
            .into_iter()
            .find_map(|name| Some((name, self.get(name)?)))
    }

    /// How to send spans; `None` where there is no endpoint, or `OTEL_SDK_DISABLED` is true.
    /// Without a protocol it is gRPC for port 4317, as for the workloads, and HTTP otherwise, as
    /// the specification says.
    ///
    /// # Errors
    /// The endpoint is no URL, or the protocol is none that is supported.
    pub fn protocol(&self) -> Result<Option<Protocol>, SettingsError> {
        let disabled = self.get("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let Some((name, endpoint)) = self.first(ENDPOINT) else {
            return Ok(None);
        };
        let bad = |name, value: &str, expected| SettingsError::BadValue {
            name,
            value: value.to_owned(),
            expected,
        };
        if !is_endpoint(endpoint) {
            let expected = "a URL with its scheme, such as http://otel-collector.monitoring:4317";
            return Err(bad(name, endpoint, expected));
        }
        if let Some((name, file)) = self.first(CERTIFICATE) {
            return Err(bad(name, file, "unset; name the file in SSL_CERT_FILE"));
        }
        match self.first(PROTOCOL) {
            Some((_, "grpc")) => Ok(Some(Protocol::Grpc)),
            Some((_, "http/protobuf")) => Ok(Some(Protocol::Http)),
            Some((name, value)) => Err(bad(name, value, "grpc or http/protobuf")),
            None if has_grpc_port(endpoint) => Ok(Some(Protocol::Grpc)),
            None => Ok(Some(Protocol::Http)),
        }
    }

    /// Whether the endpoint is reached over TLS.
    pub fn is_secure(&self) -> bool {
        let uri = self
            .first(ENDPOINT)
            .map(|(_, uri)| uri.parse::<http::Uri>());
        uri.and_then(Result::ok)
            .is_some_and(|uri| uri.scheme_str() == Some("https"))
    }
}

fn has_grpc_port(endpoint: &str) -> bool {
    let uri = endpoint.parse::<http::Uri>();
    uri.is_ok_and(|uri| uri.port_u16() == Some(4317))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(variables: &[(&str, &str)]) -> Result<Option<Protocol>, String> {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Variables::new(owned)
            .protocol()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_protocol_follows_the_variables_then_the_port() {
        const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let (grpc, http) = (Ok(Some(Protocol::Grpc)), Ok(Some(Protocol::Http)));
        assert_eq!(protocol(&[]), Ok(None));
        assert_eq!(protocol(&[(GENERAL, "")]), Ok(None));
        assert_eq!(protocol(&[(GENERAL, "http://c:4317")]), grpc);
        assert_eq!(protocol(&[(GENERAL, "http://c:4318")]), http);
        assert_eq!(protocol(&[(TRACES, "https://c/v1/traces")]), http);
        assert_eq!(
            protocol(&[(GENERAL, "http://c:4317"), (TRACES, "http://d:80/x")]),
            http
        );
        let chosen = |name, value| protocol(&[(GENERAL, "http://c:1"), (name, value)]);
        assert_eq!(chosen("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), grpc);
        assert_eq!(chosen("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"), grpc);
        assert_eq!(chosen("OTEL_SDK_DISABLED", "true"), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        assert_eq!(
            protocol(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")]).unwrap_err(),
            "setting OTEL_EXPORTER_OTLP_ENDPOINT=\"c:4317\" is not valid; it must be a URL with its scheme, such as http://otel-collector.monitoring:4317"
        );
        assert_eq!(
            protocol(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ])
            .unwrap_err(),
            "setting OTEL_EXPORTER_OTLP_PROTOCOL=\"http/json\" is not valid; it must be grpc or http/protobuf"
        );
    }
}
