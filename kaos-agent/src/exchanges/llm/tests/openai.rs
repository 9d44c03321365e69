use super::*;

#[test]
fn a_chat_completion() {
    let body = r#"{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-4.1-2025-04-14",
  "choices": [
    {
      "index": 0,
      "message": {
        "role": "assistant",
        "content": "Hello! How can I assist you today?",
        "refusal": null,
        "annotations": []
      },
      "logprobs": {"content": [{"token": "Hello", "logprob": -0.3, "top_logprobs": []}]},
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 7, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0}
  },
  "service_tier": "default"
}"#;
    assert_eq!(
        answered(CHAT, 200, JSON, &[body]),
        ModelReply {
            id: some("chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"),
            model: some("gpt-4.1-2025-04-14"),
            finish_reasons: vec!["stop".into()],
            usage: Usage {
                input: Some(19),
                output: Some(10),
                cache_read: Some(7),
                cache_creation: None,
                reasoning: Some(3),
            },
            is_ended: true,
            ..ModelReply::default()
        }
    );
}

#[test]
fn tool_calls_of_a_chat_completion() {
    let body = r#"{"id":"c1","model":"m","choices":[{"finish_reason":"tool_calls","index":0,"message":{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\"a\": \"}]\"}","name":"add"},"id":"call_1","type":"function"},{"function":{"arguments":"{}","name":"add"},"id":"call_2","type":"function"}],"function_call":null}}],"usage":{"completion_tokens":5,"prompt_tokens":4}}"#;
    let reply = answered(CHAT, 200, JSON, &[body]);
    let calls = [
        call(Some("call_1"), "add", CallStyle::Native),
        call(Some("call_2"), "add", CallStyle::Native),
    ];
    assert_eq!(reply.tool_calls, calls);
    assert_eq!(reply.finish_reasons, ["tool_calls"]);
    // The older form.
    let body = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":null,"function_call":{"name":"add","arguments":"{}"}},"finish_reason":"function_call"}]}"#;
    let reply = answered(CHAT, 200, JSON, &[body]);
    assert_eq!(reply.tool_calls, [call(None, "add", CallStyle::Native)]);
}

#[test]
fn a_chat_completion_in_events() {
    let chunk = |choices: &str, usage: &str| {
        format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","system_fingerprint":"fp","choices":[{choices}],"usage":{usage}}}"#
        )
    };
    let data = [
        // Azure's, of filters.
        chunk("", "null"),
        chunk(
            r#"{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}"#,
            "null",
        ),
        chunk(
            r#"{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}"#,
            "null",
        ),
        chunk(
            r#"{"index":0,"delta":{"content":"lo"},"logprobs":null,"finish_reason":null}"#,
            "null",
        ),
        chunk(
            r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}"#,
            "null",
        ),
        chunk(
            "",
            r#"{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#,
        ),
        "[DONE]".into(),
    ];
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    assert_eq!(
        answered_by_events(CHAT, &data),
        ModelReply {
            id: some("chatcmpl-1"),
            model: some("gpt-4o-mini"),
            finish_reasons: vec!["stop".into()],
            usage: Usage {
                input: Some(9),
                output: Some(2),
                ..Usage::default()
            },
            first_content_at: Some(at(2)),
            last_content_at: Some(at(3)),
            content_pieces: 2,
            is_ended: true,
            ..ModelReply::default()
        }
    );
    let reply = answered_by_events(CHAT, &data[..4]);
    assert_eq!(
        (reply.is_ended, reply.content_pieces),
        (false, 2),
        "it has no end"
    );
}

