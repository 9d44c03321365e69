//! What a model is asked for.

use super::Api;

/// What a model is asked for. Everything is as the body says it; `None` where it says nothing, or
/// it was not captured. Names and ids are at most [`MOST_NAME`](super::MOST_NAME) bytes long.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// By which API.
    pub api: Api,
    /// `model`, or the one that the path names.
    pub model: Option<String>,
    /// Whether the answer is to be streamed; by default Ollama's APIs do, the others do not.
    pub stream: bool,
    /// Sampling parameters.
    pub parameters: Parameters,
    /// Names of the tools that the model may call, at most [`MOST_TOOLS`](super::MOST_TOOLS).
    pub tools: Vec<String>,
    /// Number of messages; at least so many where bytes are missing.
    pub messages: u64,
    /// Role of the last message; `task-delegation` where an agent delegates to another.
    pub last_role: Option<String>,
    /// Results of tools among the messages after the last of the assistant, in order: what was
    /// called since the step before. At most [`MOST_TOOLS`](super::MOST_TOOLS).
    pub tool_results: Vec<ToolResult>,
    /// `X-Session-ID`, `session_id`, or the conversation that the request continues.
    pub session_id: Option<String>,
}

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolResult {
    /// Id of the call that it answers; that of a fenced call has none.
    pub call_id: Option<String>,
    /// Name of the tool, where the message has it.
    pub name: Option<String>,
    /// The message says that the tool failed.
    pub is_error: bool,
}
