//! The Model Context Protocol, in the words of the SDK for Python 1.26 and 2.3.

use super::*;

const SESSION: &str = "mcp-session-id: f4be66\r\n";
const SESSION_FIELDS: &str = "mcp-session-id: f4be66\r\nmcp-protocol-version: 2025-11-25\r\n";

mod sessions {
    use super::*;

    #[test]
    fn begin_with_initialize() {
        let request = r#"{"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{"form":{}}},"clientInfo":{"name":"mcp","version":"0.1.0"}},"jsonrpc":"2.0","id":0}"#;
        let reply = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"tools","version":"2.14.7"}}}"#;
        let expected =
            "mcp Messages; 2025-11-25; initialize#0 -> result#0; session f4be66; 2025-06-18";
        let request = post("/mcp", "", request);
        assert_eq!(
            meaning(&request, &stream(SESSION, &[&message(reply)])),
            expected
        );
        assert_eq!(meaning(&request, &json(200, SESSION, reply)), expected);
    }

    #[test]
    fn call_tools() {
        let request = r#"{"method":"tools/call","params":{"name":"add","arguments":{"a":1,"name":"b","_meta":{"traceparent":"no"}},"_meta":{"progressToken":2}},"jsonrpc":"2.0","id":2}"#;
        let request = post("/mcp", SESSION_FIELDS, request);
        let asked = "mcp Messages; session f4be66; 2025-11-25; tools/call#2 add";
        for (reply, answered) in [
            (
                r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"3"}],"structuredContent":{"result":3},"isError":false}}"#,
                "result#2",
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"Error calling tool 'fail': boom"}],"isError":true}}"#,
                "tool error#2",
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"isError":true}],"structuredContent":{"isError":true}}}"#,
                "result#2",
            ),
            (
                r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"Invalid request parameters","data":{"code":1}}}"#,
                "error -32602 (Invalid request parameters)#2",
            ),
        ] {
            let streamed = stream("", &[&message(reply)]);
            assert_eq!(
                meaning(&request, &streamed),
                format!("{asked} -> {answered}")
            );
            let plain = json(200, "", reply);
            assert_eq!(meaning(&request, &plain), format!("{asked} -> {answered}"));
        }
    }

    #[test]
    fn streams_of_replies_hold_other_messages_too() {
        let call = r#"{"method":"tools/call","params":{"name":"slow","arguments":{},"_meta":{"progressToken":4}},"jsonrpc":"2.0","id":4}"#;
        let events = [
            "id: 1\r\ndata: \r\n\r\n".to_owned(),
            message(
                r#"{"method":"notifications/progress","params":{"progressToken":4,"progress":1.0,"total":2.0},"jsonrpc":"2.0"}"#,
            ),
            ": ping\r\n\r\n".to_owned(),
            message(
                r#"{"method":"elicitation/create","params":{"mode":"form","message":"name?"},"jsonrpc":"2.0","id":0}"#,
            ),
            message(r#"{"jsonrpc":"2.0","id":4,"result":{"content":[],"isError":false}}"#),
        ];
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        assert_eq!(
            meaning(&post("/mcp", SESSION_FIELDS, call), &stream("", &events)),
            "mcp Messages; session f4be66; 2025-11-25; tools/call#4 slow \
             -> result#4; 1 notifications; 1 requests"
        );
    }

    #[test]
    fn responses_and_notifications_are_accepted() {
        for (body, asked) in [
            (
                r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#,
                "notifications/initialized",
            ),
            (
                r#"{"jsonrpc":"2.0","id":0,"result":{"action":"accept","content":{"value":"bob"}}}"#,
                "response#0",
            ),
            (
                r#"{"jsonrpc":"2.0","id":"x","error":{"code":-1,"message":"no"}}"#,
                "response#x",
            ),
        ] {
            let accepted = "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\n\
                            content-length: 0\r\n\r\n";
            assert_eq!(
                meaning(&post("/mcp", SESSION_FIELDS, body), accepted),
                format!("mcp Messages; session f4be66; 2025-11-25; {asked} -> ")
            );
        }
    }

    #[test]
    fn batches_have_several_messages() {
        // Of 2025-03-26 alone.
        let request = r#" [ {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}},
            {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}},
            {"jsonrpc":"2.0","id":"two","method":"prompts/get","params":{"name":"greet"}} ]"#;
        let one = r#"{"jsonrpc":"2.0","id":"two","result":{"messages":[]}}"#;
        let other = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#;
        let expected = "mcp Messages; tools/call#1 add, notifications/cancelled, \
                        prompts/get#two greet -> result#two, tool error#1";
        let request = post("/", "", request);
        let list = format!("[{one},{other}]");
        assert_eq!(meaning(&request, &json(200, "", &list)), expected);
        let events = [message(one), message(other)];
        assert_eq!(
            meaning(&request, &stream("", &[&events[0], &events[1]])),
            expected
        );
        assert_eq!(meaning(&request, &stream("", &[&message(&list)])), expected);
    }

    #[test]
    fn have_a_stream_and_an_end() {
        let open = bare(
            "GET",
            "/mcp",
            &format!("{SESSION_FIELDS}Accept: text/event-stream\r\n"),
        );
        let change = r#"{"method":"notifications/tools/list_changed","jsonrpc":"2.0"}"#;
        assert_eq!(
            meaning(&open, &stream("", &[&message(change)])),
            "mcp Stream; session f4be66; 2025-11-25 -> ; 1 notifications"
        );
        let end = bare("DELETE", "/mcp", SESSION);
        assert_eq!(
            meaning(&end, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            "mcp End; session f4be66 -> "
        );
    }

    #[test]
    fn errors_without_a_message_to_answer() {
        let request = post(
            "/mcp",
            SESSION,
            r#"{"method":"ping","jsonrpc":"2.0","id":7}"#,
        );
        let reply =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}"#;
        assert_eq!(
            meaning(&request, &json(404, "", reply)),
            "mcp Messages; session f4be66; ping#7 -> error -32600 (Session not found)"
        );
    }
}

