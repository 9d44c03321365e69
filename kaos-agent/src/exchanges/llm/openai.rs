//! OpenAI's chat completions, completions and embeddings, as many servers speak them.

use super::fields::{Field, common};

/// What the members of an answer, or of a chunk of it, mean.
pub fn field(path: &str) -> Field {
    let Some(choice) = path
        .strip_prefix("choices[]")
        .or_else(|| path.strip_prefix("?[]"))
    else {
        return of_answer(path);
    };
    match choice {
        "" => Field::Choice,
        ".index" => Field::ChoiceIndex,
        ".finish_reason" => Field::FinishReason,
        ".delta.content" | ".message.content" | ".text" => Field::ChoiceText,
        ".logprobs" => Field::Skip,
        _ => of_message(choice),
    }
}

fn of_answer(path: &str) -> Field {
    match path {
        "usage.prompt_tokens" => Field::Input,
        "usage.completion_tokens" => Field::Output,
        "usage.prompt_tokens_details.cached_tokens" | "usage.cache_read_input_tokens" => {
            Field::CacheRead
        }
        "usage.prompt_tokens_details.cache_write_tokens" | "usage.cache_creation_input_tokens" => {
            Field::CacheCreation
        }
        "usage.completion_tokens_details.reasoning_tokens" => Field::Reasoning,
        // Of embeddings.
        "data" => Field::Skip,
        _ => common(path),
    }
}

/// After a gap the key of the message may not be known.
fn of_message(path: &str) -> Field {
    let message = [".delta.", ".message.", ".?."];
    let Some(member) = message.iter().find_map(|start| path.strip_prefix(start)) else {
        return Field::Unknown;
    };
    match member {
        // Reasoning has no standard name: vLLM and DeepSeek, OpenRouter and Ollama.
        "reasoning_content" | "reasoning" | "refusal" => Field::Content,
        // The older form of a call.
        "function_call" | "tool_calls[]" | "?[]" => Field::Call,
        "tool_calls[].index" => Field::CallIndex,
        "tool_calls[].id" | "?[].id" => Field::CallId,
        "tool_calls[].function.name" | "?[].function.name" | "function_call.name" => {
            Field::CallName
        }
        "tool_calls[].custom.name" => Field::CallName,
        _ => Field::Unknown,
    }
}
