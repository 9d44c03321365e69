use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    fields.iter().map(field).collect()
}

#[test]
fn by_the_host_or_the_api() {
    for (host, expected) in [
        ("api.openai.com", "openai"),
        ("API.OpenAI.com:443", "openai"),
        ("my.openai.azure.com", "azure.ai.openai"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
        ("notapi.groq.com.example", "openai"),
        ("localhost:8000", "openai"),
    ] {
        assert_eq!(
            provider_name(Api::OpenAiChat, Some(host), None),
            expected,
            "{host}"
        );
    }
    assert_eq!(
        provider_name(Api::AnthropicMessages, None, None),
        "anthropic"
    );
    assert_eq!(provider_name(Api::OllamaEmbed, Some("x"), None), "ollama");
}

#[test]
fn by_what_litellm_says() {
    let name = |fields: &[(&'static str, &'static str)]| {
        provider_name(
            Api::OpenAiChat,
            Some("litellm:4000"),
            Some(&headers(fields)),
        )
    };
    assert_eq!(
        name(&[("x-litellm-model-api-base", "https://api.mistral.ai/v1")]),
        "mistral_ai"
    );
    assert_eq!(
        name(&[
            ("x-litellm-model-api-base", "http://10.0.0.1:11434"),
            ("x-litellm-model-name", "ollama_chat/llama3"),
        ]),
        "ollama"
    );
    assert_eq!(name(&[("x-litellm-model-name", "groq/llama")]), "groq");
    assert_eq!(name(&[("x-litellm-call-id", "1")]), "litellm");
    assert_eq!(name(&[("server", "uvicorn")]), "openai");
    let response = headers(&[
        ("x-litellm-attempted-retries", "2"),
        ("x-litellm-attempted-fallbacks", "1"),
    ]);
    assert_eq!(
        (retries(&response), fallbacks(&response)),
        (Some(2), Some(1))
    );
    assert_eq!(
        (retries(&headers(&[])), fallbacks(&headers(&[]))),
        (None, None)
    );
}
