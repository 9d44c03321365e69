//! Ollama's own API.

use super::fields::{Field, common};

/// What the members of an answer, or of a line of it, mean.
pub fn field(path: &str) -> Field {
    match path {
        // Of chat, and of generate.
        "message.content" | "response" => Field::Text,
        "message.thinking" | "thinking" => Field::Content,
        "message.tool_calls[]" => Field::Call,
        "message.tool_calls[].id" => Field::CallId,
        "message.tool_calls[].function.name" => Field::CallName,
        "message.tool_calls[].function.arguments" => Field::Skip,
        "done" => Field::Done,
        "done_reason" => Field::FinishReason,
        "prompt_eval_count" => Field::Input,
        "eval_count" => Field::Output,
        "total_duration" => Field::TotalDuration,
        "load_duration" => Field::LoadDuration,
        "prompt_eval_duration" => Field::InputDuration,
        "eval_duration" => Field::OutputDuration,
        // Token ids; vectors.
        "context" | "embedding" | "embeddings" => Field::Skip,
        _ => common(path),
    }
}
