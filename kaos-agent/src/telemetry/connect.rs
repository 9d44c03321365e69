//! Connections that were not made, as spans.

use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute;

use super::attributes::Attributes;
use super::{Told, agent, genai, status, tell_error_type};
use crate::capture::event::Endpoints;
use crate::exchanges::exchange::ConnectFailure;
use crate::identity::service::Service;
use crate::runs::part::Part;
use crate::runs::verdict::Verdict;

/// Name of such a span. There was no request, so it is no HTTP span and has no method.
const NAME: &str = "connect";

/// CLIENT span of a connection that was not made. It says where to and why not; the name by which
/// the process knows the server is not on the wire. What the call would have been is known by where
/// it would have gone to.
pub(super) fn tell(failure: &ConnectFailure, part: &Part, service: &Service) -> Told {
    let mut told = tell_connect(failure);
    match part {
        Part::Model(part) => genai::tell_unreached(part, service, &mut told),
        Part::Delegation { target } => agent::tell_target(target, service, &mut told),
        Part::Http | Part::ToolCall(_) => {}
    }
    told
}

fn tell_connect(failure: &ConnectFailure) -> Told {
    let verdict = Verdict::failed_with_errno(failure.errno);
    let mut attributes = Attributes::default();
    match failure.endpoints {
        Endpoints::Unix { .. } => attributes.constant(attribute::NETWORK_TRANSPORT, "unix"),
        Endpoints::Tcp { remote, .. } => {
            let address = remote.ip().to_string();
            attributes.text(attribute::SERVER_ADDRESS, address.as_str());
            attributes.number(attribute::SERVER_PORT, remote.port());
            attributes.constant(attribute::NETWORK_TRANSPORT, "tcp");
            attributes.text(attribute::NETWORK_PEER_ADDRESS, address);
            attributes.number(attribute::NETWORK_PEER_PORT, remote.port());
        }
        Endpoints::Unknown => {}
    }
    tell_error_type(&verdict, &mut attributes);
    Told {
        name: NAME.into(),
        kind: SpanKind::Client,
        began: failure.at,
        ended: failure.failed_at,
        attributes,
        status: status(verdict),
        events: Vec::new(),
    }
}