#[test]
fn tool_calls_in_events() {
    let delta = |calls: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{calls}]}},"finish_reason":null}}]}}"#
        )
    };
    let data = [
        delta(
            r#"{"index":0,"id":"call_a","type":"function","function":{"name":"add","arguments":""}}"#,
        ),
        delta(r#"{"index":0,"function":{"arguments":"{\"a\""}}"#),
        delta(
            r#"{"index":1,"id":"call_b","type":"function","function":{"name":"add","arguments":""}}"#,
        ),
        // As some gateways repeat themselves.
        delta(
            r#"{"index":1,"id":"call_b","type":"function","function":{"name":"add","arguments":"{}"}}"#,
        ),
        delta(r#"{"index":0,"id":"","function":{"name":"","arguments":":1}"}}"#),
        // As others number all of them 0.
        delta(
            r#"{"index":0,"id":"call_c","type":"function","function":{"name":"sub","arguments":"{}"}}"#,
        ),
    ];
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let reply = answered_by_events(CHAT, &data);
    let calls = [
        call(Some("call_a"), "add", CallStyle::Native),
        call(Some("call_b"), "add", CallStyle::Native),
        call(Some("call_c"), "sub", CallStyle::Native),
    ];
    assert_eq!(reply.tool_calls, calls);
    assert_eq!(reply.first_content_at, Some(at(0)));
    assert_eq!(reply.content_pieces, 6);
}

#[test]
fn several_choices() {
    let body = r#"{"choices":[{"finish_reason":"length","index":1,"message":{"content":"b"}},{"finish_reason":"stop","message":{"content":"Sorry, I encountered an error"},"index":0}]}"#;
    let reply = answered(CHAT, 200, JSON, &[body]);
    assert_eq!(reply.finish_reasons, ["stop", "length"]);
    let data = [
        r#"{"choices":[{"index":1,"delta":{"content":"Sorry, I encountered an error"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"x"}}]}"#,
        r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#,
    ];
    let reply = answered_by_events(CHAT, &data);
    assert_eq!(reply.finish_reasons, ["length", "stop"]);
    assert_eq!(
        reply.notice, None,
        "only the first choice is an agent's answer"
    );
}

#[test]
fn reasoning_is_content() {
    for name in ["reasoning_content", "reasoning"] {
        let data = format!(r#"{{"choices":[{{"index":0,"delta":{{"{name}":"hm"}}}}]}}"#);
        let reply = answered_by_events(CHAT, &[&data]);
        assert_eq!(reply.first_content_at, Some(at(0)), "{name}");
    }
}

#[test]
fn errors() {
    for (status, body, kind, message) in [
        (
            429,
            r#"{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
            some("requests"),
            some("Rate limit reached"),
        ),
        (
            500,
            r#"{"error":{"message":"litellm.InternalServerError: boom","type":null,"param":null,"code":"500"}}"#,
            some("500"),
            some("litellm.InternalServerError: boom"),
        ),
        (400, r#"{"error":"bad","code":7}"#, some("7"), some("bad")),
        (
            422,
            r#"{"detail":"no such agent"}"#,
            None,
            some("no such agent"),
        ),
        (
            404,
            r#"{"object":"error","message":"no model","type":"NotFoundError","code":404}"#,
            some("404"),
            some("no model"),
        ),
    ] {
        let reply = answered(CHAT, status, JSON, &[body]);
        assert_eq!(reply.error, Some(ReplyError { kind, message }), "{body}");
    }
    // Behind a 200.
    let reply = answered(
        CHAT,
        200,
        JSON,
        &[r#"{"error":{"message":"no","code":null}}"#],
    );
    assert_eq!(reply.error.and_then(|error| error.message), some("no"));
    let reply = answered(CHAT, 200, JSON, &[r#"{"error":null,"message":"fine"}"#]);
    assert_eq!(reply.error, None);
    let reply = answered(CHAT, 502, "text/html", &["<h1>Bad gateway</h1>"]);
    assert_eq!(reply.error, None, "not JSON");
    let data = [
        r#"{"choices":[{"index":0,"delta":{"content":"so"}}]}"#,
        r#"{"error":{"message":"upstream went away","type":"server_error"}}"#,
        "[DONE]",
    ];
    let reply = answered_by_events(CHAT, &data);
    let error = ReplyError {
        kind: some("server_error"),
        message: some("upstream went away"),
    };
    assert_eq!((reply.error, reply.is_ended), (Some(error), true));
}

#[test]
fn completions() {
    let path = "/v1/completions";
    let body = r#"{"id":"cmpl-1","object":"text_completion","model":"m","choices":[{"text":"hi","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#;
    let reply = answered(path, 200, JSON, &[body]);
    assert_eq!(reply.finish_reasons, ["length"]);
    assert_eq!((reply.usage.input, reply.usage.output), (Some(5), Some(7)));
    let reply = answered_by_events(
        path,
        &[
            r#"{"choices":[{"text":"h","index":0,"finish_reason":null}]}"#,
            "[DONE]",
        ],
    );
    assert_eq!(
        (reply.first_content_at, reply.is_ended),
        (Some(at(0)), true)
    );
}

#[test]
fn embeddings() {
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023,-0.009]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let reply = answered("/v1/embeddings", 200, JSON, &[body]);
    assert_eq!(reply.model, some("text-embedding-3-small"));
    assert_eq!(reply.usage.input, Some(8));
}
