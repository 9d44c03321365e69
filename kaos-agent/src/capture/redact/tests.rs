//! What is masked, and that cuts and holes make no difference.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::capture::event::{Endpoints, Label, ProcessInfo};

use Direction::{Received, Sent};

/// A connection of which the redactor is told piece by piece.
struct Wire {
    redactor: Redactor,
    positions: [u64; 2],
}

impl Wire {
    fn new(contents: RecordedContents) -> Self {
        Self {
            redactor: Redactor::new(contents),
            positions: [0; 2],
        }
    }

    fn move_bytes(&mut self, direction: Direction, bytes: &[u8], skipped: u64) -> Vec<u8> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let position = &mut self.positions[usize::from(direction == Sent)];
        let data = Data {
            at: 0,
            pid: 1,
            tid: 1,
            label: Label::Unknown,
            socket: SocketId(1),
            endpoints: Endpoints::Tcp {
                local: address,
                remote: address,
                network_namespace: 1,
            },
            direction,
            position: *position,
            bytes: Bytes::copy_from_slice(bytes),
            skipped,
            stream_start: *position == 0,
            end_of_stream: false,
        };
        *position += bytes.len() as u64 + skipped;
        let mut redacted = bytes.to_vec();
        self.redactor.redact_data(&data, &mut redacted);
        redacted
    }

    fn sends(&mut self, text: &str) -> String {
        String::from_utf8(self.move_bytes(Sent, text.as_bytes(), 0)).unwrap()
    }

    fn receives(&mut self, text: &str) -> String {
        String::from_utf8(self.move_bytes(Received, text.as_bytes(), 0)).unwrap()
    }

    /// This many bytes are lost.
    fn loses(&mut self, direction: Direction, bytes: u64) {
        self.positions[usize::from(direction == Sent)] += bytes;
    }
}

fn wire() -> Wire {
    Wire::new(RecordedContents::Redactable)
}

/// What becomes of a header line.
fn header(line: &str) -> String {
    let redacted = wire().sends(&format!("GET / HTTP/1.1\r\nA: b\r\n{line}\r\nC: d\r\n\r\n"));
    let inside = redacted.strip_prefix("GET / HTTP/1.1\r\nA: b\r\n").unwrap();
    inside.strip_suffix("\r\nC: d\r\n\r\n").unwrap().to_owned()
}