mod stateless {
    use super::*;

    fn fields(method: &str, name: &str) -> String {
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("mcp-name: {name}\r\n")
        };
        format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}")
    }

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn messages_carry_their_context() {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"add","arguments":{{"a":1}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{"elicitation":{{"form":{{}}}}}},"traceparent":"{TRACEPARENT}","tracestate":"a=b,c=d","baggage":"user=secret","progressToken":3}}}}}}"#
        );
        let reply = r#"{"jsonrpc":"2.0","id":3,"result":{"_meta":{"isError":true},"content":[{"text":"3","type":"text"}],"isError":false,"resultType":"complete","structuredContent":{"result":3}}}"#;
        assert_eq!(
            meaning(
                &post("/mcp", &fields("tools/call", "add"), &body),
                &json(200, "", reply)
            ),
            format!("mcp Messages; 2026-07-28; tools/call#3 add {TRACEPARENT} a=b,c=d -> result#3")
        );
    }

    #[test]
    fn results_may_ask_for_input() {
        let body = r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"ask"}}"#;
        let reply = r#"{"jsonrpc":"2.0","id":4,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create"}},"requestState":"x"}}"#;
        assert_eq!(
            meaning(
                &post("/mcp", &fields("tools/call", "ask"), body),
                &json(200, "", reply)
            ),
            "mcp Messages; 2026-07-28; tools/call#4 ask -> input required#4"
        );
    }

    #[test]
    fn fields_tell_what_the_body_does_not() {
        let chunked = |fields: &str| {
            bare(
                "POST",
                "/mcp",
                &format!("{fields}Transfer-Encoding: chunked\r\n"),
            ) + "0\r\n\r\n"
        };
        let reply = json(200, "", "{}");
        for (fields, asked) in [
            (fields("tools/call", "add"), "; 2026-07-28; tools/call add"),
            (
                fields("tools/call", "=?base64?w6Q=?="),
                "; 2026-07-28; tools/call",
            ),
            (
                fields("resources/read", "file:///secret"),
                "; 2026-07-28; resources/read",
            ),
        ] {
            assert_eq!(
                meaning(&chunked(&fields), &reply),
                format!("mcp Messages{asked} -> ")
            );
        }
    }

    #[test]
    fn resources_are_not_named() {
        let body = r#"{"jsonrpc":"2.0","id":5,"method":"resources/read","params":{"uri":"file:///secret","name":"x"}}"#;
        let request = post("/mcp", &fields("resources/read", "file:///secret"), body);
        assert_eq!(
            meaning(
                &request,
                &json(200, "", r#"{"jsonrpc":"2.0","id":5,"result":{}}"#)
            ),
            "mcp Messages; 2026-07-28; resources/read#5 -> result#5"
        );
    }

    #[test]
    fn extensions_are_known_by_the_fields() {
        let body = r#"{"jsonrpc":"2.0","id":6,"method":"acme/thing","params":{}}"#;
        let request = post("/mcp", "mcp-method: acme/thing\r\n", body);
        assert_eq!(
            meaning(&request, &json(200, "", "{}")),
            "mcp Messages; acme/thing#6 -> "
        );
    }
}

#[test]
fn other_requests_mean_nothing() {
    for (target, body) in [
        (
            "/rpc",
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}"#,
        ),
        ("/rpc", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
        ("/rpc", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
        (
            "/rpc",
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"rootUri":null}}"#,
        ),
        (
            "/rpc",
            r#"{"id":1,"method":"tools/call","params":{"name":"add"}}"#,
        ),
        (
            "/rpc?session_id=1",
            r#"{"jsonrpc":"2.0","id":1,"method":"acme/thing"}"#,
        ),
        (
            "/rpc",
            r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"]}"#,
        ),
        (
            "/rpc",
            r#"{"a":{"jsonrpc":"2.0","id":1,"method":"tools/call"}}"#,
        ),
        ("/v1/users", r#"{"name":"x"}"#),
        ("/v1/users", "tools/call"),
        ("/v1/users", ""),
    ] {
        let reply = json(200, "", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        assert_eq!(
            meaning(&post(target, "", body), &reply),
            "nothing",
            "{body}"
        );
    }
    let events = bare("GET", "/events", "Accept: text/event-stream\r\n");
    let endpoint_later = ["data: x\r\n\r\n", "event: endpoint\r\ndata: /x\r\n\r\n"];
    assert_eq!(meaning(&events, &stream("", &endpoint_later)), "nothing");
}

#[test]
fn common_words_mean_mcp_where_the_head_says_so() {
    for (target, fields, body) in [
        (
            "/messages?session_id=f4",
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        ),
        (
            "/messages?x=1&sessionId=f4",
            "",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        ),
        (
            "/",
            "mcp-session-id: f4\r\n",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        ),
    ] {
        let reply = "HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            meaning(&post(target, fields, body), reply),
            "mcp Messages; session f4; ping#1 -> "
        );
    }
}
