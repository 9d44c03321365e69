//! Exchanges as HTTP spans, by the stable semantic conventions.

use std::borrow::Cow;

use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute;

use super::attributes::Attributes;
use super::{Told, mcp, status, tell_error_type, url};
use crate::capture::event::Endpoints;
use crate::exchanges::exchange::{Exchange, Request, Role};
use crate::exchanges::meaning::Operation;
use crate::runs::url::{RequestUrl, server_end, server_of};
use crate::runs::verdict::Verdict;

/// The methods of RFC 9110, PATCH (RFC 5789) and QUERY, which the conventions call known. A
/// method is case-sensitive.
const KNOWN_METHODS: &[&str] = &[
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// The method as it may be told: others than the known ones would be names without bound.
pub(super) fn known_method(request: &Request) -> Option<&'static str> {
    let mut known = KNOWN_METHODS.iter().copied();
    known.find(|known| *known == request.method)
}

/// `http.request.method` of a method that is not known.
pub(super) const OTHER_METHOD: &str = "_OTHER";

/// Span of an exchange. Its name is the method alone, since from outside no route is known, and a
/// path would make names without bound.
pub(super) fn tell(exchange: &Exchange) -> Told {
    let mut told = tell_as(exchange, Verdict::of(exchange));
    if let Some(Operation::Mcp(mcp)) = exchange.operation.as_deref() {
        mcp::tell_messages(exchange, mcp, &mut told.attributes);
    }
    told
}

/// The same of an exchange that this became of.
pub(super) fn tell_as(exchange: &Exchange, verdict: Verdict) -> Told {
    let request = &exchange.request;
    let mut attributes = Attributes::of_http();
    tell_request(request, &mut attributes);
    tell_ends(request, &mut attributes);
    tell_messages(exchange, &mut attributes);
    tell_error_type(&verdict, &mut attributes);
    Told {
        name: Cow::Borrowed(known_method(request).unwrap_or("HTTP")),
        kind: kind(request),
        began: request.at,
        ended: exchange.ended_at,
        attributes,
        status: status(verdict),
        events: Vec::new(),
    }
}

/// Which end of an exchange its span is.
pub(super) fn kind(request: &Request) -> SpanKind {
    match request.role {
        Role::Client => SpanKind::Client,
        Role::Server => SpanKind::Server,
    }
}

fn tell_request(request: &Request, attributes: &mut Attributes) {
    let method = known_method(request);
    attributes.constant(
        attribute::HTTP_REQUEST_METHOD,
        method.unwrap_or(OTHER_METHOD),
    );
    if method.is_none() {
        attributes.text(
            attribute::HTTP_REQUEST_METHOD_ORIGINAL,
            request.method.as_str(),
        );
    }
    let request_url = RequestUrl::of(request);
    if request.role == Role::Client {
        attributes.text(attribute::URL_FULL, full_url(request));
    }
    attributes.constant(attribute::URL_SCHEME, request_url.scheme);
    if !request_url.path.is_empty() {
        attributes.text(attribute::URL_PATH, url::path(request_url.path));
    }
    if let Some(query) = request_url.query {
        attributes.text(attribute::URL_QUERY, url::query(query));
    }
    attributes.constant(
        attribute::NETWORK_PROTOCOL_VERSION,
        request.version.as_str(),
    );
    let user_agent = request.headers.get(http::header::USER_AGENT);
    if let Some(user_agent) = user_agent.and_then(|value| value.to_str().ok())
        && request.role == Role::Server
    {
        attributes.said(attribute::USER_AGENT_ORIGINAL, user_agent);
    }
}

/// The whole URL, without secrets.
pub(super) fn full_url(request: &Request) -> String {
    let request_url = RequestUrl::of(request);
    let end = server_end(request).map(|end| end.to_string());
    url::full(&RequestUrl {
        authority: request_url.authority.or(end.as_deref()),
        ..request_url
    })
}

/// Name of the server: as the client calls it, or else the address of its end.
pub(super) fn server_name(request: &Request) -> Option<String> {
    server_of(request).map(|(address, _)| address)
}

/// Name and port of the server.
pub(super) fn tell_server(request: &Request, attributes: &mut Attributes) {
    tell_server_at(server_of(request), attributes);
}

/// The same of one whose name and port are known.
pub(super) fn tell_server_at(server: Option<(String, Option<u16>)>, attributes: &mut Attributes) {
    if let Some((address, port)) = server {
        attributes.text(attribute::SERVER_ADDRESS, address);
        if let Some(port) = port {
            attributes.number(attribute::SERVER_PORT, port);
        }
    }
}

/// The client's address is the peer's: what proxies say of those behind them is the content of
/// headers, which is not exported.
pub(super) fn tell_ends(request: &Request, attributes: &mut Attributes) {
    tell_server(request, attributes);
    match request.endpoints {
        Endpoints::Unix { .. } => attributes.constant(attribute::NETWORK_TRANSPORT, "unix"),
        Endpoints::Tcp { remote, .. } => {
            let address = remote.ip().to_string();
            if request.role == Role::Server {
                attributes.text(attribute::CLIENT_ADDRESS, address.as_str());
                attributes.number(attribute::CLIENT_PORT, remote.port());
            }
            attributes.text(attribute::NETWORK_PEER_ADDRESS, address);
            attributes.number(attribute::NETWORK_PEER_PORT, remote.port());
        }
        Endpoints::Unknown => {}
    }
}

fn tell_messages(exchange: &Exchange, attributes: &mut Attributes) {
    let body_size = |body_bytes: u64| (body_bytes > 0).then_some(body_bytes);
    if let Some(size) = body_size(exchange.request_body.wire_bytes) {
        attributes.number(attribute::HTTP_REQUEST_BODY_SIZE, size);
    }
    if let Some(response) = &exchange.response {
        attributes.number(attribute::HTTP_RESPONSE_STATUS_CODE, response.status);
        if let Some(size) = body_size(response.body.wire_bytes) {
            attributes.number(attribute::HTTP_RESPONSE_BODY_SIZE, size);
        }
    }
}
