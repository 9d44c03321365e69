//! What it costs to understand model and tool calls: exchanges of 4 KiB through stages 2 to 4 in
//! this process, against the same bytes that nobody reads.

use bytes::Bytes;
use kaos_agent::capture::event::{Direction, Event};
use kaos_agent::exchanges::exchange::ExchangeEvent;
use kaos_agent::exchanges::{self, Exchanges, reading};
use kaos_agent::protocols::{self, Protocols};
use kaos_agent::streams::{self, Streams};

use super::report::Semantics;
use super::statistics::Spread;
use super::synthetic::{data, words};
use super::usage::cpu;

/// Bytes of both bodies together.
const EXCHANGE_BYTES: usize = 4 << 10;
/// Words of a model come in pieces like this.
const TOKEN: &str = "question ";

type Maker = fn() -> Bodies;

/// Kinds of exchanges.
const DIALECTS: [(&str, Maker); 6] = [
    ("openai", openai),
    ("openai_stream", openai_stream),
    ("responses_stream", responses_stream),
    ("anthropic_stream", anthropic_stream),
    ("ollama_stream", ollama_stream),
    ("mcp", mcp),
];

/// One exchange.
struct Bodies {
    path: &'static str,
    request: String,
    content_type: &'static str,
    response: String,
}

/// Measures so many runs of so many exchanges of each dialect, and prints what it finds.
///
/// # Panics
/// An exchange was not understood: then there is nothing to measure.
pub fn run(runs: u32, exchanges: u32) -> Vec<Semantics> {
    println!(
        "semantics: exchanges with {EXCHANGE_BYTES} bytes of bodies, beyond HTTP alone, {runs} runs"
    );
    let of_dialect = |(name, bodies): (&'static str, Maker)| {
        let bodies = bodies();
        let bytes = bodies.request.len() + bodies.response.len();
        let read = bodies.operations(bodies.content_type, "application/json");
        let unread = bodies.defaced().operations("text/plain", "text/plain");
        let times: Vec<(f64, f64)> = (0..runs)
            .map(|_| {
                (
                    measure(&unread, exchanges, false),
                    measure(&read, exchanges, true),
                )
            })
            .collect();
        let added = Spread::of(times.iter().map(|(unread, read)| (read - unread) * 1e6));
        let rate = Spread::of(times.iter().map(|(_, read)| bytes as f64 / 1e6 / read));
        println!(
            "  {name:<16} {bytes:>5} bytes: +{added:.1} µs per exchange, {rate:.0} MB/s in all"
        );
        Semantics {
            dialect: name,
            added_us_per_exchange: added.median,
            mb_per_s: rate.median,
        }
    };
    DIALECTS.into_iter().map(of_dialect).collect()
}

/// CPU seconds per exchange.
fn measure(operations: &[(Direction, Bytes)], exchanges: u32, is_understood: bool) -> f64 {
    let mut stages = Stages::new();
    let this = std::process::id();
    let before = cpu(this);
    for number in 0..exchanges {
        stages.exchange(operations, number);
    }
    let time = cpu(this) - before;
    assert_eq!(stages.ended, exchanges, "all exchanges end");
    let expected = if is_understood { exchanges } else { 0 };
    assert_eq!(
        stages.understood, expected,
        "exchanges that were understood"
    );
    time.as_secs_f64() / f64::from(exchanges)
}

/// Stages 2 to 4, and one connection that is kept alive.
struct Stages {
    streams: Streams,
    protocols: Protocols,
    exchanges: Exchanges,
    /// Bytes that were received and sent.
    positions: [u64; 2],
    ended: u32,
    /// Of those, how many have a request and a reply that are understood.
    understood: u32,
}

impl Stages {
    fn new() -> Self {
        Self {
            streams: Streams::new(streams::Limits::default()),
            protocols: Protocols::new(protocols::limits::Limits::default(), reading),
            exchanges: Exchanges::new(exchanges::Limits::default()),
            positions: [0; 2],
            ended: 0,
            understood: 0,
        }
    }

    fn exchange(&mut self, operations: &[(Direction, Bytes)], number: u32) {
        let (mut chunks, mut parts, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (direction, bytes) in operations {
            let position = &mut self.positions[*direction as usize];
            let event: Event = data(0, *direction, *position, u64::from(number) + 1, bytes);
            *position += bytes.len() as u64;
            self.streams.push(&event, &mut chunks);
        }
        for chunk in chunks {
            self.protocols.push(chunk, &mut parts);
        }
        for part in parts {
            self.exchanges.push(part, &mut told);
        }
        for event in told {
            if let ExchangeEvent::Ended(exchange) = event {
                self.ended += 1;
                let is_understood = exchange.operation.is_some() && exchange.reply.is_some();
                self.understood += u32::from(is_understood);
            }
        }
    }
}

impl Bodies {
    /// As many bytes of which the first tells that nothing here is to be read.
    fn defaced(&self) -> Self {
        let deface = |body: &str| format!(".{}", &body[1..]);
        Self {
            request: deface(&self.request),
            response: deface(&self.response),
            ..*self
        }
    }

