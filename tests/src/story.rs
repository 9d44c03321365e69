//! What agents did, as any telemetry of it tells: their runs, the calls of models and tools and the
//! delegations in them, and how each ended.
//!
//! The agents' own OpenTelemetry SDK and kaos-agent name and nest spans differently; this is what
//! both must agree on.

use std::collections::BTreeMap;

use crate::received::Span;

/// Attributes of a model call that both tell.
const OF_MODELS: [&str; 4] = [
    "gen_ai.request.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.response.finish_reasons",
];

/// Renders the runs of these services, one line for each thing that an agent did, what happened in
/// it below it. Of what happened in parallel, what stands first in the alphabet comes first.
#[must_use]
pub fn tell(spans: &[Span], services: &[&str]) -> String {
    let by_id: BTreeMap<&str, &Span> = spans
        .iter()
        .map(|span| (span.span_id.as_str(), span))
        .collect();
    let mut told: Vec<Told<'_>> = spans
        .iter()
        .filter(|span| services.contains(&span.service.as_str()))
        .filter(|span| !is_tried_again(span, spans))
        .filter_map(|span| {
            let parent = nearest_told(span, &by_id);
            let (is_model, line) = line(span)?;
            Some(Told {
                span,
                parent,
                is_model,
                line,
            })
        })
        .collect();
    told.sort_by_key(|told| told.span.start);
    let mut text = String::new();
    tell_below(None, 0, &told, &mut text);
    text
}

struct Told<'a> {
    span: &'a Span,
    /// Id of the span that it is told below.
    parent: Option<&'a str>,
    is_model: bool,
    line: String,
}

fn tell_below(parent: Option<&str>, depth: usize, all: &[Told<'_>], text: &mut String) {
    let mut children: Vec<&Told<'_>> = all.iter().filter(|told| told.parent == parent).collect();
    // What the same answer of a model asked for is done in parallel.
    for parallel in children.split_mut(|told| told.is_model) {
        parallel.sort_by(|a, b| a.line.cmp(&b.line));
    }
    for child in children {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&child.line);
        text.push('\n');
        tell_below(Some(&child.span.span_id), depth + 1, all, text);
    }
}

/// What a span tells, if it is of those that are told, and whether that is a model call.
fn line(span: &Span) -> Option<(bool, String)> {
    let operation = span.attribute("gen_ai.operation.name");
    let name = span.name.as_str();
    let outcome = if span.status == "ERROR" {
        "failed"
    } else {
        "ok"
    };
    let tool = || {
        name.strip_prefix("tool.")
            .or(name.strip_prefix("execute_tool "))
    };
    if name == "agent.agentic_loop" || name.starts_with("invoke_agent ") {
        Some((false, format!("{} runs: {outcome}", span.service)))
    } else if name == "model.inference" || operation == "chat" && span.kind == "CLIENT" {
        let attributes: Vec<&str> = OF_MODELS.iter().map(|key| span.attribute(key)).collect();
        // The SDK has a word of its own for this reason to finish.
        let told = attributes.join(" ").replace("tool_calls", "tool_call");
        Some((true, format!("model {told}: {outcome}")))
    } else if let Some(target) = name.strip_prefix("delegate.") {
        Some((false, format!("delegate {target}: {outcome}")))
    } else if let Some(tool) = tool()
        // The SDK tells a delegation twice: as the tool that it is, too.
        && !tool.starts_with("delegate_to_")
    {
        let call = span.attribute("gen_ai.tool.call.id");
        Some((false, format!("tool {tool} {call}: {outcome}")))
    } else {
        None
    }
}

/// The span above that is told, or nothing.
fn nearest_told<'a>(span: &'a Span, by_id: &BTreeMap<&str, &'a Span>) -> Option<&'a str> {
    let mut above = by_id.get(span.parent_id.as_str())?;
    while line(above).is_none() {
        above = by_id.get(above.parent_id.as_str())?;
    }
    Some(&above.span_id)
}

/// A client library that asks again after a failure tells one call; on the wire there are several.
fn is_tried_again(span: &Span, spans: &[Span]) -> bool {
    span.name == "model.inference"
        && spans.iter().any(|other| {
            other.parent_id == span.parent_id
                && other.name == span.name
                && other.start > span.start
                && !other.attribute("http.request.resend_count").is_empty()
        })
}
