//! The Agent2Agent protocol, in the words of its versions 0.2, 0.3 and 1.0 and of KAOS's agents.

use super::*;

#[test]
fn kaos_agents_delegate() {
    let request = r#"{"jsonrpc":"2.0","method":"SendMessage","id":1,"params":{"message":{"role":"user","parts":[{"type":"text","text":"hi"}],"metadata":{"delegation":true}}}}"#;
    let request = post("/", "", request);
    let asked = "a2a Send SendMessage#1; delegation";
    for (reply, answered) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t1","sessionId":"s1","status":{"state":"completed","timestamp":"2026"},"history":[{"role":"user","parts":[{"type":"text","text":"hi"}]}],"artifacts":[{"parts":[{"type":"text","text":"hello"}]}],"metadata":{"id":"no"},"events":[{"id":"e1","type":"task.submitted"}],"autonomous":false,"output":"hello"}}"#,
            "completed; task t1; context s1",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"id":"t1","sessionId":"s1","status":{"state":"failed","message":"boom"}}}"#,
            "failed; task t1; context s1",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Missing required 'message' parameter","data":null}}"#,
            "error -32602 (Missing required 'message' parameter)",
        ),
    ] {
        assert_eq!(
            meaning(&request, &json(200, "", reply)),
            format!("{asked} -> {answered}")
        );
    }
}

#[test]
fn texts_may_tell_of_failures() {
    let request = post(
        "/",
        "",
        r#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{}}"#,
    );
    for result in [
        r#"{"output":"TEXT"}"#,
        r#"{"artifacts":[{"parts":[{"text":"TEXT"}]}],"output":"TEXT"}"#,
        r#"{"status":{"message":"TEXT"}}"#,
        r#"{"task":{"status":{"message":{"parts":[{"text":"TEXT"}]}}}}"#,
        r#"{"message":{"parts":[{"text":"well"},{"text":"TEXT"}]}}"#,
        r#"{"parts":[{"text":"TEXT"}]}"#,
        r#"{"artifactUpdate":{"artifact":{"parts":[{"text":"TEXT"}]}}}"#,
    ] {
        let text = format!("Sorry, I encountered an error: {}", "x".repeat(2_000));
        let result = result.replace("TEXT", &text);
        let reply = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert_eq!(
            meaning(&request, &json(200, "", &reply)),
            "a2a Send SendMessage#1 -> Failed",
            "{result}"
        );
    }
    let quoted = r#"{"jsonrpc":"2.0","id":1,"result":{"history":[{"parts":[{"text":"Sorry, I encountered an error"}]}]}}"#;
    assert_eq!(
        meaning(&request, &json(200, "", quoted)),
        "a2a Send SendMessage#1 -> "
    );
}

#[test]
fn tasks_and_messages_may_be_named_by_their_kind() {
    let request = r#"{"jsonrpc":"2.0","id":"a","method":"SendMessage","params":{"tenant":"x","message":{"messageId":"m","contextId":"c0","taskId":"t0","role":"ROLE_USER","parts":[{"text":"hi"}]}}}"#;
    for (reply, answered) in [
        (
            r#"{"jsonrpc":"2.0","id":"a","result":{"task":{"id":"t0","contextId":"c0","status":{"state":"TASK_STATE_INPUT_REQUIRED","message":{"messageId":"n","taskId":"no","contextId":"no"}},"artifacts":[{"artifactId":"x","id":"no"}]}}}"#,
            "input-required; task t0; context c0",
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","result":{"message":{"messageId":"n","contextId":"c0","role":"ROLE_AGENT","parts":[{"text":"hello"}]}}}"#,
            "context c0",
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","result":{"kind":"message","messageId":"n","contextId":"c0","taskId":"t0","parts":[{"kind":"text","text":"hello"}]}}"#,
            "task t0; context c0",
        ),
    ] {
        assert_eq!(
            meaning(&post("/", "", request), &json(200, "", reply)),
            format!("a2a Send SendMessage#a; context c0; task t0 -> {answered}")
        );
    }
}

