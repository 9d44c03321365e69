//! Where a signal goes: the `OTEL_EXPORTER_OTLP_*` variables.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderName, HeaderValue};

use super::host::Host;
use super::service::{Compression, Destination, GRPC_PORT, Protocol};
use super::variables::{Variables, pairs};
use crate::capture::event::Surroundings;

/// Time limit of a request unless it is set.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(10_000);

/// Headers of one destination: beyond, a setting is a mistake or hostile.
const MAX_HEADERS: usize = 64;

/// A signal that is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalKind {
    Traces,
    Metrics,
}

impl SignalKind {
    fn variable(self, what: &str) -> String {
        match self {
            Self::Traces => format!("OTEL_EXPORTER_OTLP_TRACES_{what}"),
            Self::Metrics => format!("OTEL_EXPORTER_OTLP_METRICS_{what}"),
        }
    }

    /// What is appended to a base endpoint of OTLP/HTTP.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// Where these variables send a signal: `None` without an endpoint that can be used.
///
/// A variable of the signal beats the general one. `around` is what the host's name is resolved by,
/// and has the certificates.
pub(super) fn destination(
    variables: &mut Variables<'_>,
    signal: SignalKind,
    around: &Surroundings,
) -> Option<Destination> {
    let (endpoint_variable, text, is_general) = endpoint_text(variables, signal)?;
    let protocol = specific_or_general(signal, "PROTOCOL", |name| {
        const PROTOCOLS: &[(&str, Protocol)] = &[
            ("grpc", Protocol::Grpc),
            ("http/protobuf", Protocol::HttpProtobuf),
            ("http/json", Protocol::HttpJson),
        ];
        variables.word(name, PROTOCOLS)
    });
    let insecure = specific_or_general(signal, "INSECURE", |name| variables.boolean(name));
    let (endpoint, named, protocol) = match resolve(
        text,
        protocol,
        insecure.unwrap_or(false),
        is_general.then(|| signal.path()),
        around,
    ) {
        Ok(resolved) => resolved,
        Err(problem) => {
            variables.warn(&endpoint_variable, problem);
            return None;
        }
    };
    let compression = specific_or_general(signal, "COMPRESSION", |name| {
        const COMPRESSIONS: &[(&str, Option<Compression>)] = &[
            ("none", None),
            ("gzip", Some(Compression::Gzip)),
            ("zstd", Some(Compression::Zstd)),
        ];
        variables.word(name, COMPRESSIONS)
    });
    let headers = specific_or_general(signal, "HEADERS", |name| {
        let list = variables.text(name)?;
        Some(headers(variables, name, list))
    });
    let certificate = specific_or_general(signal, "CERTIFICATE", |name| variables.text(name));
    Some(Destination {
        endpoint,
        named,
        protocol,
        headers: headers.unwrap_or_default(),
        timeout: specific_or_general(signal, "TIMEOUT", |name| variables.duration(name))
            .unwrap_or(DEFAULT_TIMEOUT),
        compression: compression.flatten(),
        certificate: certificate.map(|path| pem(path, around)),
    })
}

/// What is in a file of certificates.
fn pem(path: &str, around: &Surroundings) -> Result<Bytes, String> {
    let file = around.certificates.iter().find(|file| file.path == path);
    file.map_or_else(
        || Err("the process that names it could not be read".to_owned()),
        |file| file.pem.clone(),
    )
}

/// The endpoint as given, the name of its variable, and whether that is the general one.
fn endpoint_text<'a>(
    variables: &mut Variables<'a>,
    signal: SignalKind,
) -> Option<(String, &'a str, bool)> {
    let specific = signal.variable("ENDPOINT");
    if let Some(text) = variables.text(&specific) {
        return Some((specific, text, false));
    }
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned();
    let text = variables.text(&general)?;
    Some((general, text, true))
}

fn specific_or_general<T>(
    signal: SignalKind,
    what: &str,
    mut read: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    read(&signal.variable(what)).or_else(|| read(&format!("OTEL_EXPORTER_OTLP_{what}")))
}

