//! Anthropic's messages.

use super::fields::{Field, common};

/// What the members of an answer, or of an event of it, mean.
pub fn field(path: &str) -> Field {
    let answer = path.strip_prefix("message.").unwrap_or(path);
    let block = ["content[]", "content_block", "?[]"];
    if let Some(member) = block.iter().find_map(|start| answer.strip_prefix(start)) {
        return match member {
            "" => Field::Call,
            ".type" => Field::CallType,
            ".id" => Field::CallId,
            ".name" => Field::CallName,
            ".text" => Field::Text,
            ".thinking" => Field::Content,
            ".input" => Field::Skip,
            _ => Field::Unknown,
        };
    }
    match answer {
        "delta.text" => Field::Text,
        "delta.thinking" | "delta.partial_json" => Field::Content,
        "stop_reason" | "delta.stop_reason" => Field::FinishReason,
        "usage.input_tokens" => Field::Input,
        "usage.output_tokens" => Field::Output,
        "usage.cache_read_input_tokens" => Field::CacheRead,
        "usage.cache_creation_input_tokens" => Field::CacheCreation,
        "usage.output_tokens_details.thinking_tokens" => Field::Reasoning,
        // Those of the message's beginning would be taken for the event's.
        "type" if path != answer => Field::Unknown,
        _ => common(answer),
    }
}