#[test]
fn streams_tell_how_a_task_goes_on() {
    let old = [
        r#"{"jsonrpc":"2.0","id":2,"result":{"kind":"task","id":"t1","contextId":"c1","status":{"state":"submitted"}}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"kind":"status-update","taskId":"t1","contextId":"c1","status":{"state":"working"},"final":false}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"kind":"artifact-update","taskId":"t1","contextId":"c1","artifact":{"parts":[{"kind":"text","text":"hello"}]}}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"kind":"status-update","taskId":"t1","contextId":"c1","status":{"state":"failed"},"final":true}}"#,
    ];
    let new = [
        r#"{"jsonrpc":"2.0","id":2,"result":{"task":{"id":"t1","contextId":"c1","status":{"state":"TASK_STATE_SUBMITTED"}}}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"artifactUpdate":{"taskId":"t1","contextId":"c1","artifact":{"parts":[{"text":"hello"}]}}}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"statusUpdate":{"taskId":"t1","contextId":"c1","status":{"state":"TASK_STATE_FAILED"}}}}"#,
    ];
    for (method, messages) in [
        ("message/stream", &old[..]),
        ("tasks/sendSubscribe", &old[..]),
        ("SendStreamingMessage", &new[..]),
    ] {
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"{method}","params":{{"message":{{"parts":[]}}}}}}"#
        );
        let events: Vec<String> = messages.iter().map(|data| message(data)).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        assert_eq!(
            meaning(&post("/", "", &request), &stream("", &events)),
            format!("a2a Send {method}#2 -> failed; task t1; context c1")
        );
    }
}

#[test]
fn states_have_many_spellings() {
    let request = post(
        "/",
        "",
        r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"t1"}}"#,
    );
    for (spelling, state) in [
        ("TASK_STATE_CANCELLED", "canceled"),
        ("cancelled", "canceled"),
        ("canceled", "canceled"),
        ("input_required", "input-required"),
        ("TASK_STATE_AUTH_REQUIRED", "auth-required"),
        ("Rejected", "rejected"),
    ] {
        let reply = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"id":"t1","status":{{"state":"{spelling}"}}}}}}"#
        );
        assert_eq!(
            meaning(&request, &json(200, "", &reply)),
            format!("a2a Other GetTask#1; task t1 -> {state}; task t1")
        );
    }
}

#[test]
fn the_states_of_listed_tasks_are_not_that_of_the_answer() {
    let request = post(
        "/",
        "",
        r#"{"jsonrpc":"2.0","id":1,"method":"tasks/list","params":{"contextId":"c"}}"#,
    );
    let reply = r#"{"jsonrpc":"2.0","id":1,"result":{"tasks":[{"id":"t1","status":{"state":"failed"}}],"count":1}}"#;
    assert_eq!(
        meaning(&request, &json(200, "", reply)),
        "a2a Other tasks/list#1; context c -> "
    );
}

#[test]
fn tasks_are_mcps_where_the_head_says_so() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t1"}}"#;
    let reply = json(
        200,
        "",
        r#"{"jsonrpc":"2.0","id":1,"result":{"taskId":"t1","status":"working"}}"#,
    );
    let fields = "mcp-protocol-version: 2025-11-25\r\n";
    assert_eq!(
        meaning(&post("/", fields, body), &reply),
        "mcp Messages; 2025-11-25; tasks/get#1 -> result#1"
    );
    assert_eq!(
        meaning(&post("/", "", body), &reply),
        "a2a Other tasks/get#1; task t1 -> task t1"
    );
}

#[test]
fn cards_are_known_by_their_path() {
    let reply = json(200, "", r#"{"name":"researcher"}"#);
    for target in [
        "/.well-known/agent.json",
        "/.well-known/agent-card.json",
        "/.well-known/agent",
        "/agents/one/.well-known/agent-card.json?x=/y",
        "http://a/.well-known/agent.json",
    ] {
        assert_eq!(
            meaning(&bare("GET", target, ""), &reply),
            "card",
            "{target}"
        );
    }
    for target in [
        "/.well-known/agents",
        "/agent",
        "/x?/.well-known/agent",
        "/agent.json/x",
    ] {
        assert_eq!(
            meaning(&bare("GET", target, ""), &reply),
            "nothing",
            "{target}"
        );
    }
}
