//! Which protocol a method of JSON-RPC belongs to.

use super::a2a::A2aKind;

/// What a request's head tells about MCP. The more it tells, the less its methods must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Nothing.
    None,
    /// Its target names a session, as that of the older transport does.
    Session,
    /// It has fields of MCP.
    Fields,
}

/// A protocol over JSON-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The Model Context Protocol.
    Mcp,
    /// The Agent2Agent protocol, and what the method does there.
    A2a(A2aKind),
}

/// Bytes of the longest method that is known here, and some.
const MOST_METHOD: usize = 128;

/// First parts of MCP's methods (`tools/call`, `notifications/progress`, …) of all revisions from
/// 2024-11-05 to 2026-07-28.
const MCP_FAMILIES: &[&str] = &[
    "completion",
    "elicitation",
    "logging",
    "notifications",
    "prompts",
    "resources",
    "roots",
    "sampling",
    "server",
    "subscriptions",
    "tools",
];

/// Methods of MCP that are common words elsewhere, or A2A's too.
const MCP_IF_MARKED: &[&str] = &[
    "ping",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
];

/// Methods of A2A (of versions 0.2, 0.3 and 1.0) that give an agent work.
const A2A_SEND: &[&str] = &[
    "SendMessage",
    "SendStreamingMessage",
    "message/send",
    "message/stream",
    "tasks/send",
    "tasks/sendSubscribe",
];

/// Its other methods.
const A2A_OTHER: &[&str] = &[
    "CancelTask",
    "CreateTaskPushNotificationConfig",
    "DeleteTaskPushNotificationConfig",
    "GetAuthenticatedExtendedCard",
    "GetExtendedAgentCard",
    "GetTask",
    "GetTaskPushNotificationConfig",
    "ListTaskPushNotificationConfig",
    "ListTaskPushNotificationConfigs",
    "ListTasks",
    "SetTaskPushNotificationConfig",
    "SubscribeToTask",
    "agent/getAuthenticatedExtendedCard",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/pushNotification/get",
    "tasks/pushNotification/set",
    "tasks/pushNotificationConfig/delete",
    "tasks/pushNotificationConfig/get",
    "tasks/pushNotificationConfig/list",
    "tasks/pushNotificationConfig/set",
    "tasks/resubscribe",
];

/// The protocol of a method. `has_version`: its parameters propose a version of the protocol, as
/// those of MCP's `initialize` do, and those of the Language Server Protocol's do not.
pub fn protocol(method: &str, mark: Mark, has_version: bool) -> Option<Protocol> {
    if method.len() > MOST_METHOD {
        return None;
    }
    // Whoever sends the fields speaks MCP, whatever extension the method is of.
    let is_marked = mark > Mark::None;
    if mark == Mark::Fields || is_marked && MCP_IF_MARKED.contains(&method) {
        return Some(Protocol::Mcp);
    }
    if A2A_SEND.contains(&method) {
        return Some(Protocol::A2a(A2aKind::Send));
    }
    if A2A_OTHER.contains(&method) {
        return Some(Protocol::A2a(A2aKind::Other));
    }
    let is_mcp = match method.split_once('/') {
        Some((family, _)) => MCP_FAMILIES.contains(&family),
        None => method == "initialize" && (is_marked || has_version),
    };
    is_mcp.then_some(Protocol::Mcp)
}

/// Whether `params.name` of this method of MCP names a tool or a prompt.
pub fn has_name(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get")
}
