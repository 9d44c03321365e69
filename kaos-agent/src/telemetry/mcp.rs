//! Messages of the Model Context Protocol, by its conventions.

use super::agent::{AGENT_NAME, TOOL_NAME, agent_name};
use super::attributes::Attributes;
use super::{Told, http, name_of, names};
use crate::exchanges::exchange::{Exchange, Role};
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::mcp::{McpKind, McpRequest};
use crate::identity::service::Service;
use crate::runs::part::ToolPart;
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
        let host = http::server_name(&exchange.request);
        if let Some(server) = part.server.clone().or(host) {
            attributes.text(MCP_SERVER, server);
        }
        attributes.text(MCP_URL, http::full_url(&exchange.request));
    }
    told
}

/// What the messages of an exchange say about themselves.
pub(super) fn tell_messages(exchange: &Exchange, mcp: &McpRequest, attributes: &mut Attributes) {
    if let Some(method) = method_of(mcp) {
        attributes.text(names::MCP_METHOD_NAME, method);
    }
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
    if let [message] = mcp.messages.as_slice()
        && let Some(id) = &message.id
    {
        attributes.said(names::JSONRPC_REQUEST_ID, id);
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

/// The method of a request to a server: that of its tool call, else its first.
pub(super) fn method_of(mcp: &McpRequest) -> Option<&'static str> {
    if mcp.kind != McpKind::Messages {
        return None;
    }
    let mut methods = mcp.messages.iter().filter_map(|message| {
        let method = message.method.as_deref()?;
        KNOWN_METHODS
            .iter()
            .find(|known| **known == method)
            .copied()
    });
    let first = methods.next();
    methods.find(|method| *method == "tools/call").or(first)
}
