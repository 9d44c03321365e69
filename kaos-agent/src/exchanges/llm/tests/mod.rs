//! Bodies as real clients and servers send them, over HTTP, through stages 2 to 4.

mod anthropic;
mod cuts;
mod fences;
mod hostile;
mod ollama;
mod openai;
mod providers;
mod recognised;
mod requests;
mod responses;

use super::*;
use crate::capture::event::Event;
use crate::exchanges::exchange::Exchange;
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::tests::Stages;
use crate::streams::testing::Wire;
use crate::time::Nanos;

const CHAT: &str = "/v1/chat/completions";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";
const LINES: &str = "application/x-ndjson";

/// When this piece of the response moves: after the request and the response's head.
fn at(piece: u64) -> Nanos {
    1030 + 10 * piece
}

/// One exchange of a client, its response in chunks of these pieces.
fn wire(path: &str, request: &str, status: u16, content_type: &str, pieces: &[&str]) -> Wire {
    let length = request.len();
    let mut wire = Wire::new(1)
        .sent(format!(
            "POST {path} HTTP/1.1\r\nHost: model\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{request}"
        ))
        .received(format!(
            "HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        ));
    for piece in pieces {
        wire = wire.received(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    wire.received("0\r\n\r\n")
}

fn exchange(events: &[Event]) -> Exchange {
    let stages = Stages::new().run(events);
    let ended = stages.ended();
    assert_eq!(ended.len(), 1, "one exchange");
    ended[0].clone()
}

/// What the exchange's request asks of a model.
fn request_of(exchange: &Exchange) -> Option<&ModelRequest> {
    match exchange.operation.as_deref() {
        Some(Operation::Model(request)) => Some(request),
        _ => None,
    }
}

/// What a model answers in it.
fn reply_of(exchange: Exchange) -> ModelReply {
    match exchange.reply {
        Some(Reply::Model(reply)) => *reply,
        other => panic!("no model's reply: {other:?}"),
    }
}

/// What a request with this body asks for.
fn asked(path: &str, body: &str) -> Option<ModelRequest> {
    request_of(&exchange(&wire(path, body, 200, JSON, &[]).events)).cloned()
}

/// What a response says, to a request that does not matter.
fn answered(path: &str, status: u16, content_type: &str, pieces: &[&str]) -> ModelReply {
    let request = r#"{"model": "m", "messages": [], "input": "x"}"#;
    reply_of(exchange(
        &wire(path, request, status, content_type, pieces).events,
    ))
}

/// A stream of events with these data, each in a piece of its own.
fn events(data: &[&str]) -> Vec<String> {
    data.iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect()
}

fn answered_by_events(path: &str, data: &[&str]) -> ModelReply {
    let pieces = events(data);
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    answered(path, 200, EVENTS, &pieces)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn call(id: Option<&str>, name: &str, style: CallStyle) -> ToolCall {
    ToolCall {
        id: id.map(str::to_owned),
        name: name.to_owned(),
        style,
    }
}
