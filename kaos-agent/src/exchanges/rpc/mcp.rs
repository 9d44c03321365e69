//! The Model Context Protocol: streamable HTTP of all revisions, and the older HTTP with SSE.

use crate::time::Nanos;

/// Messages of one HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpRequest {
    /// What the HTTP request is in the life of a session.
    pub kind: McpKind,
    /// The session that it names (`mcp-session-id`, or `session_id` of the older transport).
    pub session_id: Option<String>,
    /// `mcp-protocol-version`, or what `initialize` proposes.
    pub protocol_version: Option<String>,
    /// Its messages, in order: one, or those of a batch. At most [`MOST_MESSAGES`].
    pub messages: Vec<McpMessage>,
}

/// Messages that are kept of one batch.
pub const MOST_MESSAGES: usize = 64;

/// What an HTTP request is in the life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McpKind {
    /// POST: messages to the server.
    Messages,
    /// GET: the stream of the server's own messages, or of all its replies in the older transport.
    Stream,
    /// DELETE: the session ends.
    End,
}

/// A message to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpMessage {
    /// Its method; a response to a request of the server has none.
    pub method: Option<String>,
    /// Its id as text, at most 256 bytes; a notification has none. The number 1 and the text `1`
    /// look alike.
    pub id: Option<String>,
    /// Name of the tool or the prompt (`params.name`).
    pub name: Option<String>,
    /// `params._meta.traceparent`, as sent.
    pub traceparent: Option<String>,
    /// `params._meta.tracestate`, as sent.
    pub tracestate: Option<String>,
}

impl McpMessage {
    /// It calls a tool.
    #[must_use]
    pub fn is_tool_call(&self) -> bool {
        self.method.as_deref() == Some("tools/call")
    }
}

/// Messages of one HTTP response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McpReply {
    /// The session that it begins (`mcp-session-id`).
    pub session_id: Option<String>,
    /// The protocol version that the server chose.
    pub protocol_version: Option<String>,
    /// Results, in the order in which they came, at most [`MOST_MESSAGES`]. A message that has an
    /// id and no result here was not answered.
    pub results: Vec<McpResult>,
    /// Notifications among its messages: progress, log messages, changes.
    pub notifications: u64,
    /// Requests of the server among its messages: sampling, elicitation, roots.
    pub requests: u64,
}

impl McpReply {
    /// The answer to a message of a batch. The same id in two messages is the client's fault: both
    /// have the first answer then.
    #[must_use]
    pub fn answer_to(&self, message: &McpMessage) -> Option<&McpResult> {
        let id = message.id.as_ref()?;
        let mut results = self.results.iter();
        results.find(|result| result.id.as_ref() == Some(id))
    }
}

/// The answer to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpResult {
    /// Id of the message that it answers, as text; none in errors about what was no message.
    pub id: Option<String>,
    /// A JSON-RPC error.
    pub error: Option<super::RpcError>,
    /// `isError`: the tool failed.
    pub is_tool_error: bool,
    /// The server asks for more before it answers (`resultType` `input_required`, since
    /// 2026-07-28): the client sends the request again.
    pub needs_input: bool,
    /// When it was complete.
    pub at: Nanos,
}
