//! Which exchanges are told.

use http::header::CONTENT_TYPE;

use crate::exchanges::exchange::{Request, Role};
use crate::identity::service::Service;
use crate::runs::url::RequestUrl;

/// How much of an exchange is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// A span, and a measurement.
    Span,
    /// A measurement. What would be the span's children hang under its nearest told ancestor.
    Measurement,
    /// Nothing.
    Nothing,
}

impl Telling {
    /// By the settings of the service.
    #[must_use]
    pub fn of(request: &Request, service: &Service) -> Self {
        let (untold, span) = match request.role {
            Role::Client => (exports_telemetry(request), service.http_client_spans),
            Role::Server => (is_excluded(request, service), service.http_server_spans),
        };
        match (untold, span) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Span,
            (false, false) => Self::Measurement,
        }
    }

    /// Of a connection that was not made. There is nothing to measure then in HTTP's metrics, which
    /// want a method.
    #[must_use]
    pub fn of_connect_failure(service: &Service) -> Self {
        if service.http_client_spans {
            Self::Span
        } else {
            Self::Measurement
        }
    }
}

/// The request of an OTLP exporter in the process: telemetry about telemetry would have no end.
fn exports_telemetry(request: &Request) -> bool {
    exports(request, &["/v1/traces", "/v1/metrics", "/v1/logs"])
}

/// The request of an OTLP exporter of spans.
#[must_use]
pub fn exports_spans(request: &Request) -> bool {
    exports(request, &["/v1/traces"])
}

fn exports(request: &Request, paths: &[&str]) -> bool {
    let path = RequestUrl::of(request).path;
    request.method == "POST"
        && paths.iter().any(|signal| path.ends_with(signal))
        && request.headers.get(CONTENT_TYPE).is_some_and(|value| {
            let essence = value.as_bytes().split(|byte| *byte == b';').next();
            let essence = essence.unwrap_or_default().trim_ascii();
            essence.eq_ignore_ascii_case(b"application/x-protobuf")
                || essence.eq_ignore_ascii_case(b"application/json")
        })
}

/// The patterns are searched in the whole URL, as the instrumentations for Python do.
fn is_excluded(request: &Request, service: &Service) -> bool {
    !service.excluded_urls.is_empty() && {
        let url = RequestUrl::of(request).to_string();
        service
            .excluded_urls
            .iter()
            .any(|url_pattern| url_pattern.is_match(&url))
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::runs::testing::{RequestBuilder, service};

    #[test]
    fn requests_of_otlp_exporters() {
        let export = |method: &str, target: &str, content_type: &str| {
            let request = RequestBuilder::new(method, target);
            let request = request.header("content-type", content_type);
            exports_telemetry(&request.build())
        };
        assert!(export("POST", "/v1/traces", "application/x-protobuf"));
        assert!(export("POST", "/v1/metrics", "application/json"));
        assert!(export(
            "POST",
            "/v1/logs",
            "Application/JSON; charset=utf-8"
        ));
        assert!(export(
            "POST",
            "/otlp/v1/traces?key=x",
            "application/x-protobuf"
        ));
        assert!(export(
            "POST",
            "http://collector/v1/traces",
            "application/json"
        ));
        assert!(!export("GET", "/v1/traces", "application/json"));
        assert!(!export("POST", "/v1/traces", "text/plain"));
        assert!(!export("POST", "/v1/traces/1", "application/json"));
        assert!(!export("POST", "/v1/chat/completions", "application/json"));
    }

    #[test]
    fn excluded_urls_are_searched_in_the_whole_url() {
        let is_excluded = |target: &str, pattern: &str| {
            let mut service = service("s");
            service.excluded_urls = vec![Regex::new(pattern).expect("a pattern")];
            let request = RequestBuilder::get(target).header("host", "agent:8000");
            is_excluded(&request.server().build(), &service)
        };
        assert!(is_excluded("/health", "/health"));
        assert!(is_excluded("/healthz", "/health"));
        assert!(is_excluded("/a/health?x", "/health"));
        assert!(is_excluded("/health", "^http://agent:8000/health$"));
        assert!(is_excluded("/go?to=/health", "/health"));
        assert!(!is_excluded("/chat", "/health"));
        assert!(!is_excluded("/health", "^/health"));
    }

    #[test]
    fn settings_decide_what_is_told() {
        for (server_spans, client_spans, served, called) in [
            (true, true, Telling::Span, Telling::Span),
            (true, false, Telling::Span, Telling::Measurement),
            (false, true, Telling::Measurement, Telling::Span),
            (false, false, Telling::Measurement, Telling::Measurement),
        ] {
            let mut service = service("s");
            service.http_server_spans = server_spans;
            service.http_client_spans = client_spans;
            let request = RequestBuilder::get("/");
            assert_eq!(
                Telling::of(&request.clone().server().build(), &service),
                served
            );
            assert_eq!(Telling::of(&request.client().build(), &service), called);
        }
    }
}
