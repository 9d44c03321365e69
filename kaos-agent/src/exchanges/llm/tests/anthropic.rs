use super::*;

const PATH: &str = "/v1/messages";

#[test]
fn a_message() {
    let body = r#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"thinking","thinking":"Let me see","signature":"Eq=="},{"type":"text","text":"I will look."},{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x"}},{"type":"tool_use","id":"toolu_01","name":"get_weather","input":{"name":"no","location":"SF"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"output_tokens":89,"service_tier":"standard"}}"#;
    assert_eq!(
        answered(PATH, 200, JSON, &[body]),
        ModelReply {
            id: some("msg_01"),
            model: some("claude-sonnet-4-5"),
            finish_reasons: vec!["tool_use".into()],
            usage: Usage {
                input: Some(330),
                output: Some(89),
                cache_read: Some(300),
                cache_creation: Some(20),
                reasoning: None,
            },
            tool_calls: vec![call(Some("toolu_01"), "get_weather", CallStyle::Native)],
            is_ended: true,
            ..ModelReply::default()
        }
    );
}

#[test]
fn a_message_in_events() {
    let events = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude-opus-4-1","stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":1}}}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        ),
        ("ping", r#"{"type":"ping"}"#),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Eq"}}"#,
        ),
        (
            "content_block_stop",
            r#"{"type":"content_block_stop","index":0}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hello"}}"#,
        ),
        (
            "content_block_stop",
            r#"{"type":"content_block_stop","index":1}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"add","input":{}}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\": 1}"}}"#,
        ),
        (
            "content_block_stop",
            r#"{"type":"content_block_stop","index":2}"#,
        ),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":15}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let pieces = events.map(|(event, data)| format!("event: {event}\ndata: {data}\n\n"));
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(
        answered(PATH, 200, EVENTS, &pieces),
        ModelReply {
            id: some("msg_1"),
            model: some("claude-opus-4-1"),
            finish_reasons: vec!["tool_use".into()],
            usage: Usage {
                input: Some(30),
                output: Some(15),
                cache_read: Some(5),
                cache_creation: Some(0),
                reasoning: None,
            },
            tool_calls: vec![call(Some("toolu_1"), "add", CallStyle::Native)],
            first_content_at: Some(at(3)),
            last_content_at: Some(at(11)),
            content_pieces: 4,
            is_ended: true,
            ..ModelReply::default()
        }
    );
}

#[test]
fn messages_that_fail() {
    let error = ReplyError {
        kind: some("overloaded_error"),
        message: some("Overloaded"),
    };
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let reply = answered(PATH, 529, JSON, &[body]);
    assert_eq!(reply.error, Some(error.clone()));
    let reply = answered(
        PATH,
        200,
        EVENTS,
        &[&format!("event: error\ndata: {body}\n\n")],
    );
    assert_eq!((reply.error, reply.is_ended), (Some(error), false));
}
