//! Who provides the model: `gen_ai.provider.name`.

use http::HeaderMap;

use super::Api;

/// Hosts of well-known providers, and those below them.
const HOSTS: [(&str, &str); 17] = [
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("models.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.cohere.com", "cohere"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together_ai"),
    ("watsonx.ai", "ibm.watsonx.ai"),
];

/// What LiteLLM calls providers, in front of a model's name, where it is not the conventions' name.
const LITELLM_NAMES: [(&str, &str); 8] = [
    ("azure", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("bedrock", "aws.bedrock"),
    ("gemini", "gcp.gemini"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("mistral", "mistral_ai"),
    ("xai", "x_ai"),
    ("ollama_chat", "ollama"),
];

/// Names by which providers go in the conventions, and those that LiteLLM calls alike.
const NAMES: [&str; 10] = [
    "openai",
    "anthropic",
    "groq",
    "deepseek",
    "cohere",
    "perplexity",
    "openrouter",
    "together_ai",
    "ollama",
    "hosted_vllm",
];

/// The provider: as LiteLLM's response says, else by the well-known host that was called, else the
/// one whose API it is. `host` may have a port.
#[must_use]
pub fn provider_name(api: Api, host: Option<&str>, response: Option<&HeaderMap>) -> &'static str {
    if let Some(name) = response.and_then(of_litellm) {
        return name;
    }
    host.and_then(of_host).unwrap_or(match api {
        Api::OpenAiChat | Api::OpenAiCompletions | Api::OpenAiEmbeddings | Api::OpenAiResponses => {
            "openai"
        }
        Api::AnthropicMessages => "anthropic",
        Api::OllamaChat | Api::OllamaGenerate | Api::OllamaEmbed => "ollama",
    })
}

/// How often LiteLLM tried again before this response.
#[must_use]
pub fn retries(response: &HeaderMap) -> Option<u64> {
    number(response, "x-litellm-attempted-retries")
}

/// To how many other models LiteLLM fell back before this response.
#[must_use]
pub fn fallbacks(response: &HeaderMap) -> Option<u64> {
    number(response, "x-litellm-attempted-fallbacks")
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn of_litellm(headers: &HeaderMap) -> Option<&'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let base = header("x-litellm-model-api-base");
    let base = base.map(|base| base.split_once("://").map_or(base, |(_, rest)| rest));
    let host = base.and_then(|base| base.split('/').next());
    let model = header("x-litellm-model-name");
    let is_litellm = || {
        let is_its = |name: &http::HeaderName| name.as_str().starts_with("x-litellm-");
        headers.keys().any(is_its).then_some("litellm")
    };
    host.and_then(of_host)
        .or_else(|| of_model(model?))
        .or_else(is_litellm)
}

/// Of a model's name as LiteLLM writes it: `provider/model`.
fn of_model(model: &str) -> Option<&'static str> {
    let (provider, _) = model.split_once('/')?;
    let renamed = LITELLM_NAMES.iter().find(|(name, _)| *name == provider);
    let same = || NAMES.iter().find(|name| **name == provider).copied();
    renamed.map(|(_, name)| *name).or_else(same)
}

fn of_host(host: &str) -> Option<&'static str> {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.to_ascii_lowercase();
    let is_its = |suffix: &str| {
        let rest = host.strip_suffix(suffix);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '-']))
    };
    if host.starts_with("bedrock-runtime.") && host.ends_with(".amazonaws.com") {
        return Some("aws.bedrock");
    }
    let known = HOSTS.iter().find(|(suffix, _)| is_its(suffix));
    known.map(|(_, name)| *name)
}