/// URL to speak to, what its host was called where that is another now, and how to speak.
/// `appended` is the path that a base endpoint gets with OTLP/HTTP; an
/// endpoint of the signal itself has none and is used as it is.
fn resolve(
    text: &str,
    protocol: Option<Protocol>,
    insecure: bool,
    appended: Option<&str>,
    around: &Surroundings,
) -> Result<(String, Option<String>, Protocol), &'static str> {
    const NOT_A_URL: &str = "not a URL such as http://collector:4318";
    // Without a scheme only gRPC makes sense, where INSECURE decides; a scheme beats it.
    let has_scheme = text.contains("://");
    let url = match (has_scheme, insecure) {
        (true, _) => text.to_owned(),
        (false, true) => format!("http://{text}"),
        (false, false) => format!("https://{text}"),
    };
    let url: Uri = url.parse().map_err(|_| NOT_A_URL)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (url.scheme_str(), url.authority())
    else {
        return Err(NOT_A_URL);
    };
    if authority.as_str().contains('@') {
        return Err("a URL with a user or password; give credentials as headers");
    }
    let has_bad_port = authority.port_u16().is_none() && authority.as_str() != authority.host();
    if has_bad_port || authority.host().is_empty() {
        return Err(NOT_A_URL);
    }
    let host = authority.host();
    let within = Host::of(host).within(around)?;
    let named = within.is_some().then(|| host.to_owned());
    let authority = match (within, authority.port_u16()) {
        (None, _) => authority.to_string(),
        (Some(host), None) => host,
        (Some(host), Some(port)) => format!("{host}:{port}"),
    };
    // KAOS sets gRPC endpoints and no protocol; elsewhere too, 4317 is gRPC's port.
    let by_port = match url.port_u16() {
        Some(GRPC_PORT) => Protocol::Grpc,
        _ => Protocol::HttpProtobuf,
    };
    let protocol = protocol.unwrap_or(by_port);
    if protocol == Protocol::Grpc {
        return Ok((format!("{scheme}://{authority}"), named, protocol));
    }
    if !has_scheme {
        return Err(NOT_A_URL);
    }
    let mut path = url.path().to_owned();
    if let Some(appended) = appended {
        path = path.trim_end_matches('/').to_owned() + appended;
    }
    let query = url
        .path_and_query()
        .and_then(PathAndQuery::query)
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let endpoint = format!("{scheme}://{authority}{path}{query}");
    Ok((endpoint, named, protocol))
}

