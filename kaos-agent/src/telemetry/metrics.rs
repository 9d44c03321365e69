//! Measurements of exchanges, by the stable semantic conventions.

use std::time::Duration;

use opentelemetry_semantic_conventions::{attribute, metric};

use super::Histogram;
use super::attributes::Attributes;
use super::http::{OTHER_METHOD, known_method, tell_server};
use super::verdict::Verdict;
use crate::exchanges::exchange::{Exchange, Outcome, Role};
use crate::runs::url::RequestUrl;

/// Bucket boundaries in seconds, as the conventions give them for both.
const DURATION_BOUNDARIES: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// `http.server.request.duration`
pub static SERVER_REQUEST_DURATION: Histogram = Histogram {
    name: metric::HTTP_SERVER_REQUEST_DURATION,
    unit: "s",
    description: "Duration of HTTP server requests.",
    boundaries: DURATION_BOUNDARIES,
};

/// `http.client.request.duration`
pub static CLIENT_REQUEST_DURATION: Histogram = Histogram {
    name: metric::HTTP_CLIENT_REQUEST_DURATION,
    unit: "s",
    description: "Duration of HTTP client requests.",
    boundaries: DURATION_BOUNDARIES,
};

/// Duration of an exchange in seconds. There is none where nobody saw the end.
pub(super) fn measure(exchange: &Exchange) -> Option<(&'static Histogram, f64, Attributes)> {
    if let Outcome::Unobserved | Outcome::Unfinished = exchange.outcome {
        return None;
    }
    let request = &exchange.request;
    let nanos = exchange.ended_at.saturating_sub(request.at);
    let seconds = Duration::from_nanos(nanos).as_secs_f64();
    let mut attributes = Attributes::default();
    attributes.constant(
        attribute::HTTP_REQUEST_METHOD,
        known_method(request).unwrap_or(OTHER_METHOD),
    );
    attributes.constant(attribute::URL_SCHEME, RequestUrl::of(request).scheme);
    if let Some(response) = &exchange.response {
        attributes.number(attribute::HTTP_RESPONSE_STATUS_CODE, response.status);
    }
    if let Some(error_type) = Verdict::of(exchange).error_type() {
        attributes.text(attribute::ERROR_TYPE, error_type);
    }
    attributes.constant(
        attribute::NETWORK_PROTOCOL_VERSION,
        request.version.as_str(),
    );
    let histogram = match request.role {
        Role::Server => &SERVER_REQUEST_DURATION,
        Role::Client => {
            tell_server(request, &mut attributes);
            &CLIENT_REQUEST_DURATION
        }
    };
    Some((histogram, seconds, attributes))
}
