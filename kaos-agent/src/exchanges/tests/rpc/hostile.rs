//! Whatever bodies hold, reading them does no harm and takes bounded memory.

use proptest::prelude::*;

use super::*;

/// The stages after a request and a response in many pieces.
fn run_pieces(request: &[Vec<u8>], response: &[Vec<u8>]) -> Stages {
    let mut wire = Wire::new(1);
    for piece in request {
        wire = wire.received(piece);
    }
    for piece in response {
        wire = wire.sent(piece);
    }
    Stages::new().run(&wire.closed().events)
}

fn request_of(stages: &Stages) -> &McpRequest {
    match stages.ended()[0].operation.as_deref() {
        Some(Operation::Mcp(request)) => request,
        other => panic!("not MCP: {other:?}"),
    }
}

fn reply_of(stages: &Stages) -> &McpReply {
    match &stages.ended()[0].reply {
        Some(Reply::Mcp(reply)) => reply,
        other => panic!("not MCP: {other:?}"),
    }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;

#[test]
fn ids_may_be_of_any_type() {
    for (id, told) in [
        ("1", Some("1")),
        (r#""1""#, Some("1")),
        ("-1.5e3", Some("-1.5e3")),
        ("9007199254740993", Some("9007199254740993")),
        (r#""""#, Some("")),
        (r#""\u00e4\ud83d\ude00""#, Some("ä😀")),
        ("true", Some("true")),
        ("null", None),
        ("[1]", None),
        (r#"{"id":2}"#, None),
    ] {
        let call = CALL.replace(r#""id":1"#, &format!(r#""id":{id}"#));
        let reply = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        let asked = "mcp Messages; tools/call";
        let number = told.map_or(String::new(), |id| format!("#{id}"));
        assert_eq!(
            meaning(&post("/", "", &call), &json(200, "", &reply)),
            format!("{asked}{number} t -> result{number}")
        );
    }
}

#[test]
fn long_texts_are_cut_or_left_out() {
    let long = "ä".repeat(500_000);
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":"{long}","method":"tools/call","params":{{"name":"{long}","_meta":{{"traceparent":"{long}"}}}}}}"#
    );
    let reply =
        format!(r#"{{"jsonrpc":"2.0","id":"{long}","error":{{"code":1,"message":"{long}"}}}}"#);
    let stages = run_pieces(
        &[post("/", "", &call).into()],
        &[json(200, "", &reply).into()],
    );
    let message = &request_of(&stages).messages[0];
    assert_eq!(message.id.as_ref().map(String::len), Some(256));
    assert_eq!(message.name.as_ref().map(String::len), Some(1024));
    assert_eq!(message.traceparent, None);
    let result = &reply_of(&stages).results[0];
    assert_eq!(result.id, message.id, "both are cut alike");
    let error = result.error.as_ref().expect("an error");
    assert_eq!(error.message.as_ref().map(String::len), Some(256));

    let method = CALL.replace("tools/call", &format!("tools/{long}"));
    assert_eq!(meaning_of_one(&method), "nothing");
}

fn meaning_of_one(body: &str) -> String {
    let stages = run_pieces(&[post("/", "", body).into()], &[]);
    describe(stages.ended()[0])
}

#[test]
fn the_last_of_duplicate_keys_counts() {
    let body = r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list","method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#;
    assert_eq!(meaning_of_one(body), "mcp Messages; tools/call#2 b");
}

#[test]
fn batches_are_cut() {
    let batch = format!("[{}]", vec![CALL; 10_000].join(","));
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let answers = format!("[{}]", vec![answer; 10_000].join(","));
    let stages = run_pieces(
        &[post("/", "", &batch).into()],
        &[json(200, "", &answers).into()],
    );
    assert_eq!(request_of(&stages).messages.len(), 64);
    assert_eq!(reply_of(&stages).results.len(), 64);
}

#[test]
fn deep_nesting_hides_nothing_after_it() {
    let deep = format!("{}{}", "[{\"a\":".repeat(100_000), "1}]".repeat(100_000));
    let body = format!(
        r#"{{"method":"tools/call","params":{{"arguments":{deep},"name":"t"}},"jsonrpc":"2.0","id":1}}"#
    );
    assert_eq!(meaning_of_one(&body), "mcp Messages; tools/call#1 t");
}

#[test]
fn what_is_missing_in_the_middle_hides_only_that() {
    let middle = "x".repeat(50_000);
    // As the SDK for Python 1 sends it, where the version comes last.
    let body = format!(
        r#"{{"method":"tools/call","params":{{"name":"t","arguments":{{"a":"{middle}"}},"_meta":{{"traceparent":"00-1"}}}},"jsonrpc":"2.0","id":7}}"#
    );
    let reply = format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"text":"{middle}"}}],"isError":true}}}}"#
    );
    let request = post("/", "", &body);
    for response in [json(200, "", &reply), stream("", &[&message(&reply)])] {
        let wire = Wire::new(1);
        let mut wire = wire.moved(Direction::Sent, &request[..1_000], 49_000);
        wire = wire.sent(&request[50_000..]);
        wire = wire.moved(Direction::Received, &response[..1_000], 49_000);
        wire = wire.received(&response[50_000..]);
        let stages = Stages::new().run(&wire.closed().events);
        assert_eq!(
            describe(stages.ended()[0]),
            "mcp Messages; tools/call#7 t 00-1 -> tool error#7"
        );
    }
}

