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
#[path = "destination_tests.rs"]
mod tests;
