//! What shows that a process is an agent, and what its calls are by themselves.

use super::call::{Kind, Outgoing, is_chat};
use super::destinations::tool_server;
use super::tracing::Tracing;
use crate::exchanges::llm::ModelRequest;
use crate::exchanges::meaning::Operation;
use crate::identity::service::Service;
use crate::runs::part::{ModelPart, Part, ToolPart};
use crate::runs::span::Subject;
use crate::runs::verdict::Verdict;

/// Does a process do more for a chat request than to pass it on to a model?
pub fn does_more(
    outgoing: &Outgoing,
    kind: &Kind,
    served: &Operation,
    before: &[Outgoing],
    tracing: &Tracing<'_>,
) -> bool {
    match kind {
        Kind::Tool { .. } | Kind::Session(_) | Kind::Delegation { .. } => true,
        Kind::OtherModel | Kind::ToolsUnreached | Kind::Plain => false,
        Kind::Model => {
            let (Some(call), Operation::Model(served)) = (outgoing.model(), served) else {
                return false;
            };
            asks_more(call, served) || before.iter().any(|call| is_answered(call, tracing))
        }
    }
}

/// A question of its own: with more messages, or with tools to choose from.
fn asks_more(call: &ModelRequest, served: &ModelRequest) -> bool {
    call.messages > served.messages || served.tools.is_empty() && !call.tools.is_empty()
}

/// A model has answered this call, so that there is no reason to ask again.
fn is_answered(outgoing: &Outgoing, tracing: &Tracing<'_>) -> bool {
    let is_model = outgoing.model().is_some_and(|model| is_chat(model.api));
    is_model
        && match tracing.traces.held(outgoing.id()) {
            Some(Subject::Exchange(exchange)) => {
                Verdict::of_model_call(exchange) == Verdict::Succeeded
            }
            _ => false,
        }
}

/// What a call is that belongs to no run.
pub fn part_alone(outgoing: &Outgoing, kind: &Kind, service: &Service, in_agent: bool) -> Part {
    match kind {
        Kind::Model | Kind::OtherModel => Part::Model(ModelPart {
            in_agent: in_agent && *kind == Kind::Model,
            resends: 0,
            configured_model: service.agent.model.clone(),
        }),
        Kind::Tool { name } => {
            let request = outgoing.request.as_deref();
            Part::ToolCall(ToolPart {
                in_agent: false,
                tool: name.clone(),
                server: request.and_then(|request| tool_server(request, &service.agent)),
                call_id: None,
            })
        }
        Kind::Delegation { target } if in_agent => Part::Delegation {
            target: target.clone().unwrap_or_else(|| outgoing.name_by_host()),
        },
        Kind::Delegation { .. } if outgoing.model().is_some() => Part::Model(ModelPart::default()),
        Kind::Delegation { .. } | Kind::Session(_) | Kind::ToolsUnreached | Kind::Plain => {
            Part::Http
        }
    }
}
