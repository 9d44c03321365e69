use super::*;

#[test]
fn by_the_path_and_the_body() {
    let chat = r#"{"model":"m","messages":[]}"#;
    for (path, body, expected) in [
        (CHAT, chat, Some(Api::OpenAiChat)),
        ("/chat/completions", chat, Some(Api::OpenAiChat)),
        (
            "/engines/gpt-4/chat/completions",
            chat,
            Some(Api::OpenAiChat),
        ),
        (
            "/openai/deployments/d/chat/completions?api-version=2024-10-21",
            chat,
            Some(Api::OpenAiChat),
        ),
        ("/v1/chat/completions/", chat, Some(Api::OpenAiChat)),
        (
            "http://api.openai.com/v1/chat/completions",
            chat,
            Some(Api::OpenAiChat),
        ),
        (
            "/v1/completions",
            r#"{"prompt":"x"}"#,
            Some(Api::OpenAiCompletions),
        ),
        (
            "/v1/embeddings",
            r#"{"input":["x",[1,2]],"model":"m"}"#,
            Some(Api::OpenAiEmbeddings),
        ),
        (
            "/v1/responses",
            r#"{"input":"x"}"#,
            Some(Api::OpenAiResponses),
        ),
        ("/anthropic/v1/messages", chat, Some(Api::AnthropicMessages)),
        ("/api/chat", chat, Some(Api::OllamaChat)),
        (
            "/api/embed",
            r#"{"model":"m","input":"x"}"#,
            Some(Api::OllamaEmbed),
        ),
        (
            "/api/embeddings",
            r#"{"model":"m","prompt":"x"}"#,
            Some(Api::OllamaEmbed),
        ),
        // Ollama's runners.
        ("/completion", r#"{"prompt":"x","stream":true}"#, None),
        ("/embedding", r#"{"content":"x"}"#, None),
        // Of other applications.
        ("/api/chat", r#"{"messages":[]}"#, None),
        ("/survey/responses", r#"{"answer":4}"#, None),
        ("/messages/?session_id=1", r#"{"jsonrpc":"2.0"}"#, None),
        ("/v1/messages", r#"{"text":"x"}"#, None),
        (CHAT, "", None),
        (CHAT, "[1]", None),
        (CHAT, "not JSON", None),
        ("/v1/models", chat, None),
    ] {
        assert_eq!(
            asked(path, body).map(|request| request.api),
            expected,
            "{path} {body}"
        );
    }
}

#[test]
fn models_in_the_path() {
    for (path, expected) in [
        (
            "/openai/deployments/gpt-4/chat/completions?api-version=1",
            some("gpt-4"),
        ),
        ("/engines/gpt-4/chat/completions", some("gpt-4")),
        (CHAT, None),
    ] {
        let request = asked(path, r#"{"messages":[]}"#).expect("a call");
        assert_eq!(request.model, expected, "{path}");
    }
    let request = asked(
        "/engines/a/chat/completions",
        r#"{"messages":[],"model":"b"}"#,
    );
    assert_eq!(request.expect("a call").model, some("b"));
}

#[test]
fn other_methods_and_content_types() {
    let body = r#"{"model":"m","prompt":"x"}"#;
    for (method, content_type, is_call) in [
        ("POST", "application/json", true),
        // As curl sends where it is not told otherwise.
        ("POST", "application/x-www-form-urlencoded", true),
        // Its body decides.
        ("POST", "text/plain", true),
        ("POST", "application/octet-stream", true),
        ("PUT", "application/json", false),
    ] {
        let length = body.len();
        let wire = Wire::new(1)
            .received(format!("{method} /api/generate HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"))
            .sent("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let exchange = exchange(&wire.events);
        assert_eq!(
            request_of(&exchange).is_some(),
            is_call,
            "{method} {content_type}"
        );
    }
}

#[test]
fn answers_of_any_content_type() {
    let whole = r#"{"id":"1","choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#;
    let stream = "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"x\"},\
                  \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for content_type in ["text/plain", JSON, EVENTS, "", "binary/octet-stream"] {
        for (body, count) in [(whole, None), (stream, Some(2))] {
            let wire = wire(CHAT, r#"{"messages":[]}"#, 200, content_type, &[body]);
            let exchange = exchange(&wire.events);
            let events = exchange.response.as_ref().and_then(|it| it.events);
            assert_eq!(events.map(|it| it.count), count, "{content_type:?} {body}");
            let reply = reply_of(exchange);
            assert_eq!(reply.id, some("1"), "{content_type:?} {body}");
            assert_eq!(reply.finish_reasons, ["stop"], "{content_type:?} {body}");
            assert!(reply.is_ended, "{content_type:?} {body}");
        }
    }
    let lines = "{\"message\":{\"content\":\"x\"},\"done\":false}\n\
                 {\"message\":{\"content\":\"y\"},\"done\":true,\"eval_count\":2}\n";
    for content_type in ["text/plain", JSON, "application/x-ndjson", ""] {
        let reply = answered("/api/chat", 200, content_type, &[lines]);
        assert_eq!((reply.content_pieces, reply.usage.output), (2, Some(2)));
        assert!(reply.is_ended, "{content_type:?}");
    }
}

#[test]
fn what_looks_like_nothing_means_nothing() {
    for body in ["hello", "<html>", "date: x"] {
        let wire = wire(CHAT, r#"{"messages":[]}"#, 200, "text/plain", &[body]);
        let reply = reply_of(exchange(&wire.events));
        assert_eq!((reply.id, reply.content_pieces), (None, 0), "{body}");
    }
}

#[test]
fn a_body_without_content_type_may_be_a_call() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let length = body.len();
    let wire = Wire::new(1)
        .received(format!(
            "POST {CHAT} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .sent("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let exchange = exchange(&wire.events);
    let request = request_of(&exchange).expect("a call");
    assert_eq!((request.model.as_deref(), request.messages), (Some("m"), 1));
}

#[test]
fn the_session_of_the_head_wins() {
    let body = r#"{"messages":[],"session_id":"body"}"#;
    let length = body.len();
    let wire = Wire::new(1)
        .received(format!("POST {CHAT} HTTP/1.1\r\nX-Session-ID: head\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"))
        .sent("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let exchange = exchange(&wire.events);
    let request = request_of(&exchange).expect("a call");
    assert_eq!(request.session_id, some("head"));
}
