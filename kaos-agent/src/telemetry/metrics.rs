//! Measurements of what is over.

use opentelemetry_semantic_conventions::attribute;

use super::agent::{AGENT_NAME, agent_name};
use super::attributes::Attributes;
use super::genai::{self, is_client, seconds};
use super::http::{OTHER_METHOD, known_method, tell_server, tell_server_at};
use super::instruments::{self, Counted, Instrument};
use super::mcp::{TOOLS_CALL, told_method};
use super::{names, tell_error_type};
use crate::exchanges::exchange::{Exchange, Outcome, Role};
use crate::exchanges::llm::ModelReply;
use crate::exchanges::meaning::Operation;
use crate::exchanges::rpc::mcp::{McpKind, McpMessage};
use crate::identity::service::Service;
use crate::runs::part::{ModelPart, Part};
use crate::runs::sessions::McpSession;
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
    let mut measured = Measured {
        service: &finished.service,
        all: Vec::new(),
    };
    match &finished.subject {
        Subject::Exchange(exchange) => {
            if is_end_seen(exchange) {
                measured.all.push(http(exchange));
                measured.part(exchange, &finished.part);
            }
        }
        Subject::ConnectFailure(failure) => {
            let verdict = Verdict::failed_with_errno(failure.errno);
            let nanos = failure.failed_at.saturating_sub(failure.at);
            match &finished.part {
                Part::Model(part) if part.in_agent => {
                    let model = part.configured_model.as_deref().unwrap_or_default();
                    let label = Some(("model", model));
                    measured.count(&instruments::MODEL_CALLS, label, &verdict, nanos);
                }
                Part::Delegation { target } => {
                    let label = Some(("target", target.as_str()));
                    measured.count(&instruments::DELEGATIONS, label, &verdict, nanos);
                }
                _ => {}
            }
        }
        Subject::Loop(run) => {
            if is_end_seen(&run.exchange) {
                let nanos = duration(&run.exchange);
                measured.count(&instruments::REQUESTS, None, &run.verdict, nanos);
            }
        }
        Subject::Tool(tool) => {
            let label = Some(("tool", tool.name.as_str()));
            let nanos = tool.ended.saturating_sub(tool.began);
            measured.count(&instruments::TOOL_CALLS, label, &tool.verdict, nanos);
        }
        // A batch is measured with its request.
        Subject::Step(_) | Subject::BatchedCall(_) => {}
    }
    measured.all
}

/// When that was over which is measured.
pub(super) fn ended_at(subject: &Subject) -> Nanos {
    match subject {
        Subject::Exchange(exchange) => exchange.ended_at,
        Subject::ConnectFailure(failure) => failure.failed_at,
        Subject::Loop(run) => run.exchange.ended_at,
        Subject::Step(step) => step.ended,
        Subject::Tool(tool) => tool.ended,
        Subject::BatchedCall(call) => call.ended(),
    }
}

/// How long a session of MCP lasted.
pub(super) fn session(session: McpSession) -> Measurement {
    let mut attributes = Attributes::default();
    // What is no date would be a value without bound.
    if let Some(version) = session.protocol_version.filter(|it| is_date(it)) {
        attributes.text(names::MCP_PROTOCOL_VERSION, version);
    }
    if let Some(error_type) = session.error_type {
        attributes.said(attribute::ERROR_TYPE, &error_type);
    }
    tell_server_at(session.server, &mut attributes);
    Measurement {
        instrument: match session.role {
            Role::Client => &instruments::MCP_CLIENT_SESSION,
            Role::Server => &instruments::MCP_SERVER_SESSION,
        },
        value: seconds(session.ended.saturating_sub(session.began)),
        attributes,
    }
}

/// As the versions of MCP are: `2025-06-18`.
fn is_date(version: &str) -> bool {
    let is_right = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    version.len() == 10 && version.bytes().enumerate().all(is_right)
}

/// What was measured so far of something.
struct Measured<'a> {
    service: &'a Service,
    all: Vec<Measurement>,
}

