use super::*;

const PATH: &str = "/v1/responses";

#[test]
fn a_response() {
    let body = r#"{"id":"resp_1","object":"response","created_at":1741476542,"status":"completed","error":null,"incomplete_details":null,"instructions":null,"model":"gpt-5","output":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Sorry, I encountered an error: no","annotations":[]}]},{"type":"function_call","id":"fc_1","call_id":"call_1","name":"get_weather","arguments":"{}"},{"type":"mcp_call","id":"mcp_1","name":"roll","server_label":"dice"}],"tools":[{"type":"function","name":"get_weather"}],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":4},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123},"metadata":{}}"#;
    assert_eq!(
        answered(PATH, 200, JSON, &[body]),
        ModelReply {
            id: some("resp_1"),
            model: some("gpt-5"),
            finish_reasons: vec!["completed".into()],
            usage: Usage {
                input: Some(36),
                output: Some(87),
                cache_read: Some(4),
                cache_creation: None,
                reasoning: Some(64),
            },
            // What the server calls itself is no call of the client's.
            tool_calls: vec![call(Some("call_1"), "get_weather", CallStyle::Native)],
            notice: Some(Notice::Failed),
            is_ended: true,
            ..ModelReply::default()
        }
    );
}

#[test]
fn a_response_in_events() {
    let events = [
        (
            "response.created",
            r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress","model":"gpt-5","output":[],"usage":null}}"#,
        ),
        (
            "response.output_item.added",
            r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[]}}"#,
        ),
        (
            "response.output_text.delta",
            r#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"Reached maximum reasoning "}"#,
        ),
        (
            "response.output_text.delta",
            r#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"steps (5)"}"#,
        ),
        (
            "response.output_text.done",
            r#"{"type":"response.output_text.done","text":"Reached maximum reasoning steps (5)"}"#,
        ),
        (
            "response.output_item.added",
            r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"add","arguments":""}}"#,
        ),
        (
            "response.function_call_arguments.delta",
            r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","delta":"{}"}"#,
        ),
        (
            "response.output_item.done",
            r#"{"type":"response.output_item.done","item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"add","arguments":"{}"}}"#,
        ),
        (
            "response.completed",
            r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","model":"gpt-5","output":[{"type":"message","content":[{"type":"output_text","text":"x"}]},{"type":"function_call","call_id":"call_1","name":"add","arguments":"{}"}],"usage":{"input_tokens":3,"output_tokens":4,"output_tokens_details":{"reasoning_tokens":0}}}}"#,
        ),
    ];
    let pieces = events.map(|(event, data)| format!("event: {event}\ndata: {data}\n\n"));
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(
        answered(PATH, 200, EVENTS, &pieces),
        ModelReply {
            id: some("resp_1"),
            model: some("gpt-5"),
            finish_reasons: vec!["completed".into()],
            usage: Usage {
                input: Some(3),
                output: Some(4),
                reasoning: Some(0),
                ..Usage::default()
            },
            tool_calls: vec![call(Some("call_1"), "add", CallStyle::Native)],
            first_content_at: Some(at(2)),
            last_content_at: Some(at(6)),
            content_pieces: 4,
            notice: Some(Notice::MaxSteps),
            is_ended: true,
            ..ModelReply::default()
        }
    );
}

#[test]
fn responses_that_fail() {
    let failed = r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"server_error","message":"The model failed"},"output":[]}}"#;
    let reply = answered_by_events(PATH, &[failed]);
    let error = ReplyError {
        kind: some("server_error"),
        message: some("The model failed"),
    };
    assert_eq!((reply.error, reply.is_ended), (Some(error), true));
    assert_eq!(reply.finish_reasons, ["failed"]);
    let event =
        r#"{"type":"error","code":"ERR_SOMETHING","message":"Something went wrong","param":null}"#;
    let reply = answered_by_events(PATH, &[event]);
    let error = ReplyError {
        kind: some("ERR_SOMETHING"),
        message: some("Something went wrong"),
    };
    assert_eq!((reply.error, reply.is_ended), (Some(error), false));
    let incomplete = r#"{"id":"r","status":"incomplete","error":null,"incomplete_details":{"reason":"max_output_tokens"},"output":[]}"#;
    let reply = answered(PATH, 200, JSON, &[incomplete]);
    assert_eq!(
        (reply.finish_reasons, reply.error),
        (vec!["max_output_tokens".into()], None)
    );
}