#[test]
fn what_is_missing_of_a_batch_is_given_to_no_other_message() {
    let middle = "x".repeat(50_000);
    let second = CALL
        .replace("\"t\"", &format!("\"{middle}\""))
        .replace(":1,", ":2,");
    let third = CALL.replace(":1,", ":3,");
    let body = format!(r#"[{CALL},{second},{third}]"#);
    let request = post("/", "", &body);
    let wire = Wire::new(1).moved(Direction::Sent, &request[..1_000], 49_000);
    let wire = wire.sent(&request[50_000..]);
    let stages = Stages::new().run(&wire.closed().events);
    assert_eq!(
        describe(stages.ended()[0]),
        "mcp Messages; tools/call#1 t, tools/call#2, tools/call#3 t"
    );
}

proptest! {
    #[test]
    fn arbitrary_bodies_do_no_harm(
        request in rpc_like(),
        response in rpc_like(),
        is_stream in any::<bool>(),
        offsets in prop::collection::vec(any::<usize>(), 0..20),
        lost in prop::option::of(0_usize..200),
    ) {
        let request = post("/messages?session_id=1", "", &request);
        let response = if is_stream {
            stream("", &[&message(&response.replace(['\r', '\n'], " "))])
        } else {
            json(200, "", &response)
        };
        let mut wire = Wire::new(1).sent(&request);
        match lost {
            Some(lost) if lost < response.len() => {
                let (seen, unseen) = response.as_bytes().split_at(lost);
                let unseen_bytes = (unseen.len() / 2) as u64;
                wire = wire.moved(Direction::Received, seen, unseen_bytes);
                wire = wire.received(&unseen[unseen.len() / 2..]);
            }
            _ => wire = wire.received(&response),
        }
        let whole = wire.closed().events;
        let told = Stages::new().run(&whole);
        assert_understood_once(&told.told);
        let pieces: Vec<Event> = whole.iter().flat_map(|event| cut(event, &offsets)).collect();
        let cut = Stages::new().run(&pieces);
        prop_assert_eq!(format!("{:?}", cut.told), format!("{:?}", told.told));
    }
}

/// Text made of what bodies of JSON-RPC are made of.
fn rpc_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u00e4",
        "ä",
        " ",
        "null",
        "1",
        "true",
        r#""jsonrpc":"2.0","#,
        r#""id":1,"#,
        r#""id":"x","#,
        r#""method":"tools/call","#,
        r#""method":"message/send","#,
        r#""params":{"#,
        r#""name":"t","#,
        r#""_meta":{"#,
        r#""traceparent":"00-1","#,
        r#""result":{"#,
        r#""error":{"code":1,"message":"m"},"#,
        r#""isError":true,"#,
        r#""status":{"state":"failed"},"#,
        r#""task":{"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#,
    ]);
    prop::collection::vec(word, 0..30).prop_map(|words| words.concat())
}
