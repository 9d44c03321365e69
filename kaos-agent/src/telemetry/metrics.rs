//! Measurements of what is over.

use opentelemetry_semantic_conventions::attribute;

use super::agent::{AGENT_NAME, agent_name};
use super::attributes::Attributes;
use super::genai::{self, is_client, seconds};
use super::http::{OTHER_METHOD, known_method, tell_server};
use super::instruments::{self, Counted, Instrument};
use super::mcp::method_of;
use super::names;
use crate::exchanges::exchange::{Exchange, Outcome, Role};
use crate::exchanges::llm::ModelReply;
use crate::exchanges::meaning::Operation;
use crate::identity::service::Service;
use crate::runs::part::{ModelPart, Part};
use crate::runs::span::{FinishedSpan, Subject};
use crate::runs::url::RequestUrl;
use crate::runs::verdict::Verdict;
use crate::time::Nanos;

/// One value for an instrument.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) instrument: &'static Instrument,
    pub(super) value: f64,
    pub(super) attributes: Attributes,
}

/// What is measured of it. There is nothing where nobody saw the end.
pub(super) fn measure(finished: &FinishedSpan) -> Vec<Measurement> {
    let mut all = Vec::new();
    let service = &finished.service;
    match &finished.subject {
        Subject::Exchange(exchange) => {
            if is_end_seen(exchange) {
                all.push(http(exchange));
                measure_part(exchange, &finished.part, service, &mut all);
            }
        }
        Subject::ConnectFailure(failure) => {
            let verdict = Verdict::failed_with_errno(failure.errno);
            let nanos = failure.failed_at.saturating_sub(failure.at);
            match &finished.part {
                Part::Model(part) if part.in_agent => {
                    let model = part.configured_model.as_deref();
                    let label = ("model", model.unwrap_or_default());
                    count(
                        &instruments::MODEL_CALLS,
                        Some(label),
                        service,
                        &verdict,
                        nanos,
                        &mut all,
                    );
                }
                Part::Delegation { target } => {
                    let label = ("target", target.as_str());
                    count(
                        &instruments::DELEGATIONS,
                        Some(label),
                        service,
                        &verdict,
                        nanos,
                        &mut all,
                    );
                }
                _ => {}
            }
        }
        Subject::Loop(run) => {
            if is_end_seen(&run.exchange) {
                let nanos = duration(&run.exchange);
                count(
                    &instruments::REQUESTS,
                    None,
                    service,
                    &run.verdict,
                    nanos,
                    &mut all,
                );
            }
        }
        Subject::Tool(tool) => {
            let label = ("tool", tool.name.as_str());
            let nanos = tool.ended.saturating_sub(tool.began);
            count(
                &instruments::TOOL_CALLS,
                Some(label),
                service,
                &tool.verdict,
                nanos,
                &mut all,
            );
        }
        Subject::Step(_) => {}
    }
    all
}

fn measure_part(exchange: &Exchange, part: &Part, service: &Service, all: &mut Vec<Measurement>) {
    match part {
        Part::Model(part) => measure_model_call(exchange, part, service, all),
        Part::Delegation { target } => {
            let verdict = Verdict::of_delegation(exchange);
            let label = ("target", target.as_str());
            let nanos = duration(exchange);
            count(
                &instruments::DELEGATIONS,
                Some(label),
                service,
                &verdict,
                nanos,
                all,
            );
        }
        Part::ToolCall(_) | Part::Http => all.extend(mcp(exchange)),
    }
}

fn is_end_seen(exchange: &Exchange) -> bool {
    !matches!(exchange.outcome, Outcome::Unobserved | Outcome::Unfinished)
}

fn duration(exchange: &Exchange) -> Nanos {
    exchange.ended_at.saturating_sub(exchange.request.at)
}