fn request(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What becomes of a body.
fn body(text: &str) -> String {
    let redacted = wire().sends(&request(text));
    redacted.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn secret_headers() {
    assert_eq!(
        header("Authorization: Bearer abc"),
        "Authorization: ****** ***"
    );
    assert_eq!(header("proxy-authorization:x"), "proxy-authorization:*");
    assert_eq!(header("Cookie: a=b; c=d"), "Cookie: **** ***");
    assert_eq!(header("SET-COOKIE: a=b; Path=/"), "SET-COOKIE: **** ******");
    assert_eq!(header("X-Api-Key: k"), "X-Api-Key: *");
    assert_eq!(header("api-key: k"), "api-key: *");
    assert_eq!(header("x-goog-api-key: k"), "x-goog-api-key: *");
    assert_eq!(header("X-Amz-Security-Token: k"), "X-Amz-Security-Token: *");
    assert_eq!(header("X-My-Secret-Thing: k"), "X-My-Secret-Thing: *");
    assert_eq!(header("X-Password: k"), "X-Password: *");
    assert_eq!(header("Cookie: a=b\r\n\tc=d"), "Cookie: ***\r\n\t***");
    assert_eq!(header("X-Other: Bearer abc.d"), "X-Other: Bearer *****");
    assert_eq!(header("X-Other: Cookie: a=b"), "X-Other: Cookie: a=b");
    assert_eq!(
        header("traceparent: 00-ab-cd-01"),
        "traceparent: 00-ab-cd-01"
    );
}

#[test]
fn secret_query_parameters() {
    let line = |target: &str| {
        let redacted = wire().sends(&format!("GET {target} HTTP/1.1\r\n\r\n"));
        redacted
            .strip_suffix(" HTTP/1.1\r\n\r\n")
            .unwrap()
            .strip_prefix("GET ")
            .unwrap()
            .to_owned()
    };
    assert_eq!(line("/?api_key=abc&b=c"), "/?api_key=***&b=c");
    assert_eq!(line("/?b=c&key=abc"), "/?b=c&key=***");
    assert_eq!(line("/?monkey=abc"), "/?monkey=abc");
    assert_eq!(line("/?access_token=a%20b#f"), "/?access_token=*****#f");
    assert_eq!(
        line("/?X-Amz-Signature=abc&sig=d"),
        "/?X-Amz-Signature=***&sig=*"
    );
    assert_eq!(line("/?max_tokens=5&design=x"), "/?max_tokens=5&design=x");
    assert_eq!(line("/sk-abc?x=1"), "/sk-***?x=1");
}

#[test]
fn secret_json_members() {
    assert_eq!(
        body(r#"{"api_key":"abc","b":"c"}"#),
        r#"{"api_key":"***","b":"c"}"#
    );
    assert_eq!(
        body("{\"password\" \n:\t \"a b\"}"),
        "{\"password\" \n:\t \"***\"}"
    );
    assert_eq!(body(r#"{"accessToken":"abc"}"#), r#"{"accessToken":"***"}"#);
    assert_eq!(body(r#"{"x-api-key":"abc"}"#), r#"{"x-api-key":"***"}"#);
    assert_eq!(
        body(r#"{"client_secret":"a\"b\\","c":"d"}"#),
        r#"{"client_secret":"*\"*\\","c":"d"}"#
    );
    assert_eq!(
        body(r#"{"token":"\u00e9é\n"}"#),
        r#"{"token":"\u0000**\n"}"#
    );
    assert_eq!(body(r#"{"token":-1205,"b":5}"#), r#"{"token":-1111,"b":5}"#);
    assert_eq!(body(r#"{"token":null,"b":5}"#), r#"{"token":null,"b":5}"#);
    assert_eq!(body(r#"{"max_tokens":55}"#), r#"{"max_tokens":55}"#);
    assert_eq!(
        body(r#"{"type":"token","value":"x"}"#),
        r#"{"type":"token","value":"x"}"#
    );
    assert_eq!(
        body(r#"{"secret":{"password":"x"}}"#),
        r#"{"secret":{"password":"*"}}"#
    );
    assert_eq!(body("{'api_key': 'abc'}"), "{'api_key': '***'}");
}

#[test]
fn secrets_in_json_inside_json() {
    assert_eq!(
        body(r#"{"arguments":"{\"password\": \"a\\\"b\",\"c\":\"d\"}","e":"f"}"#),
        r#"{"arguments":"{\"password\": \"*\\\"*\",\"c\":\"d\"}","e":"f"}"#,
    );
    assert_eq!(
        body(r#"{"a":"{\"b\":\"{\\\"token\\\":\\\"xyz\\\",\\\"c\\\":1}\"}"}"#),
        r#"{"a":"{\"b\":\"{\\\"token\\\":\\\"***\\\",\\\"c\\\":1}\"}"}"#,
    );
    assert_eq!(
        body(r#"{"a":"{\"token\":\"xy","b":"c"}"#),
        r#"{"a":"{\"token\":\"**","b":"c"}"#
    );
}

#[test]
fn secrets_in_forms_and_text() {
    assert_eq!(
        body("grant=x&client_secret=a+b%3D&c=d"),
        "grant=x&client_secret=******&c=d"
    );
    assert_eq!(body("password=é&c=d"), "password=**&c=d");
    assert_eq!(
        body(r#"Client(api_key="abc", x=1)"#),
        r#"Client(api_key="***", x=1)"#
    );
}

#[test]
fn secrets_by_shape() {
    assert_eq!(body("Bearer abc.def-1 x"), "Bearer ********* x");
    assert_eq!(body("use sk-proj-1_2, then"), "use sk-********, then");
    assert_eq!(body("task-force risk-free"), "task-force risk-free");
    assert_eq!(body(r#""line\nsk-abc""#), r#""line\nsk-***""#);
    assert_eq!(
        body("ghp_Ab1 github_pat_A1 xoxb-1-a"),
        "ghp_*** github_pat_** xoxb-***"
    );
    assert_eq!(body("(eyJhbGci.eyJz.Zm9v)"), "(eyJ***************)");
    assert_eq!(body("AKIAIOSFODNN7 AIzaSy"), "AKIA********* AIza**");
}

#[test]
fn passwords_in_urls() {
    assert_eq!(
        body("postgres://me:s3cr3t@db:5432/x"),
        "postgres://me:******@db:5432/x"
    );
    assert_eq!(body("http://host:80/a:b@c"), "http://host:80/a:b@c");
    assert_eq!(body("http://[::1]:80/a:b@c"), "http://[::1]:80/a:b@c");
    assert_eq!(body("see http://host: it's"), "see http://host: it's");
}

#[test]
fn masks_go_through_chunk_framing() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let redacted =
        wire().sends(&format!("{head}6\r\n{{\"pass\r\n7;x=y\r\nword\":\"\r\n3\r\nabc\r\n4\r\nd\",1\r\n0\r\nCookie: a\r\n\r\nGET /?key=ab HTTP/1.1\r\n\r\n"));
    assert_eq!(
        redacted,
        format!(
            "{head}6\r\n{{\"pass\r\n7;x=y\r\nword\":\"\r\n3\r\n***\r\n4\r\n*\",1\r\n0\r\nCookie: *\r\n\r\nGET /?key=** HTTP/1.1\r\n\r\n"
        ),
    );
}

#[test]
fn compressed_bodies_are_masked_whole() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    let response =
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcdHTTP/1.1 404";
    let masked = response.replace("abcd", "****");
    let mut wire = wire();
    wire.receives(get);
    assert_eq!(wire.sends(response), masked);

    let mut with_compressed = Wire::new(RecordedContents::WithCompressed);
    with_compressed.receives(get);
    assert_eq!(with_compressed.sends(response), response);

    let mut heads_only = Wire::new(RecordedContents::HeadsOnly);
    assert_eq!(heads_only.sends(&request("abc")), request("***"));
}

#[test]
fn what_is_no_http_is_masked_until_the_other_side_has_spoken() {
    let mut wire = wire();
    assert_eq!(wire.sends("\x16\x03\x01secret"), "\x16\x03\x01******");
    assert_eq!(wire.sends("GET / HTTP/1.1\r\n"), "****************");
    wire.receives("x");
    assert_eq!(wire.sends("GET / HTTP/1.1\r\n"), "GET / HTTP/1.1\r\n");
}

#[test]
fn line_protocols_are_no_http() {
    assert_eq!(wire().sends("AUTH hunter2\r\n"), "AUT***********");
    assert_eq!(wire().sends("G\npassword\n"), "G\np********");
}

#[test]
fn bodies_that_responses_do_not_have() {
    let mut wire = wire();
    wire.receives("HEAD / HTTP/1.1\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(wire.sends(head), head);
    wire.receives("GET / HTTP/1.1\r\n\r\n");
    let not_modified = "HTTP/1.1 304 Not Modified\r\nSet-Cookie: abc\r\n\r\n";
    assert_eq!(wire.sends(not_modified), not_modified.replace("abc", "***"));
    wire.receives(&request("hello"));
    assert_eq!(
        wire.sends("HTTP/1.1 100 Continue\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    let last = "HTTP/1.1 200 OK\r\nCookie: abc\r\n\r\nkey=abc";
    assert_eq!(wire.sends(last), last.replace("abc", "***"));
}

#[test]
fn responses_without_a_request_and_upgraded_connections_are_masked() {
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(wire().sends(&format!("{head}abc")), format!("{head}***"));
    let mut wire = wire();
    wire.receives("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    let switching = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(
        wire.sends(&format!("{switching}abc")),
        format!("{switching}***")
    );
}

/// What becomes of the rest of a body whose beginning was not captured.
fn after_hole(rest: &str) -> String {
    let mut wire = wire();
    let length = 100 + rest.len();
    wire.move_bytes(
        Sent,
        format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
        60,
    );
    wire.loses(Sent, 40);
    wire.sends(rest)
}

#[test]
fn after_a_hole_what_may_be_a_secret_is_masked() {
    // Inside the value, before it, inside the name.
    assert_eq!(after_hole(r#"ter2","model":"x"}"#), r#"****","model":"x"}"#);
    assert_eq!(
        after_hole(r#":"hunter2","model":"x"}"#),
        r#"*"*******","model":"x"}"#
    );
    assert_eq!(
        after_hole(r#""hunter2" , "model":"x"}"#),
        r#""*******"*, "model":"x"}"#
    );
    assert_eq!(
        after_hole(r#"word":"hunter2"},"model":"x"}"#),
        r#"****"*"*******"},"model":"x"}"#
    );
    // The hole ended with a backslash.
    assert_eq!(
        after_hole(r#"","hunter2","model":"x"}"#),
        r#""*"*******","model":"x"}"#
    );
    assert_eq!(
        after_hole(r#"\","hunter2","model":"x"}"#),
        r#"\"*"*******","model":"x"}"#
    );
    assert_eq!(after_hole("ter2\ndata: x"), "****\ndata: x");
    assert_eq!(
        after_hole("x\",\"token\":\"abc\"}"),
        "*\",\"token\":\"***\"}"
    );
}

#[test]
fn a_hole_in_the_framing_masks_all_until_the_other_side_has_spoken() {
    let mut wire = wire();
    wire.sends("POST / HTTP/1.1\r\nContent-Le");
    wire.loses(Sent, 10);
    assert_eq!(wire.sends("abc\r\n\r\nxyz"), "**********");
    wire.receives("HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(
        wire.sends("GET /?key=a HTTP/1.1\r\n"),
        "GET /?key=* HTTP/1.1\r\n"
    );
}

#[test]
fn a_hole_between_messages_masks_nothing_but_responses_without_a_request() {
    let mut wire = wire();
    let request = "GET / HTTP/1.1\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    wire.receives(request);
    assert_eq!(wire.sends(response), response);
    wire.receives(request);
    wire.loses(Sent, 100);
    assert_eq!(wire.sends(response), response.replace("abc", "***"));
    wire.loses(Received, 100);
    assert_eq!(wire.receives(request), request);
    assert_eq!(wire.sends(response), response);
}

#[test]
fn environments() {
    let redactor = Redactor::new(RecordedContents::Redactable);
    let redacted = |name: &str, value: &str| {
        let info = ProcessInfo {
            environment: vec![(name.to_owned(), value.to_owned())],
            ..ProcessInfo::default()
        };
        let change = ProcessChange::Described(Box::new(info));
        match redactor
            .redact_process(&ProcessEvent {
                at: 0,
                pid: 1,
                change,
            })
            .change
        {
            ProcessChange::Described(info) => info.environment[0].1.clone(),
            _ => unreachable!(),
        }
    };
    assert_eq!(
        redacted("OTEL_EXPORTER_OTLP_HEADERS", "a=b==,c=d"),
        "a=***,c=*"
    );
    assert_eq!(redacted("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b"), "a=*");
    assert_eq!(redacted("MODEL_API_KEY", "é"), "**");
    assert_eq!(
        redacted("MODEL_API_URL", "http://u:p@host/?key=x"),
        "http://u:*@host/?key=*"
    );
    assert_eq!(redacted("OTEL_SERVICE_NAME", "agent"), "agent");
}

/// Messages of one connection; secrets are `hunter2` and nothing else is.
const CONVERSATION: &[(Direction, &str)] = &[
    (
        Received,
        "POST /v1?api_key=hunter2&a=b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hunter2\r\n\
                Transfer-Encoding: chunked\r\n\r\n\
                10\r\n{\"api_key\":\"hunt\r\n6\r\ner2\",1\r\n14\r\n\"x\":\"{\\\"token\\\": \\\"\r\n\
                b\r\nhunter2\\\"}\"\r\n0\r\n\r\n",
    ),
    (
        Sent,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: hunter2\r\nContent-Length: 26\r\n\r\n\
            data: {\"password\":\"hunter2\"",
    ),
    (Received, "GET / HTTP/1.1\r\nX-Token: hunter2\r\n\r\n"),
    (
        Sent,
        "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 7\r\n\r\nhunter2",
    ),
    (Received, "GET / HTTP/1.0\r\n\r\n"),
    (
        Sent,
        "HTTP/1.0 200 OK\r\n\r\nclient_secret=hunter2&a=b sk-hunter2 ",
    ),
];

proptest! {
    #[test]
    fn cuts_make_no_difference(cuts in prop::collection::vec(1_usize..12, 1..20)) {
        let mut whole = wire();
        let mut pieces = wire();
        let mut cuts = cuts.iter().cycle();
        for (direction, text) in CONVERSATION {
            let expected = whole.move_bytes(*direction, text.as_bytes(), 0);
            prop_assert!(!String::from_utf8_lossy(&expected).contains("hunter2"));
            let mut rest = text.as_bytes();
            let mut redacted = Vec::new();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                redacted.extend(pieces.move_bytes(*direction, piece, 0));
                rest = after;
            }
            prop_assert_eq!(String::from_utf8(redacted), String::from_utf8(expected));
        }
    }

    #[test]
    fn no_secret_survives_a_hole(from in 0_usize..420, length in 1_usize..60) {
        let mut wire = wire();
        let mut begin = 0;
        for (direction, text) in CONVERSATION {
            let end = begin + text.len();
            let (hole, hole_end) = (from.clamp(begin, end), (from + length).clamp(begin, end));
            let (before, after) = (&text[..hole - begin], &text[hole_end - begin..]);
            let mut redacted = wire.move_bytes(*direction, before.as_bytes(), (hole_end - hole) as u64);
            redacted.extend(wire.move_bytes(*direction, after.as_bytes(), 0));
            // The end of the secret is what a hole can leave over.
            let redacted = String::from_utf8_lossy(&redacted).into_owned();
            prop_assert!(!redacted.contains("ter2"), "{redacted}");
            begin = end;
        }
    }

    #[test]
    fn any_bytes_keep_their_number(
        pieces in prop::collection::vec((any::<bool>(), any::<Vec<u8>>(), 0_u64..3), 0..8),
    ) {
        let mut wire = wire();
        for (sent, bytes, skipped) in pieces {
            let direction = if sent { Sent } else { Received };
            prop_assert_eq!(wire.move_bytes(direction, &bytes, skipped).len(), bytes.len());
        }
    }
}
