use super::*;

#[test]
fn a_chat_in_lines() {
    let pieces = [
        "{\"model\":\"llama3.2\",\"created_at\":\"2026-08-04T08:52:19.385406455Z\",\"message\":{\"role\":\"assistant\",\"content\":\"The\"},\"done\":false}\n",
        "{\"model\":\"llama3.2\",\"created_at\":\"2026-08-04T08:52:19.4Z\",\"message\":{\"role\":\"assistant\",\"content\":\" sky\"},\"done\":false}\n{\"model\":\"llama3.2\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"add\",\"arguments\":{\"name\":\"no\"}}},{\"function\":{\"name\":\"add\",\"arguments\":{}}}]},\"done\":false}\n",
        "{\"model\":\"llama3.2\",\"created_at\":\"2026-08-04T19:22:45.499127Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"total_duration\":4883583458,\"load_duration\":1334875,\"prompt_eval_count\":26,\"prompt_eval_duration\":342546000,\"eval_count\":282,\"eval_duration\":4535599000}\n",
    ];
    assert_eq!(
        answered("/api/chat", 200, LINES, &pieces),
        ModelReply {
            model: some("llama3.2"),
            finish_reasons: vec!["stop".into()],
            usage: Usage {
                input: Some(26),
                output: Some(282),
                ..Usage::default()
            },
            durations: Durations {
                total: Some(4_883_583_458),
                load: Some(1_334_875),
                input: Some(342_546_000),
                output: Some(4_535_599_000),
            },
            tool_calls: vec![
                call(None, "add", CallStyle::Native),
                call(None, "add", CallStyle::Native),
            ],
            first_content_at: Some(at(0)),
            last_content_at: Some(at(1)),
            content_pieces: 3,
            is_ended: true,
            ..ModelReply::default()
        }
    );
    let reply = answered("/api/chat", 200, LINES, &pieces[..2]);
    assert!(!reply.is_ended, "the last line is missing");
}

#[test]
fn what_is_not_streamed() {
    let body = r#"{"model":"m","created_at":"2026-08-04T19:22:45Z","response":"Hello","thinking":"hm","done":true,"done_reason":"length","context":[1,2,3],"total_duration":5,"prompt_eval_count":2,"eval_count":3}"#;
    let reply = answered(
        "/api/generate",
        200,
        "application/json; charset=utf-8",
        &[body],
    );
    assert_eq!(reply.finish_reasons, ["length"]);
    assert_eq!((reply.usage.input, reply.usage.output), (Some(2), Some(3)));
    assert_eq!((reply.first_content_at, reply.content_pieces), (None, 0));
    let body = r#"{"model":"m","embeddings":[[0.1,0.2],[0.3]],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}"#;
    let reply = answered("/api/embed", 200, JSON, &[body]);
    assert_eq!((reply.usage.input, reply.is_ended), (Some(8), true));
}

#[test]
fn errors() {
    let body = r#"{"error":"model \"x\" not found, try pulling it first"}"#;
    let reply = answered("/api/chat", 404, JSON, &[body]);
    let message = reply.error.and_then(|error| error.message);
    assert_eq!(message, some("model \"x\" not found, try pulling it first"));
    let pieces = [
        "{\"message\":{\"content\":\"a\"},\"done\":false}\n",
        "{\"error\":\"llama runner process no longer running\"}\n",
    ];
    let reply = answered("/api/chat", 200, LINES, &pieces);
    let message = reply.error.and_then(|error| error.message);
    assert_eq!(message, some("llama runner process no longer running"));
    assert!(!reply.is_ended);
}
