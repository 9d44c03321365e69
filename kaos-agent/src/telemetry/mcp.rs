//! Messages of the Model Context Protocol, by its conventions.

use super::agent::{AGENT_NAME, TOOL_NAME, agent_name};
use super::attributes::Attributes;
use super::{Told, http, name_of, names, status, tell_error_type};
use crate::exchanges::exchange::{Exchange, Request, Role};
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::mcp::{McpKind, McpMessage, McpRequest};
use crate::identity::service::Service;
use crate::runs::part::ToolPart;
use crate::runs::span::BatchedCall;
use crate::runs::verdict::Verdict;

/// KAOS's name for the server of a tool.
pub(super) const MCP_SERVER: &str = "mcp.server";
const MCP_URL: &str = "mcp.url";

/// The call of a tool: `mcp.tool.X` of an agent, `tools/call X` of others, either end.
pub(super) fn tell(exchange: &Exchange, part: &ToolPart, service: &Service) -> Told {
    let mut told = http::tell_as(exchange, Verdict::of_tool_call(exchange));
    told.name = if part.in_agent {
        name_of("mcp.tool.", &part.tool)
    } else {
        name_of("tools/call ", &part.tool)
    };
    let attributes = &mut told.attributes;
    if let Some(Operation::Mcp(mcp)) = exchange.operation.as_deref() {
        tell_messages(exchange, mcp, attributes);
    }
    attributes.constant(names::GEN_AI_OPERATION_NAME, "execute_tool");
    attributes.said(names::GEN_AI_TOOL_NAME, &part.tool);
    if let Some(id) = &part.call_id {
        attributes.said(names::GEN_AI_TOOL_CALL_ID, id);
    }
    if part.in_agent {
        attributes.text(AGENT_NAME, agent_name(service));
        attributes.said(TOOL_NAME, &part.tool);
    }
    if exchange.request.role == Role::Client {
        tell_its_server(&exchange.request, part.server.clone(), attributes);
    }
    told
}

/// One of the calls of tools in a batch, either end. HTTP is told by the span above it.
pub(super) fn tell_batched(call: &BatchedCall) -> Told {
    let exchange = &call.exchange;
    let request = &exchange.request;
    let mut attributes = Attributes::default();
    http::tell_ends(request, &mut attributes);
    let (mut name, mut verdict) = ("", Verdict::Open);
    if let Some((mcp, message)) = call.message() {
        name = message.name.as_deref().unwrap_or_default();
        verdict = Verdict::of_call_in_batch(exchange, message);
        attributes.constant(names::MCP_METHOD_NAME, TOOLS_CALL);
        tell_session(exchange, mcp, &mut attributes);
        tell_id(message, &mut attributes);
    }
    attributes.constant(names::GEN_AI_OPERATION_NAME, "execute_tool");
    attributes.said(names::GEN_AI_TOOL_NAME, name);
    if request.role == Role::Client {
        tell_its_server(request, call.server.clone(), &mut attributes);
    }
    tell_error_type(&verdict, &mut attributes);
    Told {
        name: name_of("tools/call ", name),
        kind: http::kind(request),
        began: request.at,
        ended: call.ended(),
        attributes,
        status: status(verdict),
        events: Vec::new(),
    }
}

/// The server of a tool: as the settings call it, or else as the client does.
fn tell_its_server(request: &Request, named: Option<String>, attributes: &mut Attributes) {
    if let Some(server) = named.or_else(|| http::server_name(request)) {
        attributes.text(MCP_SERVER, server);
    }
    attributes.text(MCP_URL, http::full_url(request));
}

/// What the messages of an exchange say about themselves.
pub(super) fn tell_messages(exchange: &Exchange, mcp: &McpRequest, attributes: &mut Attributes) {
    if let Some(method) = method_of(mcp) {
        attributes.text(names::MCP_METHOD_NAME, method);
    }
    tell_session(exchange, mcp, attributes);
    if let [message] = mcp.messages.as_slice() {
        tell_id(message, attributes);
    }
}

fn tell_id(message: &McpMessage, attributes: &mut Attributes) {
    if let Some(id) = &message.id {
        attributes.said(names::JSONRPC_REQUEST_ID, id);
    }
}

/// The session that an exchange belongs to, and its version of the protocol.
fn tell_session(exchange: &Exchange, mcp: &McpRequest, attributes: &mut Attributes) {
    let reply = match &exchange.reply {
        Some(Reply::Mcp(reply)) => Some(reply),
        _ => None,
    };
    let session_id = mcp.session_id.as_ref();
    let session_id = session_id.or_else(|| reply?.session_id.as_ref());
    if let Some(session_id) = session_id {
        attributes.said(names::MCP_SESSION_ID, session_id);
    }
    let version = reply.and_then(|reply| reply.protocol_version.as_ref());
    if let Some(version) = version.or(mcp.protocol_version.as_ref()) {
        attributes.said(names::MCP_PROTOCOL_VERSION, version);
    }
}

/// Methods of the protocol that may be told: others would be names without bound.
const KNOWN_METHODS: &[&str] = &[
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/tools/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tools/call",
    "tools/list",
];

/// The method that calls a tool.
pub(super) const TOOLS_CALL: &str = "tools/call";

/// The method of a message to a server, where it may be told.
pub(super) fn told_method(message: &McpMessage) -> Option<&'static str> {
    let method = message.method.as_deref()?;
    KNOWN_METHODS
        .iter()
        .find(|known| **known == method)
        .copied()
}

/// The method of a request to a server: that of its tool call, else its first.
fn method_of(mcp: &McpRequest) -> Option<&'static str> {
    if mcp.kind != McpKind::Messages {
        return None;
    }
    let mut methods = mcp.messages.iter().filter_map(told_method);
    let first = methods.next();
    methods.find(|method| *method == TOOLS_CALL).or(first)
}
