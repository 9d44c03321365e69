//! What model calls in recordings of real traffic mean, as stage 4 tells it.
//!
//! `cargo insta review` shows what a change of the parsers changes.

mod recordings;

use std::fmt::Write as _;

use kaos_agent::exchanges::llm::{ModelReply, ModelRequest, Parameters};
use kaos_agent::exchanges::meaning::{Operation, Reply};
use kaos_agent::time::Nanos;
use recordings::recordings;

/// What was asked, on one line: what is not said is left out.
fn asked(request: &ModelRequest) -> String {
    let mut text = format!(
        "{:?} {}",
        request.api,
        request.model.as_deref().unwrap_or("-")
    );
    if request.stream {
        text.push_str(" stream");
    }
    let _ = write!(text, " messages={}", request.messages);
    if let Some(role) = &request.last_role {
        let _ = write!(text, " last={role}");
    }
    if let Some(session) = &request.session_id {
        let _ = write!(text, " session={session}");
    }
    if !request.tools.is_empty() {
        let _ = write!(text, " tools={}", request.tools.join(","));
    }
    for result in &request.tool_results {
        let outcome = if result.is_error { "failed" } else { "result" };
        let of = result.call_id.as_ref().or(result.name.as_ref());
        let _ = write!(text, " {outcome}={}", of.map_or("-", String::as_str));
    }
    if request.parameters != Parameters::default() {
        let parameters = &request.parameters;
        let (most, temperature) = (parameters.max_tokens, parameters.temperature);
        let _ = write!(text, " max_tokens={most:?} temperature={temperature:?}");
    }
    text
}

/// What was answered, likewise. Times are since the request began, in µs.
fn answered(reply: &ModelReply, began: Nanos) -> String {
    let mut text = String::new();
    for name in [&reply.id, &reply.model].into_iter().flatten() {
        let _ = write!(text, " {name}");
    }
    if !reply.finish_reasons.is_empty() {
        let _ = write!(text, " reasons={}", reply.finish_reasons.join(","));
    }
    let usage = &reply.usage;
    for (name, count) in [
        ("input", usage.input),
        ("output", usage.output),
        ("cache_read", usage.cache_read),
        ("cache_creation", usage.cache_creation),
        ("reasoning", usage.reasoning),
        ("total_ns", reply.durations.total),
    ] {
        if let Some(count) = count {
            let _ = write!(text, " {name}={count}");
        }
    }
    for call in &reply.tool_calls {
        let id = call.id.as_deref().unwrap_or("-");
        let _ = write!(text, " {:?}={}({id})", call.style, call.name);
    }
    if let (Some(first), Some(last)) = (reply.first_content_at, reply.last_content_at) {
        let (first, last) = ((first - began) / 1000, (last - began) / 1000);
        let _ = write!(text, " content={} {first}..{last}", reply.content_pieces);
    }
    if let Some(error) = &reply.error {
        let kind = error.kind.as_deref().unwrap_or("-");
        let _ = write!(text, " error={kind}: {:?}", error.message);
    }
    if let Some(notice) = &reply.notice {
        let _ = write!(text, " notice={notice:?}");
    }
    if !reply.is_ended {
        text.push_str(" without end");
    }
    text
}

#[test]
fn model_calls_of_recordings() {
    for recording in recordings() {
        let mut text = String::new();
        for exchange in recording.exchanges() {
            let Some(Operation::Model(request)) = exchange.operation.as_deref() else {
                continue;
            };
            let (role, response) = (exchange.request.role, &exchange.response);
            let status = response.as_ref().map_or(0, |response| response.status);
            let _ = writeln!(text, "{role:?} {}", asked(request));
            if let Some(Reply::Model(reply)) = &exchange.reply {
                let reply = answered(reply, exchange.request.at);
                let _ = writeln!(text, "    {status} {:?}{reply}", exchange.outcome);
            }
        }
        if !text.is_empty() {
            insta::assert_snapshot!(format!("model_calls_{}", recording.name()), text);
        }
    }
}
