//! Calls of models, by the conventions for GenAI.

use std::time::Duration;

use opentelemetry_semantic_conventions::attribute;

use super::agent::{AGENT_NAME, agent_name};
use super::attributes::Attributes;
use super::{Told, http, name_of, names};
use crate::exchanges::exchange::{Exchange, Role};
use crate::exchanges::llm::{self, Api, ModelReply, ModelRequest, Parameters, Usage};
use crate::exchanges::meaning::{Operation, Reply};
use crate::identity::service::Service;
use crate::runs::part::ModelPart;
use crate::runs::verdict::Verdict;
use crate::time::Nanos;

/// KAOS's name of an agent's model call.
const MODEL_INFERENCE: &str = "model.inference";
/// How often LiteLLM tried the model again before it answered.
const LITELLM_RETRIES: &str = "litellm.attempted_retries";
/// To how many other models it fell back.
const LITELLM_FALLBACKS: &str = "litellm.attempted_fallbacks";

/// The call of a model: `model.inference` of an agent; `chat M` of others, either end.
pub(super) fn tell(exchange: &Exchange, part: &ModelPart, service: &Service) -> Told {
    let mut told = http::tell_as(exchange, Verdict::of_model_call(exchange));
    let Some(Operation::Model(request)) = exchange.operation.as_deref() else {
        return told;
    };
    let operation = operation_name(request.api);
    told.name = match (&request.model, part.in_agent) {
        (_, true) => MODEL_INFERENCE.into(),
        (Some(model), false) => name_of(&format!("{operation} "), model),
        (None, false) => operation.into(),
    };
    let attributes = &mut told.attributes;
    if part.in_agent {
        attributes.text(AGENT_NAME, agent_name(service));
    }
    if part.resends > 0 {
        attributes.number(attribute::HTTP_REQUEST_RESEND_COUNT, part.resends);
    }
    attributes.constant(names::GEN_AI_OPERATION_NAME, operation);
    attributes.constant(names::GEN_AI_PROVIDER_NAME, provider(exchange, request.api));
    tell_request(request, part, attributes);
    if let Some(response) = &exchange.response {
        let headers = &response.headers;
        for (name, count) in [
            (LITELLM_RETRIES, llm::retries(headers)),
            (LITELLM_FALLBACKS, llm::fallbacks(headers)),
        ] {
            if let Some(count) = count.filter(|count| *count > 0) {
                attributes.number(name, count);
            }
        }
    }
    if let Some(reply) = reply_of(exchange) {
        tell_reply(exchange, reply, attributes);
    }
    told
}

/// A model's server that was not reached, on a span that tells the connection that was not made.
pub(super) fn tell_unreached(part: &ModelPart, service: &Service, told: &mut Told) {
    if part.in_agent {
        told.name = MODEL_INFERENCE.into();
        told.attributes.text(AGENT_NAME, agent_name(service));
    }
    told.attributes
        .constant(names::GEN_AI_OPERATION_NAME, "chat");
    if part.resends > 0 {
        told.attributes
            .number(attribute::HTTP_REQUEST_RESEND_COUNT, part.resends);
    }
    if let Some(model) = &part.configured_model {
        told.attributes
            .text(names::GEN_AI_REQUEST_MODEL, model.as_str());
    }
}

/// What the exchange was answered with.
pub(super) fn reply_of(exchange: &Exchange) -> Option<&ModelReply> {
    match &exchange.reply {
        Some(Reply::Model(reply)) => Some(reply),
        _ => None,
    }
}

/// `gen_ai.operation.name`
pub(super) fn operation_name(api: Api) -> &'static str {
    match api {
        Api::OpenAiChat | Api::OpenAiResponses | Api::AnthropicMessages | Api::OllamaChat => "chat",
        Api::OpenAiCompletions | Api::OllamaGenerate => "text_completion",
        Api::OpenAiEmbeddings | Api::OllamaEmbed => "embeddings",
    }
}

/// `gen_ai.provider.name`
pub(super) fn provider(exchange: &Exchange, api: Api) -> &'static str {
    let host = http::server_name(&exchange.request);
    let response = exchange.response.as_ref();
    llm::provider_name(
        api,
        host.as_deref(),
        response.map(|response| &response.headers),
    )
}

/// When the first content of a streamed answer came, after the request.
pub(super) fn time_to_first(exchange: &Exchange) -> Option<f64> {
    let first = reply_of(exchange)?.first_content_at?;
    Some(seconds(first.checked_sub(exchange.request.at)?))
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanos: Nanos) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

fn tell_request(request: &ModelRequest, part: &ModelPart, attributes: &mut Attributes) {
    let model = request.model.as_ref().or(part.configured_model.as_ref());
    if let Some(model) = model {
        attributes.said(names::GEN_AI_REQUEST_MODEL, model);
    }
    attributes.truth(names::GEN_AI_REQUEST_STREAM, request.stream);
    if let Some(session) = &request.session_id {
        attributes.said(names::GEN_AI_CONVERSATION_ID, session);
    }
    let Parameters {
        max_tokens,
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        choices,
    } = request.parameters;
    for (name, value) in [
        (names::GEN_AI_REQUEST_MAX_TOKENS, max_tokens),
        (names::GEN_AI_REQUEST_SEED, seed),
        // Required only where it is not 1.
        (
            names::GEN_AI_REQUEST_CHOICE_COUNT,
            choices.filter(|choices| *choices != 1),
        ),
    ] {
        if let Some(value) = value {
            attributes.number(name, value);
        }
    }
    for (name, value) in [
        (names::GEN_AI_REQUEST_TEMPERATURE, temperature),
        (names::GEN_AI_REQUEST_TOP_P, top_p),
        (names::GEN_AI_REQUEST_TOP_K, top_k),
        (names::GEN_AI_REQUEST_FREQUENCY_PENALTY, frequency_penalty),
        (names::GEN_AI_REQUEST_PRESENCE_PENALTY, presence_penalty),
    ] {
        if let Some(value) = value {
            attributes.fraction(name, value);
        }
    }
}

fn tell_reply(exchange: &Exchange, reply: &ModelReply, attributes: &mut Attributes) {
    if let Some(id) = &reply.id {
        attributes.said(names::GEN_AI_RESPONSE_ID, id);
    }
    if let Some(model) = &reply.model {
        attributes.said(names::GEN_AI_RESPONSE_MODEL, model);
    }
    if !reply.finish_reasons.is_empty() {
        let reasons = reply.finish_reasons.iter().map(String::as_str);
        attributes.texts(names::GEN_AI_RESPONSE_FINISH_REASONS, reasons);
    }
    if let Some(time) = time_to_first(exchange) {
        attributes.fraction(names::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, time);
    }
    let Usage {
        input,
        output,
        cache_read,
        cache_creation,
        reasoning,
    } = reply.usage;
    for (name, tokens) in [
        (names::GEN_AI_USAGE_INPUT_TOKENS, input),
        (names::GEN_AI_USAGE_OUTPUT_TOKENS, output),
        (names::GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, cache_read),
        (
            names::GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
            cache_creation,
        ),
        (names::GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, reasoning),
    ] {
        if let Some(tokens) = tokens {
            attributes.number(name, tokens);
        }
    }
}

/// Which end of the call the process is.
pub(super) fn is_client(exchange: &Exchange) -> bool {
    exchange.request.role == Role::Client
}
