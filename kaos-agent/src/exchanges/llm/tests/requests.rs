use super::*;

fn nothing(api: Api) -> ModelRequest {
    ModelRequest {
        api,
        model: None,
        stream: false,
        parameters: Parameters::default(),
        tools: Vec::new(),
        messages: 0,
        last_role: None,
        tool_results: Vec::new(),
        session_id: None,
    }
}

fn result(call_id: Option<&str>, name: Option<&str>, is_error: bool) -> ToolResult {
    ToolResult {
        call_id: call_id.map(str::to_owned),
        name: name.map(str::to_owned),
        is_error,
    }
}

#[test]
fn openai_chat() {
    let body = r#"{"messages":[{"role":"system","content":"You"},{"role":"user","content":[{"type":"text","text":"Hi"}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"call_0","type":"function","function":{"name":"old","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"call_0","content":"0"},
        {"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"add","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"call_1","content":"1"},{"role":"tool","content":"2","tool_call_id":"call_2","name":"sub"}],
        "model":"gpt-4o","max_completion_tokens":100,"temperature":0.5,"top_p":1,"n":2,"seed":42,
        "frequency_penalty":-0.25,"presence_penalty":0.0,"stop":["a"],"stream":true,"stream_options":{"include_usage":true},
        "tool_choice":"auto","tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"name":{"type":"string"}}}}},{"type":"function","function":{"name":"sub","strict":true}}],
        "session_id":"s-1","user":"u"}"#;
    assert_eq!(
        asked(CHAT, body),
        Some(ModelRequest {
            model: some("gpt-4o"),
            stream: true,
            parameters: Parameters {
                max_tokens: Some(100),
                temperature: Some(0.5),
                top_p: Some(1.0),
                top_k: None,
                frequency_penalty: Some(-0.25),
                presence_penalty: Some(0.0),
                seed: Some(42),
                choices: Some(2),
            },
            tools: vec!["add".into(), "sub".into()],
            messages: 7,
            last_role: some("tool"),
            tool_results: vec![
                result(Some("call_1"), None, false),
                result(Some("call_2"), Some("sub"), false),
            ],
            session_id: some("s-1"),
            ..nothing(Api::OpenAiChat)
        })
    );
}

#[test]
fn a_delegation_and_results_of_fenced_calls() {
    let body = r#"{"model": "researcher", "messages": [{"role": "user", "content": "Hi"}, {"role": "task-delegation", "content": "Find out"}], "stream": false}"#;
    let request = asked(CHAT, body).expect("a call");
    assert_eq!(
        (request.last_role, request.messages),
        (some("task-delegation"), 2)
    );
    for (text, is_error) in [
        ("Tool result: 4", false),
        ("Tool execution failed: no", true),
    ] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"Tool result: old"}},{{"role":"assistant","content":"x"}},{{"content":"{text}","role":"user"}}]}}"#
        );
        let request = asked(CHAT, &body).expect("a call");
        assert_eq!(
            request.tool_results,
            [result(None, None, is_error)],
            "{text}"
        );
    }
    let body = r#"{"messages":[{"role":"assistant","content":"Tool result: 4"},{"role":"user","content":"A tool result: 4"}]}"#;
    assert_eq!(asked(CHAT, body).expect("a call").tool_results, []);
}

#[test]
fn openai_responses() {
    let body = r#"{"model":"gpt-5","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"reasoning","summary":[]},{"type":"function_call","call_id":"call_1","name":"add","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"3"}],"instructions":"Be","max_output_tokens":50,"previous_response_id":"resp_0","stream":true,"tools":[{"type":"function","name":"add","parameters":{"name":{}}},{"type":"web_search"}]}"#;
    assert_eq!(
        asked("/v1/responses", body),
        Some(ModelRequest {
            model: some("gpt-5"),
            stream: true,
            parameters: Parameters {
                max_tokens: Some(50),
                ..Parameters::default()
            },
            tools: vec!["add".into()],
            messages: 4,
            tool_results: vec![result(Some("call_1"), None, false)],
            session_id: some("resp_0"),
            ..nothing(Api::OpenAiResponses)
        })
    );
    let request = asked(
        "/v1/responses",
        r#"{"model":"m","input":"Hi","conversation":{"id":"conv_1"}}"#,
    );
    assert_eq!(request.expect("a call").session_id, some("conv_1"));
}

