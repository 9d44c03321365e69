//! Runs of agents as spans, in KAOS's names and by the conventions for GenAI agents.

use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute;

use super::attributes::Attributes;
use super::{Told, ToldEvent, http, name_of, names, status, tell_error_type};
use crate::exchanges::exchange::Exchange;
use crate::exchanges::llm::Notice;
use crate::exchanges::meaning::{Operation, Reply};
use crate::identity::service::Service;
use crate::runs::span::{Loop, Step, Tool};
use crate::runs::verdict::Verdict;

/// Every KAOS span has it.
pub(super) const AGENT_NAME: &str = "agent.name";
/// Name of a tool.
pub(super) const TOOL_NAME: &str = "tool.name";
/// Name of an agent that work is given to.
const DELEGATION_TARGET: &str = "agent.delegation.target";
/// Header in which a client may name its session.
const SESSION_HEADER: &str = "x-session-id";

/// Name of the agent that a service is.
pub(super) fn agent_name(service: &Service) -> &str {
    service.agent.name.as_deref().unwrap_or(&service.name)
}

/// A run: INTERNAL, from the request to its answer.
pub(super) fn tell_loop(run: &Loop, service: &Service) -> Told {
    let exchange = &run.exchange;
    let mut attributes = Attributes::default();
    attributes.text(AGENT_NAME, agent_name(service));
    attributes.constant(names::GEN_AI_OPERATION_NAME, "invoke_agent");
    attributes.text(names::GEN_AI_AGENT_NAME, agent_name(service));
    if let Some(session) = session_of(exchange) {
        attributes.said(attribute::SESSION_ID, &session);
        attributes.said(names::GEN_AI_CONVERSATION_ID, &session);
    }
    if let Some(Operation::Model(model)) = exchange.operation.as_deref() {
        attributes.truth("stream", model.stream);
    }
    if let Some(max_steps) = service.agent.max_steps {
        attributes.number("agent.max_steps", max_steps);
    }
    tell_error_type(&run.verdict, &mut attributes);
    Told {
        name: "agent.agentic_loop".into(),
        kind: SpanKind::Internal,
        began: exchange.request.at,
        ended: exchange.ended_at,
        attributes,
        status: status(run.verdict.clone()),
        events: max_steps_reached(exchange).into_iter().collect(),
    }
}

fn session_of(exchange: &Exchange) -> Option<String> {
    let header = exchange.request.headers.get(SESSION_HEADER);
    if let Some(session) = header.and_then(|value| value.to_str().ok()) {
        return Some(session.to_owned());
    }
    match exchange.operation.as_deref()? {
        Operation::Model(model) => model.session_id.clone(),
        Operation::A2a(a2a) => a2a.context_id.clone(),
        Operation::Mcp(_) | Operation::AgentCard => None,
    }
}

fn max_steps_reached(exchange: &Exchange) -> Option<ToldEvent> {
    let notice = match exchange.reply.as_ref()? {
        Reply::Model(reply) => reply.notice.as_ref(),
        Reply::A2a(reply) => reply.notice.as_ref(),
        Reply::Mcp(_) => None,
    };
    (notice == Some(&Notice::MaxSteps)).then(|| ToldEvent {
        name: "agent.max_steps_reached",
        at: exchange.ended_at,
        attributes: Attributes::default(),
    })
}

/// A step of a run: INTERNAL. Tools that ran in the process are events.
pub(super) fn tell_step(step: &Step, service: &Service) -> Told {
    let mut attributes = Attributes::default();
    attributes.text(AGENT_NAME, agent_name(service));
    attributes.number("step", step.number);
    if let Some(max_steps) = service.agent.max_steps {
        attributes.number("max_steps", max_steps);
    }
    tell_error_type(&step.verdict, &mut attributes);
    let local_tools = step.local_tools.iter().map(|tool| {
        let mut attributes = Attributes::default();
        attributes.said(TOOL_NAME, &tool.name);
        attributes.said(names::GEN_AI_TOOL_NAME, &tool.name);
        if let Some(id) = &tool.call_id {
            attributes.said(names::GEN_AI_TOOL_CALL_ID, id);
        }
        if tool.is_error {
            attributes.constant(attribute::ERROR_TYPE, "tool_error");
        }
        ToldEvent {
            name: "tool.local",
            at: step.ended,
            attributes,
        }
    });
    Told {
        name: format!("agent.step.{}", step.number).into(),
        kind: SpanKind::Internal,
        began: step.began,
        ended: step.ended,
        attributes,
        status: status(step.verdict.clone()),
        events: local_tools.collect(),
    }
}

/// The use of a tool: CLIENT, with all that is exchanged for one call.
pub(super) fn tell_tool(tool: &Tool, service: &Service) -> Told {
    let mut attributes = Attributes::default();
    attributes.text(AGENT_NAME, agent_name(service));
    attributes.said(TOOL_NAME, &tool.name);
    attributes.constant(names::GEN_AI_OPERATION_NAME, "execute_tool");
    attributes.said(names::GEN_AI_TOOL_NAME, &tool.name);
    if let Some(id) = &tool.call_id {
        attributes.said(names::GEN_AI_TOOL_CALL_ID, id);
    }
    if let Some(server) = &tool.server {
        attributes.text(super::mcp::MCP_SERVER, server.as_str());
    }
    tell_error_type(&tool.verdict, &mut attributes);
    Told {
        name: name_of("tool.", &tool.name),
        kind: SpanKind::Client,
        began: tool.began,
        ended: tool.ended,
        attributes,
        status: status(tool.verdict.clone()),
        events: Vec::new(),
    }
}

/// Work that is given to another agent: CLIENT.
pub(super) fn tell_delegation(exchange: &Exchange, target: &str, service: &Service) -> Told {
    let mut told = http::tell_as(exchange, Verdict::of_delegation(exchange));
    tell_target(target, service, &mut told);
    told
}

/// To whom, on a span that tells HTTP or a connection that was not made.
pub(super) fn tell_target(target: &str, service: &Service, told: &mut Told) {
    told.name = name_of("delegate.", target);
    told.attributes.text(AGENT_NAME, agent_name(service));
    told.attributes.text(DELEGATION_TARGET, target);
    told.attributes
        .constant(names::GEN_AI_OPERATION_NAME, "invoke_agent");
    told.attributes.text(names::GEN_AI_AGENT_NAME, target);
}
