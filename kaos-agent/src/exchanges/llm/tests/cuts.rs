use proptest::prelude::*;

use super::*;
use crate::streams::testing::cut;

/// Exchanges of all dialects, with characters of several bytes, escapes, and fences.
fn wires() -> Vec<Wire> {
    let chat = r#"{"model":"gé-4","messages":[{"role":"user","content":"Zahl \ud83d\ude00 é"},{"role":"tool","tool_call_id":"c\u00e9","content":"Tool result: 1"}],"tools":[{"type":"function","function":{"name":"größe"}}],"temperature":-1.5e-1}"#;
    let text = r#"I will 😀.\n```tool_call\n{\"tool\": \"größe\"}\n```"#;
    let chunk = |delta: &str| {
        format!("data: {{\"id\":\"é\",\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\r\n\r\n")
    };
    let stream = [
        chunk(r#"{"role":"assistant"}"#),
        chunk(&format!(r#"{{"content":"{text}"}}"#)),
        chunk(
            r#"{"tool_calls":[{"index":0,"id":"c1","function":{"name":"größe","arguments":""}}]}"#,
        ),
        ": ping\n\ndata: [DONE]\n\n".to_owned(),
    ];
    let whole = format!(
        r#"{{"choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":12,"completion_tokens":3}}}}"#
    );
    let message = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"größe\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let lines =
        "{\"message\":{\"content\":\"é\"},\"done\":false}\n{\"done\":true,\"eval_count\":12}\n";
    let stream: Vec<&str> = stream.iter().map(String::as_str).collect();
    vec![
        wire(CHAT, chat, 200, EVENTS, &stream),
        wire(CHAT, chat, 200, JSON, &[&whole]),
        wire("/v1/messages", chat, 200, EVENTS, &[message]),
        wire("/api/chat", chat, 200, LINES, &[lines]),
        wire(CHAT, chat, 500, JSON, &[r#"{"error":{"message":"nö"}}"#]),
    ]
}

fn meaning(events: &[Event]) -> String {
    let exchange = exchange(events);
    format!("{:?} {:?}", exchange.operation, exchange.reply)
}

proptest! {
    #[test]
    fn cuts_do_not_matter(offsets in prop::collection::vec(prop::collection::vec(any::<usize>(), 0..8), 1..6)) {
        for wire in wires() {
            let offsets = offsets.iter().cycle();
            let cut: Vec<Event> =
                wire.events.iter().zip(offsets).flat_map(|(event, offsets)| cut(event, offsets)).collect();
            prop_assert_eq!(meaning(&cut), meaning(&wire.events));
        }
    }
}

#[test]
fn every_byte_by_itself() {
    for wire in wires() {
        let every: Vec<usize> = (0..4_000).collect();
        let cut: Vec<Event> = wire
            .events
            .iter()
            .flat_map(|event| cut(event, &every))
            .collect();
        assert_eq!(meaning(&cut), meaning(&wire.events));
    }
}