#[test]
fn anthropic_messages() {
    let body = r#"{"max_tokens":1024,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"add","input":{}},{"type":"tool_use","id":"toolu_2","name":"sub","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"3"},{"type":"tool_result","tool_use_id":"toolu_2","content":[{"type":"text","text":"no"}],"is_error":true},{"type":"text","text":"go on"}]}],"model":"claude-sonnet-4-5","system":[{"type":"text","text":"You"}],"temperature":1.0,"top_k":40,"thinking":{"type":"enabled","budget_tokens":10000},"tools":[{"name":"add","input_schema":{"type":"object"}}],"stream":true,"metadata":{"user_id":"u"}}"#;
    assert_eq!(
        asked("/v1/messages", body),
        Some(ModelRequest {
            model: some("claude-sonnet-4-5"),
            stream: true,
            parameters: Parameters {
                max_tokens: Some(1024),
                temperature: Some(1.0),
                top_k: Some(40.0),
                ..Parameters::default()
            },
            tools: vec!["add".into()],
            messages: 3,
            last_role: some("user"),
            tool_results: vec![
                result(Some("toolu_1"), None, false),
                result(Some("toolu_2"), None, true),
            ],
            ..nothing(Api::AnthropicMessages)
        })
    );
}

#[test]
fn ollama() {
    let body = r#"{"model":"llama3.2","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"add","arguments":{}}}]},{"role":"tool","tool_name":"add","content":"3"}],"tools":[{"type":"function","function":{"name":"add","parameters":{}}}],"options":{"temperature":0.1,"top_k":20,"top_p":0.9,"num_predict":10,"seed":7,"stop":["x"]},"keep_alive":"5m"}"#;
    assert_eq!(
        asked("/api/chat", body),
        Some(ModelRequest {
            model: some("llama3.2"),
            stream: true,
            parameters: Parameters {
                max_tokens: Some(10),
                temperature: Some(0.1),
                top_p: Some(0.9),
                top_k: Some(20.0),
                seed: Some(7),
                ..Parameters::default()
            },
            tools: vec!["add".into()],
            messages: 3,
            last_role: some("tool"),
            tool_results: vec![result(None, Some("add"), false)],
            ..nothing(Api::OllamaChat)
        })
    );
    let request = asked(
        "/api/generate",
        r#"{"model":"m","prompt":"x","stream":false}"#,
    );
    let request = request.expect("a call");
    assert_eq!((request.api, request.stream), (Api::OllamaGenerate, false));
}

#[test]
fn bodies_with_a_gap() {
    let filler = "x".repeat(200_000);
    let head = r#"{"messages":[{"role":"tool","tool_call_id":"old","content":"1"},{"role":"user","content":""#;
    let tail = r#""},{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"add","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"1"}],"model":"m","stream":true,"tools":[{"type":"function","function":{"name":"add"}}]}"#;
    let length = head.len() + filler.len() + tail.len();
    let wire = Wire::new(1)
        .sent(format!("POST {CHAT} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{head}"))
        .moved(crate::capture::event::Direction::Sent, "", filler.len() as u64)
        .sent(tail)
        .received("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        request_of(&exchange(&wire.events)),
        Some(&ModelRequest {
            model: some("m"),
            stream: true,
            tools: vec!["add".into()],
            // The one that the gap is in, and with it the one before, are not counted.
            messages: 3,
            last_role: some("tool"),
            tool_results: vec![result(Some("call_1"), None, false)],
            ..nothing(Api::OpenAiChat)
        })
    );
}