/// The headers that can be sent; of a name that comes twice the later one.
fn headers(variables: &mut Variables<'_>, variable: &str, list: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut bad = 0;
    for pair in pairs(list) {
        let Ok((name, value)) = pair else {
            bad += 1;
            continue;
        };
        let name = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err()
            || HeaderValue::from_str(&value).is_err()
        {
            bad += 1;
            continue;
        }
        headers.retain(|(earlier, _)| *earlier != name);
        headers.push((name, value));
    }
    if headers.len() > MAX_HEADERS {
        variables.warn(variable, format!("more than {MAX_HEADERS} headers"));
        return Vec::new();
    }
    if bad > 0 {
        variables.warn(
            variable,
            format!("{bad} of its items are no header; the others hold"),
        );
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::event::CertificateFile;
    use crate::identity::variables::Warning;

    fn parsed(values: &[(&str, &str)]) -> (Option<Destination>, Vec<Warning>) {
        parsed_within(&Surroundings::default(), values)
    }

    fn parsed_within(
        around: &Surroundings,
        values: &[(&str, &str)],
    ) -> (Option<Destination>, Vec<Warning>) {
        let mut values: Vec<_> = values
            .iter()
            .map(|(name, value)| (format!("OTEL_EXPORTER_OTLP_{name}"), (*value).to_owned()))
            .collect();
        values.sort();
        let mut warnings = Vec::new();
        let mut variables = Variables::new(None, &values, &mut warnings);
        let destination = destination(&mut variables, SignalKind::Traces, around);
        (destination, warnings)
    }

    #[track_caller]
    fn good(values: &[(&str, &str)]) -> Destination {
        let (destination, warnings) = parsed(values);
        assert_eq!(warnings, []);
        destination.expect("a destination")
    }

    #[test]
    fn endpoints() {
        use Protocol::{Grpc, HttpJson, HttpProtobuf};
        for (values, endpoint, protocol) in [
            (
                &[("ENDPOINT", "http://c:4318")] as &[_],
                "http://c:4318/v1/traces",
                HttpProtobuf,
            ),
            (
                &[("ENDPOINT", "http://c:4318/")],
                "http://c:4318/v1/traces",
                HttpProtobuf,
            ),
            (
                &[("ENDPOINT", "https://c/otlp/")],
                "https://c/otlp/v1/traces",
                HttpProtobuf,
            ),
            (
                &[("ENDPOINT", "https://c/otlp?x=1")],
                "https://c/otlp/v1/traces?x=1",
                HttpProtobuf,
            ),
            (
                &[("TRACES_ENDPOINT", "http://c:4318/in")],
                "http://c:4318/in",
                HttpProtobuf,
            ),
            (
                &[("TRACES_ENDPOINT", "http://c:4318")],
                "http://c:4318/",
                HttpProtobuf,
            ),
            (
                &[
                    ("TRACES_ENDPOINT", "http://t:1/x"),
                    ("ENDPOINT", "http://c:2"),
                ],
                "http://t:1/x",
                HttpProtobuf,
            ),
            (
                &[("TRACES_ENDPOINT", ""), ("ENDPOINT", "http://c:2")],
                "http://c:2/v1/traces",
                HttpProtobuf,
            ),
            (&[("ENDPOINT", "http://c:4317")], "http://c:4317", Grpc),
            (
                &[("ENDPOINT", "http://[::1]:4317/ignored")],
                "http://[::1]:4317",
                Grpc,
            ),
            (
                &[("ENDPOINT", "http://c:4317"), ("PROTOCOL", "http/protobuf")],
                "http://c:4317/v1/traces",
                HttpProtobuf,
            ),
            (
                &[("ENDPOINT", "http://c:9"), ("PROTOCOL", "grpc")],
                "http://c:9",
                Grpc,
            ),
            (
                &[("ENDPOINT", "http://c:9"), ("PROTOCOL", "HTTP/JSON")],
                "http://c:9/v1/traces",
                HttpJson,
            ),
            (
                &[
                    ("ENDPOINT", "http://c:9"),
                    ("PROTOCOL", "grpc"),
                    ("TRACES_PROTOCOL", "http/json"),
                ],
                "http://c:9/v1/traces",
                HttpJson,
            ),
            (&[("ENDPOINT", "c:4317")], "https://c:4317", Grpc),
            (
                &[("ENDPOINT", "c:4317"), ("INSECURE", "true")],
                "http://c:4317",
                Grpc,
            ),
            (
                &[
                    ("ENDPOINT", "c:4317"),
                    ("INSECURE", "true"),
                    ("TRACES_INSECURE", "false"),
                ],
                "https://c:4317",
                Grpc,
            ),
            (
                &[("ENDPOINT", "https://c:4317"), ("INSECURE", "true")],
                "https://c:4317",
                Grpc,
            ),
            (
                &[("ENDPOINT", "http://c:4317"), ("INSECURE", "false")],
                "http://c:4317",
                Grpc,
            ),
        ] {
            let found = good(values);
            assert_eq!(
                (found.endpoint.as_str(), found.protocol),
                (endpoint, protocol),
                "{values:?}"
            );
        }
    }

    #[test]
    fn hosts_are_those_that_a_pod_means() {
        let pod = Surroundings {
            addresses: Some(vec!["10.244.0.7".parse().expect("an address")]),
            search_domain: Some("team.svc.cluster.local".to_owned()),
            ..Surroundings::default()
        };
        for (endpoint, resolved, named) in [
            (
                "http://collector:4317",
                "http://collector.team.svc.cluster.local:4317",
                Some("collector"),
            ),
            (
                "https://collector/in?x=1",
                "https://collector.team.svc.cluster.local/in/v1/traces?x=1",
                Some("collector"),
            ),
            (
                "http://[::1]:4318",
                "http://10.244.0.7:4318/v1/traces",
                Some("[::1]"),
            ),
            (
                "http://collector.other:4317",
                "http://collector.other:4317",
                None,
            ),
        ] {
            let (found, warnings) = parsed_within(&pod, &[("ENDPOINT", endpoint)]);
            let found = found.expect("a destination");
            assert_eq!(
                (found.endpoint.as_str(), found.named.as_deref()),
                (resolved, named),
                "{endpoint}"
            );
            assert_eq!(warnings, []);
        }
        let nowhere = Surroundings {
            addresses: Some(Vec::new()),
            ..pod
        };
        let values = [("ENDPOINT", "http://localhost:4317")];
        let (found, warnings) = parsed_within(&nowhere, &values);
        assert_eq!((found, warnings.len()), (None, 1));
        assert!(warnings[0].to_string().contains("by a Service"));
    }

    #[test]
    fn no_endpoint_no_destination() {
        assert_eq!(parsed(&[]), (None, vec![]));
        assert_eq!(
            parsed(&[("PROTOCOL", "grpc"), ("HEADERS", "a=b")]),
            (None, vec![])
        );
        assert_eq!(
            parsed(&[("METRICS_ENDPOINT", "http://c:1")]),
            (None, vec![])
        );
    }

    #[test]
    fn bad_endpoints_are_warned_about() {
        for bad in [
            "c:4318",
            "ftp://c",
            "http://",
            "/v1",
            "http://c:99999",
            "http://:4317",
            "::",
            "http://u:p@c:4317",
        ] {
            let (destination, warnings) = parsed(&[("ENDPOINT", bad)]);
            assert_eq!((destination, warnings.len()), (None, 1), "{bad}");
            assert!(!warnings[0].to_string().contains("u:p"));
        }
    }

    #[test]
    fn the_other_settings() {
        let plain = good(&[("ENDPOINT", "http://c:4317")]);
        assert_eq!(plain.timeout, Duration::from_secs(10));
        assert_eq!((plain.compression, plain.certificate), (None, None));
        assert!(plain.headers.is_empty());

        let full = good(&[
            ("ENDPOINT", "http://c:4317"),
            ("TIMEOUT", "2500"),
            ("COMPRESSION", "gzip"),
            ("CERTIFICATE", "/etc/ca.pem"),
            ("HEADERS", "Authorization=Basic%20eDp5,x-team=a=b"),
        ]);
        assert_eq!(full.timeout, Duration::from_millis(2500));
        assert_eq!(full.compression, Some(Compression::Gzip));
        // Nobody has read it.
        let unread = Some(Err("the process that names it could not be read".to_owned()));
        assert_eq!(full.certificate, unread);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            full.headers,
            [pair("authorization", "Basic eDp5"), pair("x-team", "a=b")]
        );

        let specific = good(&[
            ("ENDPOINT", "http://c:4317"),
            ("TIMEOUT", "2500"),
            ("TRACES_TIMEOUT", "100"),
            ("COMPRESSION", "zstd"),
            ("TRACES_COMPRESSION", "none"),
            ("HEADERS", "a=general"),
            ("TRACES_HEADERS", "b=specific"),
        ]);
        assert_eq!(specific.timeout, Duration::from_millis(100));
        assert_eq!(specific.compression, None);
        assert_eq!(specific.headers, [pair("b", "specific")]);
    }

    #[test]
    fn certificates_are_what_was_in_their_files() {
        let file = |path: &str, pem| CertificateFile {
            path: path.to_owned(),
            pem,
        };
        let around = Surroundings {
            certificates: vec![
                file("/a.pem", Ok(Bytes::from_static(b"A"))),
                file("/b.pem", Err("gone".to_owned())),
            ],
            ..Surroundings::default()
        };
        let certificate = |path: &str| {
            let values = [("ENDPOINT", "https://c:4317"), ("CERTIFICATE", path)];
            let (destination, _) = parsed_within(&around, &values);
            destination.expect("a destination").certificate
        };
        assert_eq!(certificate("/a.pem"), Some(Ok(Bytes::from_static(b"A"))));
        assert_eq!(certificate("/b.pem"), Some(Err("gone".to_owned())));
        assert_eq!(certificate(""), None);
    }

    #[test]
    fn bad_settings_leave_the_rest() {
        let (destination, warnings) = parsed(&[
            ("ENDPOINT", "http://c:4318"),
            ("PROTOCOL", "thrift"),
            ("TIMEOUT", "soon"),
            ("COMPRESSION", "snappy"),
            ("INSECURE", "perhaps"),
            ("HEADERS", "good=1,bad,x y=2,nl=a%0Ab"),
        ]);
        let destination = destination.expect("still a destination");
        assert_eq!(destination.protocol, Protocol::HttpProtobuf);
        assert_eq!(destination.headers, [("good".to_owned(), "1".to_owned())]);
        assert_eq!(warnings.len(), 5);
    }
}
