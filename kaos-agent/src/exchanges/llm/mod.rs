//! Calls of models: the APIs of OpenAI, Anthropic and Ollama.
//!
//! A call is recognised by its path and the shape of its body, never by a list of hosts.

use super::exchange::{Request, Response};
use super::meaning::{Operation, Reply};
use crate::protocols::part::ServerSentEvent;
use crate::time::Nanos;

/// The API that a model is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `…/chat/completions`
    OpenAiChat,
    /// `…/completions`
    OpenAiCompletions,
    /// `…/embeddings`
    OpenAiEmbeddings,
    /// `…/responses`
    OpenAiResponses,
    /// `…/v1/messages`
    AnthropicMessages,
    /// `/api/chat`
    OllamaChat,
    /// `/api/generate`
    OllamaGenerate,
    /// `/api/embed`, and the older `/api/embeddings`
    OllamaEmbed,
}

/// What a model is asked for. Everything is as the body says it; `None` where it says nothing, or
/// it was not captured.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// By which API.
    pub api: Api,
    /// `model`
    pub model: Option<String>,
    /// Whether the answer is to be streamed; by default Ollama's APIs do, the others do not.
    pub stream: bool,
    /// Sampling parameters.
    pub parameters: Parameters,
    /// Names of the tools that the model may call, at most [`MOST_TOOLS`].
    pub tools: Vec<String>,
    /// Number of messages.
    pub messages: u64,
    /// Role of the last message; `task-delegation` where an agent delegates to another.
    pub last_role: Option<String>,
    /// Results of tools among the messages after the last of the assistant, in order: what was
    /// called since the step before. At most [`MOST_TOOLS`].
    pub tool_results: Vec<ToolResult>,
    /// `session_id`, or the conversation that the request continues.
    pub session_id: Option<String>,
}

/// Names and results of tools that are kept of one message.
pub const MOST_TOOLS: usize = 128;

/// Sampling parameters of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// Most tokens of the answer.
    pub max_tokens: Option<i64>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Sampling among the most likely.
    pub top_k: Option<f64>,
    /// Frequency penalty.
    pub frequency_penalty: Option<f64>,
    /// Presence penalty.
    pub presence_penalty: Option<f64>,
    /// Seed.
    pub seed: Option<i64>,
    /// Answers asked for (`n`).
    pub choices: Option<i64>,
}

/// The result of a tool that a request carries back to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// Id of the call that it answers.
    pub call_id: Option<String>,
    /// Name of the tool, where the message has it.
    pub name: Option<String>,
    /// The message says that the tool failed.
    pub is_error: bool,
}

/// What a model answered.
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
    /// Tools (and agents) that the model wants to be called, in order, at most [`MOST_TOOLS`].
    pub tool_calls: Vec<ToolCall>,
    /// When the first content came (text, reasoning or a tool call); `None` for one that is not
    /// streamed.
    pub first_content_at: Option<Nanos>,
    /// When the last content came.
    pub last_content_at: Option<Nanos>,
    /// Pieces of content that came.
    pub content_pieces: u64,
    /// An `error` body or event.
    pub error: Option<ReplyError>,
    /// What the text of the answer tells, in the words of KAOS's agents.
    pub notice: Option<Notice>,
    /// It has its end: `[DONE]`, `message_stop`, `"done":true`, or the end of a JSON body.
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

/// An error in a body. The message is for people, cut short, and holds no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyError {
    /// `type` or `code`, as the API says it.
    pub kind: Option<String>,
    /// `message`.
    pub message: Option<String>,
}

/// What the text of an agent's answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// `Sorry, I encountered an error`: it failed.
    Failed,
    /// `[Delegation failed`: a delegation of it failed.
    DelegationFailed,
    /// `Reached maximum reasoning steps (N)`
    MaxSteps,
}

/// Reads the body of a request to a model.
#[derive(Debug)]
pub struct RequestReader;

impl RequestReader {
    /// Where the path is that of a model's API.
    #[must_use]
    pub fn of(_request: &Request) -> Option<Self> {
        None
    }

    /// The next bytes of the body.
    pub fn bytes(&mut self, _bytes: &[u8]) {}

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {}

    /// The body is over.
    #[must_use]
    pub fn finish(self) -> Option<Operation> {
        None
    }
}

/// Reads the body of a model's response.
#[derive(Debug)]
pub struct ReplyReader;

impl ReplyReader {
    /// For the response to this request.
    #[must_use]
    pub fn of(_request: &ModelRequest, _response: &Response) -> Self {
        Self
    }

    /// The next bytes of a body that is no event stream.
    pub fn bytes(&mut self, _bytes: &[u8], _at: Nanos) {}

    /// The next event.
    pub fn event(&mut self, _event: &ServerSentEvent, _at: Nanos) {}

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {}

    /// The exchange is over.
    #[must_use]
    pub fn finish(self, _is_whole: bool) -> Reply {
        Reply::Model(Box::default())
    }
}