    /// As a server sees them, heads and bodies apart.
    fn operations(&self, response_type: &str, request_type: &str) -> Vec<(Direction, Bytes)> {
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: model:8000\r\nuser-agent: python-httpx/0.28.1\r\n\
             content-length: {}\r\ncontent-type: {request_type}\r\n\r\n",
            self.path,
            self.request.len(),
        );
        let response = format!(
            "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: {}\r\n\
             content-type: {response_type}\r\n\r\n",
            self.response.len(),
        );
        vec![
            (Direction::Received, request.into()),
            (Direction::Received, self.request.clone().into()),
            (Direction::Sent, response.into()),
            (Direction::Sent, self.response.clone().into()),
        ]
    }
}

/// A chat with a tool, of three quarters of the bytes.
fn chat(stream: bool) -> String {
    let tools = r#"[{"type":"function","function":{"name":"calculator","description":"Calculates","parameters":{"type":"object","properties":{"expression":{"type":"string"}},"required":["expression"]}}}]"#;
    let around = |text: &str| {
        format!(
            r#"{{"model":"gpt-4o-mini","messages":[{{"role":"system","content":"You are an agent"}},{{"role":"user","content":"{text}"}}],"temperature":0.2,"stream":{stream},"tools":{tools}}}"#
        )
    };
    let room = EXCHANGE_BYTES * 3 / 4 - around("").len();
    around(&words(room, 1))
}

/// As many of these pieces as fill the rest, between a beginning and an end.
fn stream(request: &str, begin: &str, piece: &str, end: &str) -> String {
    let room = EXCHANGE_BYTES.saturating_sub(request.len() + begin.len() + end.len());
    format!("{begin}{}{end}", piece.repeat(room.div_ceil(piece.len())))
}

fn openai() -> Bodies {
    let request = chat(false);
    let around = |text: &str| {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#
        )
    };
    let room = EXCHANGE_BYTES - request.len() - around("").len();
    Bodies {
        path: "/v1/chat/completions",
        content_type: "application/json",
        response: around(&words(room, 2)),
        request,
    }
}

fn openai_stream() -> Bodies {
    let request = chat(true);
    let chunk = |choices: &str, usage: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4o-mini","choices":[{choices}],"usage":{usage}}}"#
        ) + "\n\n"
    };
    let delta = |delta: &str, reason: &str| {
        chunk(
            &format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}"#),
            "null",
        )
    };
    let end = delta("{}", "\"stop\"")
        + &chunk(
            "",
            r#"{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}"#,
        )
        + "data: [DONE]\n\n";
    let piece = delta(&format!(r#"{{"content":"{TOKEN}"}}"#), "null");
    let begin = delta(r#"{"role":"assistant","content":""}"#, "null");
    Bodies {
        path: "/v1/chat/completions",
        content_type: "text/event-stream",
        response: stream(&request, &begin, &piece, &end),
        request,
    }
}

fn event(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn responses_stream() -> Bodies {
    let request = format!(
        r#"{{"model":"gpt-5","input":"{}","stream":true}}"#,
        words(EXCHANGE_BYTES * 3 / 4, 1)
    );
    let begin = event(
        "response.created",
        r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress","model":"gpt-5","output":[]}}"#,
    );
    let piece = event(
        "response.output_text.delta",
        &format!(
            r#"{{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"{TOKEN}"}}"#
        ),
    );
    let end = event(
        "response.completed",
        r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","model":"gpt-5","output":[],"usage":{"input_tokens":3,"output_tokens":4}}}"#,
    );
    Bodies {
        path: "/v1/responses",
        content_type: "text/event-stream",
        response: stream(&request, &begin, &piece, &end),
        request,
    }
}

fn anthropic_stream() -> Bodies {
    let request = chat(true);
    let begin = event(
        "message_start",
        r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude","stop_reason":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#,
    );
    let piece = event(
        "content_block_delta",
        &format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{TOKEN}"}}}}"#
        ),
    );
    let end = event(
        "message_delta",
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#,
    ) + &event("message_stop", r#"{"type":"message_stop"}"#);
    Bodies {
        path: "/v1/messages",
        content_type: "text/event-stream",
        response: stream(&request, &begin, &piece, &end),
        request,
    }
}

fn ollama_stream() -> Bodies {
    let request = chat(true);
    let piece = format!(
        r#"{{"model":"llama3.2","created_at":"2026-08-04T08:52:19.385406455Z","message":{{"role":"assistant","content":"{TOKEN}"}},"done":false}}"#
    ) + "\n";
    let end = r#"{"model":"llama3.2","created_at":"2026-08-04T19:22:45.499127Z","message":{"role":"assistant","content":""},"done":true,"total_duration":4883583458,"load_duration":1334875,"prompt_eval_count":26,"eval_count":282}"#;
    Bodies {
        path: "/api/chat",
        content_type: "application/x-ndjson",
        response: stream(&request, "", &piece, &format!("{end}\n")),
        request,
    }
}

fn mcp() -> Bodies {
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"calculator","arguments":{{"text":"{}"}},"_meta":{{"progressToken":2}}}}}}"#,
        words(EXCHANGE_BYTES * 3 / 4, 1)
    );
    let around = |text: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":2,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
        )
    };
    let room = EXCHANGE_BYTES.saturating_sub(request.len() + around("").len());
    Bodies {
        path: "/mcp",
        content_type: "application/json",
        response: around(&words(room, 2)),
        request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_is_understood() {
        // It asserts that itself.
        assert_eq!(run(1, 2).len(), DIALECTS.len());
    }
}
