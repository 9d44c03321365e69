use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::exchanges::exchange::Response;
use crate::protocols::part::{Body, ServerSentEvent};
use crate::streams::chunk::Actor;

fn response(status: u16, content_type: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    Response {
        actor: Actor {
            pid: 1,
            tid: 1,
            label: crate::capture::event::Label::Unknown,
        },
        at: 1,
        status,
        headers,
        body: Body::default(),
        first_body_at: None,
        events: None,
    }
}

fn reader(api: &str, content_type: &'static str) -> ReplyReader {
    let request = asked(api, r#"{"model":"m","messages":[],"input":"x"}"#).expect("a call");
    ReplyReader::of(&request, &response(200, content_type))
}

fn reply(reader: ReplyReader) -> ModelReply {
    match reader.finish(true) {
        Reply::Model(reply) => *reply,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gigabyte_of_text() {
    let mut reader = reader(CHAT, JSON);
    reader.bytes(br#"{"choices":[{"index":0,"message":{"content":""#, 1);
    let chunk = format!("{}\\n", "x".repeat(1 << 20));
    for _ in 0..1024 {
        reader.bytes(chunk.as_bytes(), 1);
    }
    assert!(format!("{reader:?}").len() < 4096, "nothing of it is kept");
    reader.bytes(br#""},"finish_reason":"stop"}],"model":"m"}"#, 1);
    let reply = reply(reader);
    assert_eq!(
        (reply.model, reply.finish_reasons),
        (some("m"), vec!["stop".into()])
    );
}

#[test]
fn long_names_are_cut() {
    let long = "é".repeat(1 << 19);
    let cut = some(&"é".repeat(MOST_NAME / 2));
    let request = asked(CHAT, &format!(r#"{{"model":"{long}","messages":[]}}"#));
    assert_eq!(request.expect("a call").model, cut);
    let reply = answered(
        CHAT,
        200,
        JSON,
        &[&format!(r#"{{"id":"{long}","model":"m"}}"#)],
    );
    assert_eq!((reply.id, reply.model), (cut, some("m")));
}

#[test]
fn only_so_many_are_kept() {
    let tools = r#"{"function":{"name":"a"}},"#.repeat(10_000);
    let results = r#"{"role":"tool","tool_call_id":"a"},"#.repeat(10_000);
    let body = format!(r#"{{"tools":[{tools}],"messages":[{results}]}}"#);
    let request = asked(CHAT, &body).expect("a call");
    assert_eq!(request.tools.len(), MOST_TOOLS);
    assert_eq!(request.tool_results.len(), MOST_TOOLS);
    assert_eq!(request.messages, 10_000);
    let calls: String = (0..10_000)
        .map(|number| format!(r#"{{"id":"{number}","function":{{"name":"a"}}}},"#))
        .collect();
    let choice = format!(r#"{{"message":{{"tool_calls":[{calls}]}},"finish_reason":"a"}},"#);
    let body = format!(r#"{{"choices":[{}]}}"#, choice.repeat(200));
    let reply = answered(CHAT, 200, JSON, &[&body]);
    assert_eq!(reply.tool_calls.len(), MOST_TOOLS);
    assert_eq!(reply.finish_reasons.len(), MOST_CHOICES);
}

#[test]
fn ids_of_every_type_and_keys_twice() {
    for (value, expected) in [
        ("\"a\"", some("a")),
        ("17", some("17")),
        ("null", None),
        ("true", None),
        ("[1]", None),
        ("{\"id\": 2}", None),
        ("\"\"", None),
        ("\"a\", \"id\": \"b\"", some("b")),
    ] {
        let reply = answered(
            CHAT,
            200,
            JSON,
            &[&format!(r#"{{"id":{value},"model":"m"}}"#)],
        );
        assert_eq!((reply.id, reply.model), (expected, some("m")), "{value}");
    }
    let usage =
        r#"{"usage":{"prompt_tokens":-1,"completion_tokens":1e300,"prompt_tokens_details":"x"}}"#;
    assert_eq!(answered(CHAT, 200, JSON, &[usage]).usage, Usage::default());
}

#[test]
fn a_megabyte_of_data_lines() {
    let lines = "data: {\"model\":\"m\"}\n".repeat(60_000);
    let reply = answered(
        CHAT,
        200,
        EVENTS,
        &[&lines, "\n", "data: {\"id\":\"1\"}\n\n"],
    );
    assert_eq!(reply.id, some("1"), "the next event is read");
    let empty = "data: \n\n".repeat(10_000);
    let reply = answered(CHAT, 200, EVENTS, &[&empty, "data: {\"id\":\"1\"}\n\n"]);
    assert_eq!((reply.id, reply.content_pieces), (some("1"), 0));
}

#[test]
fn after_a_gap() {
    let mut stream = reader(CHAT, EVENTS);
    let event = |data: &'static str| ServerSentEvent {
        data: data.into(),
        ..ServerSentEvent::default()
    };
    stream.event(
        &event(r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#),
        5,
    );
    stream.gap();
    stream.event(&event(r#"{"choices":[],"usage":{"prompt_tokens":3}}"#), 9);
    let whole = reply(stream);
    assert!(whole.is_ended, "its mark may have been in the gap");
    assert_eq!(
        (whole.first_content_at, whole.usage.input),
        (Some(5), Some(3))
    );

    let mut json = reader(CHAT, JSON);
    json.bytes(
        br#"{"id":"1","choices":[{"index":0,"message":{"content":"so "#,
        1,
    );
    json.gap();
    json.bytes(br#"on","tool_calls":[{"id":"c","function":{"name":"add","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"model":"m","usage":{"completion_tokens":3}}"#, 1);
    let whole = reply(json);
    assert_eq!((whole.id, whole.model), (some("1"), some("m")));
    assert_eq!(whole.finish_reasons, ["tool_calls"]);
    assert_eq!(
        whole.tool_calls,
        [call(Some("c"), "add", CallStyle::Native)]
    );
    assert_eq!(whole.usage.output, Some(3));
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            r#"([{}\[\]",:]|choices|index|delta|content|id|error|type|```|tool_call\n|done|true|7|\\){0,20}"#
                .prop_map(String::into_bytes),
        ], 0..12),
        gap in 0_usize..12,
    ) {
        let request = asked(CHAT, r#"{"messages":[]}"#).expect("a call");
        for (path, content_type) in [
            (CHAT, JSON), (CHAT, EVENTS), ("/v1/responses", JSON), ("/v1/messages", EVENTS), ("/api/chat", LINES),
        ] {
            let request = ModelRequest { api: asked(path, r#"{"model":"m","messages":[],"input":[]}"#).map_or(Api::OpenAiChat, |request| request.api), ..request.clone() };
            let mut reader = ReplyReader::of(&request, &response(500, content_type));
            for (number, piece) in pieces.iter().enumerate() {
                if number == gap {
                    reader.gap();
                }
                if content_type == EVENTS {
                    let event = ServerSentEvent { data: piece.clone().into(), ..ServerSentEvent::default() };
                    reader.event(&event, 1);
                } else {
                    reader.bytes(piece, 1);
                }
            }
            reply(reader);
        }
    }
}