impl Measured<'_> {
    fn part(&mut self, exchange: &Exchange, part: &Part) {
        match part {
            Part::Model(part) => self.model_call(exchange, part),
            Part::Delegation { target } => {
                let verdict = Verdict::of_delegation(exchange);
                let label = Some(("target", target.as_str()));
                let nanos = duration(exchange);
                self.count(&instruments::DELEGATIONS, label, &verdict, nanos);
            }
            Part::ToolCall(_) | Part::Http => self.all.extend(mcp(exchange)),
        }
    }

    fn push(&mut self, instrument: &'static Instrument, value: f64, attributes: Attributes) {
        self.all.push(Measurement {
            instrument,
            value,
            attributes,
        });
    }

    /// One more, and how long it took.
    fn count(
        &mut self,
        counted: &'static Counted,
        label: Option<(&'static str, &str)>,
        verdict: &Verdict,
        nanos: Nanos,
    ) {
        let has_failed = matches!(verdict, Verdict::Failed { .. });
        let mut attributes = Attributes::default();
        attributes.text(AGENT_NAME, agent_name(self.service));
        attributes.constant("success", if has_failed { "false" } else { "true" });
        if let Some((name, value)) = label {
            attributes.said(name, value);
        }
        self.push(&counted.count, 1.0, attributes.clone());
        self.push(&counted.duration, seconds(nanos) * 1e3, attributes);
    }

    fn model_call(&mut self, exchange: &Exchange, part: &ModelPart) {
        let Some(Operation::Model(request)) = exchange.operation.as_deref() else {
            return;
        };
        let verdict = Verdict::of_model_call(exchange);
        let model = request.model.as_ref().or(part.configured_model.as_ref());
        let nanos = duration(exchange);
        if part.in_agent {
            let label = Some(("model", model.map_or("", String::as_str)));
            self.count(&instruments::MODEL_CALLS, label, &verdict, nanos);
        }
        let reply = genai::reply_of(exchange);
        let mut attributes = Attributes::default();
        let operation = genai::operation_name(request.api);
        attributes.constant(names::GEN_AI_OPERATION_NAME, operation);
        let provider = genai::provider(exchange, request.api);
        attributes.constant(names::GEN_AI_PROVIDER_NAME, provider);
        if let Some(model) = model {
            attributes.said(names::GEN_AI_REQUEST_MODEL, model);
        }
        if let Some(model) = reply.and_then(|reply| reply.model.as_ref()) {
            attributes.said(names::GEN_AI_RESPONSE_MODEL, model);
        }
        tell_server(&exchange.request, &mut attributes);
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
        let mut with_error = attributes.clone();
        tell_error_type(&verdict, &mut with_error);
        self.push(whole, seconds(nanos), with_error);
        let Some(reply) = reply else {
            return;
        };
        if let Some(time) = genai::time_to_first(exchange) {
            self.push(first, time, attributes.clone());
        }
        if let Some(time) = time_per_piece(exchange, reply) {
            self.push(next, time, attributes.clone());
        }
        if is_client(exchange) {
            for (kind, tokens) in [("input", reply.usage.input), ("output", reply.usage.output)] {
                if let Some(tokens) = tokens {
                    let mut attributes = attributes.clone();
                    attributes.constant(names::GEN_AI_TOKEN_TYPE, kind);
                    self.push(&instruments::TOKENS, as_f64(tokens), attributes);
                }
            }
        }
    }
}

fn is_end_seen(exchange: &Exchange) -> bool {
    !matches!(exchange.outcome, Outcome::Unobserved | Outcome::Unfinished)
}

fn duration(exchange: &Exchange) -> Nanos {
    exchange.ended_at.saturating_sub(exchange.request.at)
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

/// Each message of an exchange with an MCP server whose method may be told.
fn mcp(exchange: &Exchange) -> Vec<Measurement> {
    let messages = match exchange.operation.as_deref() {
        Some(Operation::Mcp(mcp)) if mcp.kind == McpKind::Messages => &mcp.messages[..],
        _ => &[],
    };
    let is_alone = messages.len() == 1;
    let measure = |message: &McpMessage| {
        let method = told_method(message)?;
        let mut attributes = Attributes::default();
        attributes.constant(names::MCP_METHOD_NAME, method);
        if method == TOOLS_CALL {
            attributes.constant(names::GEN_AI_OPERATION_NAME, "execute_tool");
            if let Some(name) = &message.name {
                attributes.said(names::GEN_AI_TOOL_NAME, name);
            }
        }
        let (verdict, ended) = if is_alone {
            (Verdict::of_tool_call(exchange), exchange.ended_at)
        } else {
            let verdict = Verdict::of_call_in_batch(exchange, message);
            (verdict, exchange.answered_at(message))
        };
        tell_error_type(&verdict, &mut attributes);
        let instrument = match exchange.request.role {
            Role::Server => &instruments::MCP_SERVER,
            Role::Client => {
                tell_server(&exchange.request, &mut attributes);
                &instruments::MCP_CLIENT
            }
        };
        Some(Measurement {
            instrument,
            value: seconds(ended.saturating_sub(exchange.request.at)),
            attributes,
        })
    };
    messages.iter().filter_map(measure).collect()
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
