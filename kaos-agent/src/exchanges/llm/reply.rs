//! What a model answered.

use super::notice::Notice;
use crate::time::Nanos;

/// Names and results of tools that are kept of one message.
pub const MOST_TOOLS: usize = 128;

/// Choices whose finish reasons are kept (OpenAI allows as many).
pub const MOST_CHOICES: usize = 128;

/// Bytes of a name or an id. APIs allow 64 to 128 for names; ids are shorter.
pub const MOST_NAME: usize = 256;

/// What a model answered. Names and ids are at most [`MOST_NAME`] bytes long.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelReply {
    /// Id of the answer.
    pub id: Option<String>,
    /// The model that answered, which may be named otherwise than in the request.
    pub model: Option<String>,
    /// Why it stopped, one for each choice, in the API's own words.
    pub finish_reasons: Vec<String>,
    /// Tokens, as counted by the model's server.
    pub usage: Usage,
    /// Durations, as measured by the model's server.
    pub durations: Durations,
    /// Tools (and agents) that the model wants to be called, in order, at most [`MOST_TOOLS`].
    pub tool_calls: Vec<ToolCall>,
    /// When the first content came (text, reasoning or a tool call); `None` for one that is not
    /// streamed.
    pub first_content_at: Option<Nanos>,
    /// When the last content came.
    pub last_content_at: Option<Nanos>,
    /// Events or lines with content that came.
    pub content_pieces: u64,
    /// An `error` body or event.
    pub error: Option<ReplyError>,
    /// What the text of the answer tells, in the words of KAOS's agents.
    pub notice: Option<Notice>,
    /// It has its end: `[DONE]`, `message_stop`, `response.completed` and its likes, `"done":true`,
    /// or the end of a JSON body. Where bytes are missing, the end of the body is enough.
    pub is_ended: bool,
}

/// Tokens, as counted by the model's server. `None` where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the request, the cached ones included.
    pub input: Option<u64>,
    /// Of the answer, reasoning included.
    pub output: Option<u64>,
    /// Of the request, read from a cache.
    pub cache_read: Option<u64>,
    /// Of the request, written to a cache.
    pub cache_creation: Option<u64>,
    /// Of the answer, spent on reasoning.
    pub reasoning: Option<u64>,
}

/// Durations in nanoseconds, as measured by the model's server (Ollama's alone does).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durations {
    /// In all.
    pub total: Option<u64>,
    /// Loading the model.
    pub load: Option<u64>,
    /// Reading the request.
    pub input: Option<u64>,
    /// Answering.
    pub output: Option<u64>,
}

/// A tool or an agent that a model wants to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Its id; fenced calls have none.
    pub id: Option<String>,
    /// Name of the tool or the agent.
    pub name: String,
    /// How it was asked for.
    pub style: CallStyle,
}

/// How a model asks for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStyle {
    /// In the API's own field for tool calls.
    Native,
    /// In a fenced `tool_call` block of the text.
    FencedTool,
    /// In a fenced `delegate` block of the text.
    FencedDelegation,
}

/// An error in a body. The message is for people and holds no content, but servers are known to
/// repeat keys and URLs in it. At most [`MOST_TEXT`](crate::exchanges::json::MOST_TEXT) bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyError {
    /// `type`, else `code`, as the API says it.
    pub kind: Option<String>,
    /// `message`.
    pub message: Option<String>,
}

/// A name or an id, cut to [`MOST_NAME`].
pub(super) fn short_name(name: &str) -> String {
    name[..name.floor_char_boundary(MOST_NAME)].to_owned()
}
