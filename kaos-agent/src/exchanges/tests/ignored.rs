//! What is not followed, and what is bounded.

use super::super::exchange::Outcome;
use super::*;
use crate::streams::testing::Wire;

const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn upgraded_connections_are_ignored() {
    for (request, response) in [
        (
            "GET /a HTTP/1.1\r\nupgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n\u{1}\u{2}",
        ),
        ("CONNECT /a HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        (
            "CONNECT /a HTTP/1.1\r\n\r\n",
            "HTTP/1.1 204 OK\r\ncontent-length: 5\r\n\r\n",
        ),
    ] {
        let wire = Wire::new(1)
            .sent(request)
            .received(response)
            .sent(GET)
            .received(OK)
            .closed();
        let mut stages = Stages::new().run(&wire.events);
        let ended = stages.ended();
        assert_eq!((ended.len(), ended[0].outcome), (1, Outcome::Upgraded));
        assert_eq!(stages.opaque(), [SocketId(1)]);
        assert_eq!(stages.counters().1.upgraded, 1);
    }
    let refused = "HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n";
    let wire = Wire::new(1)
        .sent("CONNECT /a HTTP/1.1\r\n\r\n")
        .received(refused);
    assert_eq!(told(&wire.events), ["/a:0 407:0 Complete"]);
}

#[test]
fn what_is_not_http_is_ignored_at_once() {
    type Count = fn(&ProtocolCounters) -> u64;
    let kinds: [(&[u8], Count); 4] = [
        (&[22, 3, 1, 0, 200, 1], |counters| counters.tls),
        (b"*1\r\n$4\r\nPING\r\n", |counters| counters.not_http),
        (b"\0\0\0\x08\x04\xd2\x16/", |counters| counters.not_http),
        (b"SSH-2.0-OpenSSH_9.2\r\n", |counters| counters.not_http),
    ];
    let ignored = |wire: Wire, count: Count| {
        let mut stages = Stages::new().run(&wire.sent(GET).received(OK).events);
        assert_eq!(stages.lines(), [""; 0]);
        assert_eq!(stages.opaque(), [SocketId(1)]);
        assert_eq!(stages.opaque(), []);
        assert_eq!(count(stages.counters().1), 1);
    };
    for (bytes, count) in kinds {
        ignored(Wire::new(1).sent(bytes), count);
        ignored(Wire::new(1).received(bytes), count);
    }
    // Of what is sent it is read what is asked for, and nothing is told.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    ignored(Wire::new(1).received(preface), |counters| counters.http2);
    let sent = Wire::new(1).sent(preface).sent(GET).received(OK);
    let mut stages = Stages::new().run(&sent.events);
    assert_eq!((stages.lines(), stages.opaque()), (vec![], vec![]));
    assert_eq!(stages.counters().1.http2, 1);
}

#[test]
fn what_was_in_use_before_is_ignored_once_it_brought_no_start_line() {
    let limits = protocols::limits::Limits {
        search_bytes: 100,
        ..Default::default()
    };
    let mut stages = Stages::with(limits);
    stages = stages.run(&Wire::late(1).sent([1; 200]).received([2; 99]).events);
    assert_eq!(stages.opaque(), []);
    let wire = Wire::late(2).sent([1; 200]).received([2; 99]).received("x");
    stages = stages.run(&wire.events);
    assert_eq!(stages.opaque(), [SocketId(2)]);
    assert_eq!(stages.counters().1.not_http, 1);
}

#[test]
fn our_own_exports_are_not_watched() {
    let export = format!(
        "POST /v1/traces HTTP/1.1\r\nuser-agent: {} x\r\n\r\n",
        crate::USER_AGENT
    );
    let mut stages = Stages::new().run(&Wire::new(1).received(export).sent(OK).closed().events);
    assert_eq!(stages.told.len(), 0);
    assert_eq!(stages.opaque(), [SocketId(1)]);
    assert_eq!(stages.counters().1.own_exports, 1);
}

#[test]
fn heads_are_bounded() {
    let endless = "x: y\r\n".repeat(20_000);
    for pieces in [1, 3, 7000] {
        let mut wire = Wire::new(1).sent("GET /a HTTP/1.1\r\n");
        for piece in endless.as_bytes().chunks(endless.len() / pieces) {
            wire = wire.sent(piece);
        }
        let stages = Stages::new().run(&wire.sent(GET).received(OK).events);
        assert_eq!(stages.counters().1.oversized_heads, 1);
        assert_eq!(stages.lines(), ["/a:0 200:2 Complete"]);
    }
}

#[test]
fn endless_pipelining_is_given_up() {
    let mut stages = Stages::new().run(&Wire::new(1).received(GET.repeat(65)).events);
    assert_eq!(stages.opaque(), [SocketId(1)]);
    assert_eq!(stages.lines(), ["/a:0 - Unobserved"; 64]);
}

#[test]
fn all_buffers_together_are_bounded() {
    let limits = protocols::limits::Limits {
        buffered_bytes: 1000,
        ..Default::default()
    };
    let mut events = Vec::new();
    for socket in 0..100 {
        let part = format!("GET /a HTTP/1.1\r\nx: {}", "y".repeat(100));
        events.extend(Wire::new(socket).sent(part).events);
    }
    let stages = Stages::with(limits).run(&events);
    assert_eq!(stages.counters().1.buffers_exhausted, 92);
}
