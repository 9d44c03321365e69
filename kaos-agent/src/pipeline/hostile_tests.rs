//! What hostile bodies come to as signals: nothing long, nothing secret, nothing lost of the rest.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry::{Array, KeyValue, Value};

use super::{StageSettings, Stages};
use crate::capture::event::{Event, ProcessChange, ProcessEvent, ProcessInfo};
use crate::identity::identities::AgentDefaults;
use crate::settings::{BesideSdkSettings, HttpSpans, Output, OutputSettings};
use crate::streams::testing::{PID, Wire};
use crate::telemetry::Signal;
use crate::telemetry::attributes::MAX_VALUE_BYTES;

/// Bytes of a span's name.
const MAX_NAME_BYTES: usize = 256;

/// All that is told of a connection of an agent's process.
fn signals_of(wire: Wire) -> Vec<Signal> {
    let settings = OutputSettings {
        output: Output::Tree,
        http_spans: HttpSpans::All,
        otlp_endpoint: None,
        otlp_protocol: None,
        beside_sdk: BesideSdkSettings::default(),
    };
    let mut stages = Stages::new(StageSettings {
        defaults: AgentDefaults::new(&settings, &[], &[], None, &mut Vec::new())
            .expect("no endpoint"),
        max_connections: 16,
        seed: 1,
    });
    let process = Event::Process(ProcessEvent {
        at: 1,
        pid: PID,
        change: ProcessChange::Described(Box::new(ProcessInfo {
            executable: "/usr/bin/agent".to_owned(),
            name: "agent".to_owned(),
            ..ProcessInfo::default()
        })),
    });
    let mut signals = Vec::new();
    stages.push(&process, &mut signals);
    let wire = wire.closed();
    for event in &wire.events {
        stages.push(event, &mut signals);
    }
    stages.finish(wire.now, &mut signals);
    signals
}

fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: model:8000\r\nContent-Type: application/json\r\n\
         {headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

const CHAT: &str = "/v1/chat/completions";
const JSON: &str = "Content-Type: application/json\r\n";
const ASKED: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#;
const ANSWERED: &[u8] = br#"{"id":"1","model":"m-1","choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// The value of an attribute of the one span.
fn told(signals: &[Signal], name: &str) -> Option<Value> {
    let mut spans = signals.iter().filter_map(|signal| match signal {
        Signal::Span { span, .. } => Some(span),
        Signal::Measurement { .. } => None,
    });
    let span = spans.next().expect("a span");
    assert!(spans.next().is_none(), "one span");
    let named = span.attributes.iter().find(|it| it.key.as_str() == name);
    named.map(|attribute| attribute.value.clone())
}

fn text(value: &str) -> Option<Value> {
    Some(Value::String(value.to_owned().into()))
}

/// Everything that is told is short, however long what was said is.
fn assert_short(signals: &[Signal]) {
    let is_short = |attribute: &KeyValue| match &attribute.value {
        Value::String(text) => text.as_str().len() <= MAX_VALUE_BYTES,
        Value::Array(Array::String(texts)) => {
            texts.iter().all(|it| it.as_str().len() <= MAX_VALUE_BYTES)
        }
        _ => true,
    };
    for signal in signals {
        match signal {
            Signal::Span { span, .. } => {
                assert!(span.name.len() <= MAX_NAME_BYTES, "{}", span.name);
                let status = format!("{:?}", span.status);
                assert!(status.len() <= MAX_VALUE_BYTES + 64, "{status}");
                assert!(span.attributes.iter().all(is_short), "{span:?}");
                assert!(span.attributes.len() <= 128, "{span:?}");
            }
            Signal::Measurement { attributes, .. } => {
                assert!(attributes.iter().all(is_short), "{attributes:?}");
            }
        }
    }
}

#[test]
fn names_of_a_megabyte() {
    let long = "x".repeat(1 << 20);
    let asked = format!(r#"{{"model":"{long}","messages":[]}}"#);
    let answered = format!(r#"{{"id":"{long}","model":"{long}","error":{{"message":"{long}"}}}}"#);
    let wire = Wire::new(1)
        .sent(post(CHAT, "", asked.as_bytes()))
        .received(answer(500, JSON, answered.as_bytes()));
    let signals = signals_of(wire);
    assert_short(&signals);
    let model = told(&signals, "gen_ai.request.model").expect("it is told");
    assert!(model.as_str().starts_with("xxx"));
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":"{long}","method":"tools/call","params":{{"name":"{long}"}}}}"#
    );
    let wire = Wire::new(1)
        .sent(post("/mcp", "", call.as_bytes()))
        .received(answer(200, JSON, b"{}"));
    assert_short(&signals_of(wire));
    let target = format!("{CHAT}?{}", "y".repeat(60_000));
    let wire = Wire::new(1)
        .sent(post(&target, "", ASKED))
        .received(answer(200, JSON, ANSWERED));
    assert_short(&signals_of(wire));
}

#[test]
fn invalid_utf_8_and_keys_twice() {
    let asked = b"{\"model\":\"a\",\"model\":\"m\xff\xfe\xc3\",\"messages\":[]}";
    let wire = Wire::new(1)
        .sent(post(CHAT, "", asked))
        .received(answer(200, JSON, ANSWERED));
    let signals = signals_of(wire);
    let model = text("m\u{fffd}\u{fffd}\u{fffd}");
    assert_eq!(told(&signals, "gen_ai.request.model"), model);
    assert_eq!(told(&signals, "gen_ai.response.id"), text("1"));
}

#[test]
fn what_nests_deeply() {
    let (open, close) = ("[".repeat(500_000), "]".repeat(500_000));
    let asked = format!(r#"{{"messages":{open}{close},"model":"m"}}"#);
    let answered = format!(r#"{{"choices":{open}{close},"model":"m-1","id":"1"}}"#);
    let wire = Wire::new(1)
        .sent(post(CHAT, "", asked.as_bytes()))
        .received(answer(200, JSON, answered.as_bytes()));
    let signals = signals_of(wire);
    assert_eq!(told(&signals, "gen_ai.request.model"), text("m"));
    assert_eq!(told(&signals, "gen_ai.response.model"), text("m-1"));
}

#[test]
fn lines_of_data_without_end() {
    let lines = "data: {\"model\":\"m\"}\n".repeat(60_000);
    let events = format!("{lines}\ndata: {{\"id\":\"1\",\"model\":\"m-1\"}}\n\ndata: [DONE]\n\n");
    let wire = Wire::new(1).sent(post(CHAT, "", ASKED)).received(answer(
        200,
        "Content-Type: text/event-stream\r\n",
        events.as_bytes(),
    ));
    let signals = signals_of(wire);
    assert_short(&signals);
    assert_eq!(told(&signals, "gen_ai.response.model"), text("m-1"));
}

#[test]
fn a_bomb_costs_its_own_answer() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let piece = br#"{"model":"m-1","id":"1","x":""#;
    bomb.write_all(piece).expect("memory");
    for _ in 0..64 {
        bomb.write_all(&[b' '; 1 << 20]).expect("memory");
    }
    let bomb = bomb.finish().expect("memory");
    let headers = format!("{JSON}Content-Encoding: gzip\r\n");
    let wire = Wire::new(1)
        .sent(post(CHAT, "", ASKED))
        .received(answer(200, &headers, &bomb));
    let signals = signals_of(wire);
    assert_short(&signals);
    // What came before it was too much is known; how the exchange ended as well.
    assert_eq!(told(&signals, "gen_ai.response.model"), text("m-1"));
    let status = told(&signals, "http.response.status_code");
    assert_eq!(status, Some(Value::I64(200)));
}

/// Every place where traffic may say a secret.
#[test]
fn no_signal_has_a_secret() {
    const SHAPED: &str = "sk-proj-0123456789abcdefghijklmnop";
    let credentials = format!(
        "Authorization: Bearer in-the-field\r\nX-Api-Key: in-the-key\r\nCookie: a=in-the-cookie\r\n\
         Proxy-Authorization: Basic in-the-proxy\r\nUser-Agent: agent/1 ({SHAPED})\r\n"
    );
    let target = format!("http://user:in-the-url@model:8000{CHAT}?api_key=in-the-query&x={SHAPED}");
    let asked = format!(
        r#"{{"model":"m-{SHAPED}","user":"{SHAPED}","messages":[{{"role":"user","content":"in-the-prompt {SHAPED}"}}],"tools":[{{"type":"function","function":{{"name":"t","description":"in-the-tool"}}}}]}}"#
    );
    let refused = format!(
        r#"{{"error":{{"type":"{SHAPED}","message":"wrong key {SHAPED}, password=in-the-error"}}}}"#
    );
    let answered = format!(
        r#"{{"id":"{SHAPED}","model":"{SHAPED}","choices":[{{"message":{{"content":"in-the-answer {SHAPED}","tool_calls":[{{"id":"{SHAPED}","function":{{"name":"t","arguments":"{{\"a\":\"in-the-arguments\"}}"}}}}]}},"finish_reason":"{SHAPED}"}}]}}"#
    );
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":"{SHAPED}","method":"tools/call","params":{{"name":"{SHAPED}","arguments":{{"a":"in-the-arguments"}}}}}}"#
    );
    let result = format!(
        r#"{{"jsonrpc":"2.0","id":"{SHAPED}","error":{{"code":-32000,"message":"refused: {SHAPED}","data":"in-the-data"}}}}"#
    );
    let work = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":{{"contextId":"{SHAPED}","parts":[{{"text":"in-the-prompt"}}]}}}}}}"#
    );
    for ((target, asked), (status, answered)) in [
        ((&*target, &asked), (401, &refused)),
        ((&*target, &asked), (200, &answered)),
        ((CHAT, &asked), (200, &answered)),
        (("/mcp", &call), (200, &result)),
        (("/", &work), (200, &result)),
    ] {
        for is_client in [true, false] {
            let request = post(target, &credentials, asked.as_bytes());
            let set = format!("{JSON}Set-Cookie: in-the-cookie\r\nX-Token: in-the-token\r\n");
            let response = answer(status, &set, answered.as_bytes());
            let wire = match is_client {
                true => Wire::new(1).sent(request).received(response),
                false => Wire::new(1).received(request).sent(response),
            };
            let signals = signals_of(wire);
            assert!(!signals.is_empty());
            let all = format!("{signals:?}");
            let said = all.find("in-the-").or_else(|| all.find("0123456789abcdef"));
            if let Some(at) = said {
                let from = all.floor_char_boundary(at.saturating_sub(160));
                let to = all.floor_char_boundary(at + 60);
                panic!("client: {is_client}, {target}: …{}…", &all[from..to]);
            }
        }
    }
}