/// One more, and how long it took.
fn count(
    counted: &'static Counted,
    label: Option<(&'static str, &str)>,
    service: &Service,
    verdict: &Verdict,
    nanos: Nanos,
    all: &mut Vec<Measurement>,
) {
    let has_failed = matches!(verdict, Verdict::Failed { .. });
    for (instrument, value) in [
        (&counted.count, 1.0),
        (&counted.duration, seconds(nanos) * 1e3),
    ] {
        let mut attributes = Attributes::default();
        attributes.text(AGENT_NAME, agent_name(service));
        attributes.constant("success", if has_failed { "false" } else { "true" });
        if let Some((name, value)) = label {
            attributes.text(name, value);
        }
        all.push(Measurement {
            instrument,
            value,
            attributes,
        });
    }
}

fn http(exchange: &Exchange) -> Measurement {
    let request = &exchange.request;
    let mut attributes = Attributes::default();
    attributes.constant(
        attribute::HTTP_REQUEST_METHOD,
        known_method(request).unwrap_or(OTHER_METHOD),
    );
    attributes.constant(attribute::URL_SCHEME, RequestUrl::of(request).scheme);
    if let Some(response) = &exchange.response {
        attributes.number(attribute::HTTP_RESPONSE_STATUS_CODE, response.status);
    }
    tell_error_type(&Verdict::of(exchange), &mut attributes);
    attributes.constant(
        attribute::NETWORK_PROTOCOL_VERSION,
        request.version.as_str(),
    );
    let instrument = match request.role {
        Role::Server => &instruments::HTTP_SERVER,
        Role::Client => {
            tell_server(request, &mut attributes);
            &instruments::HTTP_CLIENT
        }
    };
    Measurement {
        instrument,
        value: seconds(duration(exchange)),
        attributes,
    }
}

fn mcp(exchange: &Exchange) -> Option<Measurement> {
    let Some(Operation::Mcp(mcp)) = exchange.operation.as_deref() else {
        return None;
    };
    let method = method_of(mcp)?;
    let mut attributes = Attributes::default();
    attributes.constant(names::MCP_METHOD_NAME, method);
    if method == "tools/call" {
        attributes.constant(names::GEN_AI_OPERATION_NAME, "execute_tool");
        let mut names = mcp
            .messages
            .iter()
            .filter_map(|message| message.name.as_ref());
        if let Some(name) = names.next() {
            attributes.text(names::GEN_AI_TOOL_NAME, name.as_str());
        }
    }
    tell_error_type(&Verdict::of_tool_call(exchange), &mut attributes);
    let instrument = match exchange.request.role {
        Role::Server => &instruments::MCP_SERVER,
        Role::Client => {
            tell_server(&exchange.request, &mut attributes);
            &instruments::MCP_CLIENT
        }
    };
    Some(Measurement {
        instrument,
        value: seconds(duration(exchange)),
        attributes,
    })
}

fn measure_model_call(
    exchange: &Exchange,
    part: &ModelPart,
    service: &Service,
    all: &mut Vec<Measurement>,
) {
    let Some(Operation::Model(request)) = exchange.operation.as_deref() else {
        return;
    };
    let verdict = Verdict::of_model_call(exchange);
    let model = request.model.as_ref().or(part.configured_model.as_ref());
    if part.in_agent {
        let label = ("model", model.map_or("", String::as_str));
        let nanos = duration(exchange);
        count(
            &instruments::MODEL_CALLS,
            Some(label),
            service,
            &verdict,
            nanos,
            all,
        );
    }
    let reply = genai::reply_of(exchange);
    let attributes = || {
        let mut attributes = Attributes::default();
        let operation = genai::operation_name(request.api);
        attributes.constant(names::GEN_AI_OPERATION_NAME, operation);
        let provider = genai::provider(exchange, request.api);
        attributes.constant(names::GEN_AI_PROVIDER_NAME, provider);
        if let Some(model) = model {
            attributes.text(names::GEN_AI_REQUEST_MODEL, model.as_str());
        }
        if let Some(model) = reply.and_then(|reply| reply.model.as_ref()) {
            attributes.text(names::GEN_AI_RESPONSE_MODEL, model.as_str());
        }
        tell_server(&exchange.request, &mut attributes);
        attributes
    };
    let mut measured = |instrument, value, attributes| {
        all.push(Measurement {
            instrument,
            value,
            attributes,
        });
    };
    let [whole, first, next] = if is_client(exchange) {
        [
            &instruments::MODEL_CLIENT,
            &instruments::FIRST_CHUNK,
            &instruments::OUTPUT_CHUNK,
        ]
    } else {
        [
            &instruments::MODEL_SERVER,
            &instruments::FIRST_TOKEN,
            &instruments::OUTPUT_TOKEN,
        ]
    };
    let mut with_error = attributes();
    tell_error_type(&verdict, &mut with_error);
    measured(whole, seconds(duration(exchange)), with_error);
    let Some(reply) = reply else {
        return;
    };
    if let Some(time) = genai::time_to_first(exchange) {
        measured(first, time, attributes());
    }
    if let Some(time) = time_per_piece(exchange, reply) {
        measured(next, time, attributes());
    }
    if is_client(exchange) {
        for (kind, tokens) in [("input", reply.usage.input), ("output", reply.usage.output)] {
            if let Some(tokens) = tokens {
                let mut attributes = attributes();
                attributes.constant(names::GEN_AI_TOKEN_TYPE, kind);
                measured(&instruments::TOKENS, as_f64(tokens), attributes);
            }
        }
    }
}

/// Seconds for each piece of a streamed answer after the first: chunks for a client, tokens, as the
/// server counts them, for a server.
fn time_per_piece(exchange: &Exchange, reply: &ModelReply) -> Option<f64> {
    let first = reply.first_content_at?;
    let last = reply.last_content_at?;
    let pieces = if is_client(exchange) {
        reply.content_pieces
    } else {
        reply.usage.output?
    };
    let after_first = pieces.checked_sub(1).filter(|pieces| *pieces > 0)?;
    Some(seconds(last.checked_sub(first)?) / as_f64(after_first))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, which no count of tokens reaches"
)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

fn tell_error_type(verdict: &Verdict, attributes: &mut Attributes) {
    if let Some(error_type) = verdict.error_type() {
        attributes.text(attribute::ERROR_TYPE, error_type);
    }
}
