//! What requests and responses of JSON-RPC mean, from their bytes.

mod a2a;
mod hostile;
mod legacy;
mod mcp;

use super::*;
use crate::capture::event::Direction;
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::RpcError;
use crate::exchanges::rpc::a2a::{A2aReply, A2aRequest};
use crate::exchanges::rpc::mcp::{McpMessage, McpReply, McpRequest, McpResult};
use crate::streams::testing::{Wire, cut};

/// A request with a JSON body; `fields` end with CRLF each.
fn post(target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// A request without a body.
fn bare(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// A response with a JSON body.
fn json(status: u16, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// A response with an event stream.
fn stream(fields: &str, events: &[&str]) -> String {
    let mut response = stream_head(fields);
    for event in events {
        response += &chunk(event);
    }
    response + "0\r\n\r\n"
}

fn stream_head(fields: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{fields}\
         Transfer-Encoding: chunked\r\n\r\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// An event as the SDK for Python sends it.
fn message(data: &str) -> String {
    format!("event: message\r\ndata: {data}\r\n\r\n")
}

/// What the only exchange means, at the client's and at the server's end, however its bytes are
/// cut.
#[track_caller]
fn meaning(request: &str, response: &str) -> String {
    let mut meanings = Vec::new();
    for direction in [Direction::Sent, Direction::Received] {
        let wire =
            Wire::new(1)
                .moved(direction, request, 0)
                .moved(direction.opposite(), response, 0);
        let whole = wire.closed().events;
        let every_byte: Vec<usize> = (0..request.len().max(response.len())).collect();
        let single: Vec<Event> = whole.iter().flat_map(|e| cut(e, &every_byte)).collect();
        for events in [whole, single] {
            let stages = Stages::new().run(&events);
            let [ended] = stages.ended()[..] else {
                panic!("not one exchange: {:?}", stages.lines());
            };
            assert_understood_once(&stages.told);
            meanings.push(describe(ended));
        }
    }
    meanings.dedup();
    assert_eq!(meanings.len(), 1, "{meanings:#?}");
    meanings.remove(0)
}

/// What is told of a meaning before the end is what is told then.
#[track_caller]
fn assert_understood_once(told: &[ExchangeEvent]) {
    for event in told {
        let ExchangeEvent::Ended(ended) = event else {
            continue;
        };
        let understood: Vec<_> = told
            .iter()
            .filter_map(|event| match event {
                ExchangeEvent::Understood { id, operation, .. } => {
                    (*id == ended.request.id).then_some(operation)
                }
                _ => None,
            })
            .collect();
        match understood[..] {
            [] => assert!(!ended.request.is_understood_later && ended.operation.is_none()),
            [operation] => assert_eq!(*operation, ended.operation),
            _ => panic!("understood more than once: {understood:?}"),
        }
    }
}

/// The meaning of an exchange: what was asked and, after an arrow, what was answered.
fn describe(exchange: &Exchange) -> String {
    let operation = exchange.operation.as_deref();
    let asked = operation.map_or("nothing".to_owned(), asked);
    let reply = exchange.reply.as_ref().map(answered);
    reply.map_or(asked.clone(), |reply| format!("{asked} -> {reply}"))
}

fn asked(operation: &Operation) -> String {
    match operation {
        Operation::Mcp(request) => {
            let McpRequest {
                kind,
                session_id,
                protocol_version,
                messages,
            } = &**request;
            let messages: Vec<String> = messages.iter().map(asked_message).collect();
            let parts = [
                Some(format!("mcp {kind:?}")),
                session_id.clone().map(|id| format!("session {id}")),
                protocol_version.clone(),
                (!messages.is_empty()).then(|| messages.join(", ")),
            ];
            joined(parts)
        }
        Operation::A2a(request) => {
            let A2aRequest {
                method,
                kind,
                id,
                context_id,
                task_id,
                is_delegation,
            } = &**request;
            joined([
                Some(format!("a2a {kind:?} {method}{}", numbered(id.as_ref()))),
                context_id.as_ref().map(|id| format!("context {id}")),
                task_id.as_ref().map(|id| format!("task {id}")),
                is_delegation.then(|| "delegation".to_owned()),
            ])
        }
        Operation::AgentCard => "card".to_owned(),
        Operation::Model(_) => "model".to_owned(),
    }
}

fn asked_message(message: &McpMessage) -> String {
    let method = message.method.as_deref().unwrap_or("response");
    let id = numbered(message.id.as_ref());
    let more = [&message.name, &message.traceparent, &message.tracestate];
    let more: String = more
        .into_iter()
        .flatten()
        .map(|text| format!(" {text}"))
        .collect();
    format!("{method}{id}{more}")
}

fn answered(reply: &Reply) -> String {
    match reply {
        Reply::Mcp(reply) => {
            let McpReply {
                session_id,
                protocol_version,
                results,
                notifications,
                requests,
            } = &**reply;
            let results: Vec<String> = results.iter().map(result).collect();
            joined([
                Some(results.join(", ")),
                session_id.clone().map(|id| format!("session {id}")),
                protocol_version.clone(),
                (*notifications > 0).then(|| format!("{notifications} notifications")),
                (*requests > 0).then(|| format!("{requests} requests")),
            ])
        }
        Reply::A2a(reply) => {
            let A2aReply {
                error,
                task_id,
                context_id,
                state,
                notice,
            } = &**reply;
            joined([
                state.clone(),
                error.as_ref().map(failure),
                task_id.as_ref().map(|id| format!("task {id}")),
                context_id.as_ref().map(|id| format!("context {id}")),
                notice.as_ref().map(|notice| format!("{notice:?}")),
            ])
        }
        Reply::Model(_) => "model".to_owned(),
    }
}

fn result(result: &McpResult) -> String {
    let id = numbered(result.id.as_ref());
    let McpResult {
        error,
        is_tool_error,
        needs_input,
        ..
    } = result;
    let error = error.as_ref().map(failure);
    let what = match (error, is_tool_error, needs_input) {
        (Some(error), false, false) => error,
        (None, true, false) => "tool error".to_owned(),
        (None, false, true) => "input required".to_owned(),
        (None, false, false) => "result".to_owned(),
        _ => panic!("contradiction: {result:?}"),
    };
    what + &id
}

fn failure(error: &RpcError) -> String {
    let message = error.message.as_deref().unwrap_or("-");
    format!("error {} ({message})", error.code)
}

fn numbered(id: Option<&String>) -> String {
    id.map_or(String::new(), |id| format!("#{id}"))
}

fn joined(parts: impl IntoIterator<Item = Option<String>>) -> String {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}
