//! OpenAI's responses.

use super::fields::{Field, common};

/// What the members of an answer, or of an event of it, mean. Most events carry the answer as it
/// stands, or an item of it; ids tell that two are the same call.
pub fn field(path: &str) -> Field {
    match path {
        // Of `response.output_text.delta` and its likes.
        "delta" => return Field::Text,
        // The answer again, whose text was streamed.
        "response.output[].content" | "item.content" | "part" => return Field::Skip,
        "type" => return Field::EventType,
        _ => {}
    }
    let answer = path.strip_prefix("response.").unwrap_or(path);
    let item = ["output[]", "?[]", "item"];
    if let Some(member) = item.iter().find_map(|start| answer.strip_prefix(start)) {
        return match member {
            "" => Field::Call,
            ".type" => Field::CallType,
            ".call_id" => Field::CallId,
            ".name" => Field::CallName,
            ".content[].text" => Field::Text,
            _ => Field::Unknown,
        };
    }
    match answer {
        "status" => Field::Status,
        "incomplete_details.reason" => Field::FinishReason,
        "usage.input_tokens" => Field::Input,
        "usage.output_tokens" => Field::Output,
        "usage.input_tokens_details.cached_tokens" => Field::CacheRead,
        "usage.input_tokens_details.cache_write_tokens" => Field::CacheCreation,
        "usage.output_tokens_details.reasoning_tokens" => Field::Reasoning,
        "tools" | "instructions" | "metadata" | "text" => Field::Skip,
        _ => common(answer),
    }
}
