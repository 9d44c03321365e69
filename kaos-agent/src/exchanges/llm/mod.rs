//! Calls of models: the APIs of OpenAI, Anthropic and Ollama, as their servers, LiteLLM and other
//! gateways speak them.
//!
//! A call is recognised by its path and the shape of its body, never by a list of hosts. Bodies are
//! read as they pass by [`json`](super::json), so nothing of them is kept but what the types here
//! say: names and ids of at most [`MOST_NAME`] bytes, counts, times. What a member of an answer
//! means is said by one table for each dialect; [`draft`] puts it together.

mod anthropic;
mod api;
mod calls;
mod draft;
mod fenced;
mod fields;
mod notice;
mod ollama;
mod openai;
mod provider;
mod reply;
mod reply_reader;
mod request;
mod request_reader;
mod responses;
#[cfg(test)]
mod tests;

pub use api::Api;
pub use notice::Notice;
pub use provider::{fallbacks, provider_name, retries};
pub use reply::{
    CallStyle, Durations, MOST_CHOICES, MOST_NAME, MOST_TOOLS, ModelReply, ReplyError, ToolCall,
    Usage,
};
pub use reply_reader::ReplyReader;
pub use request::{ModelRequest, Parameters, ToolResult};
pub use request_reader::RequestReader;
