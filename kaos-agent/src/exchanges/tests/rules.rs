//! One line per rule.

use super::super::exchange::{EventTimes, Role};
use super::*;
use crate::capture::event::Direction::{Received, Sent};
use crate::streams::testing::{PID, Wire};

const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn one_exchange_is_told_from_both_ends() {
    for (wire, role) in [
        (Wire::new(1).sent(GET).received(OK), Role::Client),
        (Wire::new(1).received(GET).sent(OK), Role::Server),
    ] {
        let stages = Stages::new().run(&wire.events);
        assert_eq!(stages.lines(), ["/a:0 200:2 Complete"]);
        let ended = stages.ended()[0];
        assert_eq!(ended.request.role, role);
        assert_eq!((ended.request.at, ended.ended_at), (1010, 1020));
        assert_eq!(ended.request.position % 10_000, 0);
        assert_eq!(ended.request.actor.pid, PID);
    }
}

#[test]
fn events_of_an_exchange_come_in_order() {
    let wire = Wire::new(1).sent(GET).by(7).received(OK);
    let stages = Stages::new().run(&wire.events);
    let [
        ExchangeEvent::Started(request),
        ExchangeEvent::Responding { id, at, actor },
        ExchangeEvent::Ended(exchange),
    ] = &stages.told[..]
    else {
        panic!("{:?}", stages.told);
    };
    assert_eq!((*id, *at, actor.pid), (request.id, 1020, 7));
    assert_eq!(exchange.request.id, request.id);
    assert_eq!(stages.counters().2.complete, 1);
}

#[test]
fn heads_are_told_as_they_are() {
    let wire = Wire::new(1)
        .sent("POST /b?c=d HTTP/1.0\r\nHost: x\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n")
        .received("HTTP/1.1 404 Not Found\r\nServer: y\r\ncontent-length: 0\r\n\r\n");
    let stages = Stages::new().run(&wire.events);
    let ended = stages.ended()[0];
    let request = &ended.request;
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/b?c=d")
    );
    assert_eq!(request.version.as_str(), "1.0");
    let values: Vec<_> = request.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    let response = ended.response.as_ref().unwrap();
    assert_eq!(
        (response.status, response.headers["server"].as_bytes()),
        (404, &b"y"[..])
    );
}

/// A GET, a response, and whether it is complete before anything else happens.
#[test]
fn responses_end_where_rfc_9112_says() {
    let get = |response: &str| told(&Wire::new(1).sent(GET).received(response).events);
    for (response, line) in [
        (
            "HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n",
            "/a:0 204:0 Complete",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            "/a:0 304:0 Complete",
        ),
        (
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
            "/a:0 200:2 Complete",
        ),
        (
            "\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "/a:0 200:2 Complete",
        ),
        (
            "HTTP/1.0 200\r\nContent-Length: 2\r\n\r\nok",
            "/a:0 200:2 Complete",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nx: y\r\n\r\n",
            "/a:0 200:2 Complete",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "/a:0 200:2 Complete",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n",
            "/a:0 201:0 Complete",
        ),
    ] {
        assert_eq!(get(response), [line], "{response:?}");
    }
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n",
    ] {
        assert_eq!(get(response), [""; 0], "{response:?}");
    }
}

#[test]
fn a_head_response_has_no_body() {
    let wire = Wire::new(1)
        .sent("HEAD /a HTTP/1.1\r\n\r\n")
        .received("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n")
        .sent(GET)
        .received(OK);
    assert_eq!(
        told(&wire.events),
        ["/a:0 200:0 Complete", "/a:0 200:2 Complete"]
    );
}

#[test]
fn close_delimited_responses_end_with_a_clean_end() {
    let response = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    let client = || Wire::new(1).sent(GET).received(response);
    let server = || Wire::new(1).received(GET).sent(response);
    for (wire, line) in [
        (client().end_of_stream(), "/a:0 200:13 Complete"),
        (client().peer_finished().closed(), "/a:0 200:13 Complete"),
        (client().closed(), "/a:0 200:13 ClientClosed"),
        (client().broken(104), "/a:0 200:13 Broken { errno: 104 }"),
        (server().closed(), "/a:0 200:13 Complete"),
        (server().broken(104), "/a:0 200:13 Broken { errno: 104 }"),
        (server().exited(), "/a:0 200:13 ProcessExited"),
    ] {
        assert_eq!(told(&wire.events), [line]);
    }
}

#[test]
fn outcomes_say_who_ended_it() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok";
    let client = || Wire::new(1).sent(GET);
    let server = || Wire::new(1).received(GET);
    for (wire, line) in [
        (client().closed(), "/a:0 - ClientClosed"),
        (client().end_of_stream(), "/a:0 - ServerClosed"),
        (
            client().peer_finished().end_of_stream().closed(),
            "/a:0 - ServerClosed",
        ),
        (client().broken(110), "/a:0 - Broken { errno: 110 }"),
        (client().exited(), "/a:0 - ProcessExited"),
        (client().received(half).closed(), "/a:0 200:2 ClientClosed"),
        (
            client().received(half).end_of_stream(),
            "/a:0 200:2 ServerClosed",
        ),
        (
            client().received(half).broken(104),
            "/a:0 200:2 Broken { errno: 104 }",
        ),
        (
            client().received("HTTP/1.1 2").closed(),
            "/a:0 - ClientClosed",
        ),
        (server().closed(), "/a:0 - ServerClosed"),
        (server().end_of_stream().closed(), "/a:0 - ClientClosed"),
        (server().peer_finished().closed(), "/a:0 - ClientClosed"),
        (server().sent(half).closed(), "/a:0 200:2 ServerClosed"),
        (
            server().sent(half).peer_finished().closed(),
            "/a:0 200:2 ClientClosed",
        ),
        (
            server().sent(half).broken(32),
            "/a:0 200:2 Broken { errno: 32 }",
        ),
        (server().sent(half).exited(), "/a:0 200:2 ProcessExited"),
    ] {
        assert_eq!(told(&wire.events), [line]);
    }
    let unfinished = Stages::new()
        .run(&client().received(half).events)
        .finish(2000);
    assert_eq!(unfinished.lines(), ["/a:0 200:2 Unfinished"]);
    assert_eq!(unfinished.ended()[0].ended_at, 2000);
}

#[test]
fn a_client_that_is_done_may_let_its_server_finish() {
    let wire = Wire::new(1).received(GET).end_of_stream().sent(OK).closed();
    assert_eq!(told(&wire.events), ["/a:0 200:2 Complete"]);
}

#[test]
fn idle_connections_have_no_exchange() {
    let wire = Wire::new(1).sent(GET).received(OK);
    for wire in [
        wire.clone().closed(),
        wire.clone().end_of_stream().closed(),
        wire.clone().broken(104),
        wire.exited(),
    ] {
        assert_eq!(told(&wire.events), ["/a:0 200:2 Complete"]);
    }
    assert_eq!(told(&Wire::new(1).connecting().closed().events), [""; 0]);
}

#[test]
fn a_server_may_answer_before_the_request_is_whole() {
    let half = "POST /a HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc";
    let refused = "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
    let wire = || Wire::new(1).sent(half).received(refused);
    for (wire, line) in [
        (wire(), vec![]),
        (wire().sent("defghi"), vec!["/a:9 413:0 Complete"]),
        (wire().closed(), vec!["/a:3 413:0 Complete"]),
        (wire().broken(104), vec!["/a:3 413:0 Complete"]),
    ] {
        assert_eq!(told(&wire.events), line);
    }
    let stages = Stages::new().run(&wire().closed().events);
    assert_eq!(
        stages.ended()[0].ended_at,
        1020,
        "the response was whole then"
    );
}

#[test]
fn an_interim_response_is_not_the_final_one() {
    let wire = Wire::new(1)
        .sent("POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
        .received("HTTP/1.1 100 Continue\r\n\r\n")
        .sent("body")
        .received(OK);
    let stages = Stages::new().run(&wire.events);
    assert_eq!(stages.lines(), ["/a:4 200:2 Complete"]);
    assert_eq!(stages.ended()[0].response.as_ref().unwrap().at, 1040);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let request = |path| format!("GET {path} HTTP/1.1\r\n\r\n");
    let requests = request("/1") + &request("/2") + &request("/3");
    let responses = OK.replace("200", "201") + &OK.replace("200", "202") + OK;
    let wire = Wire::new(1).received(requests).sent(responses);
    assert_eq!(
        told(&wire.events),
        [
            "/1:0 201:2 Complete",
            "/2:0 202:2 Complete",
            "/3:0 200:2 Complete"
        ]
    );
}

#[test]
fn times_of_bodies_and_events_are_told() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let wire = Wire::new(1)
        .sent(GET)
        .received(head)
        .received("9\r\ndata: a\n\n\r\n")
        .received("8\r\ndata: b\n\r\n")
        .received("1\r\n\n\r\n")
        .received("0\r\n\r\n");
    let stages = Stages::new().run(&wire.events);
    let response = stages.ended()[0].response.clone().unwrap();
    assert_eq!((response.at, response.first_body_at), (1020, Some(1030)));
    assert_eq!(
        (response.body.wire_bytes, response.body.last_at),
        (18, 1060)
    );
    assert_eq!(
        response.events,
        Some(EventTimes {
            count: 2,
            first_at: 1030,
            last_at: 1050,
        })
    );
}

#[test]
fn failed_connects_are_told() {
    let stages = Stages::new().run(&Wire::new(1).connecting().connect_failed(111).events);
    let [ExchangeEvent::ConnectFailed(failure)] = &stages.told[..] else {
        panic!("{:?}", stages.told);
    };
    assert_eq!(
        (failure.id.0, failure.errno, failure.actor.pid),
        (1, 111, PID)
    );
    assert_eq!((failure.at, failure.failed_at), (1010, 1020));
}

#[test]
fn exchanges_end_before_their_process() {
    let stages = Stages::new().run(&Wire::new(1).sent(GET).exited().events);
    let [
        ExchangeEvent::Started(_),
        ExchangeEvent::Ended(_),
        ExchangeEvent::ProcessExited { pid: PID, at: 1020 },
    ] = stages.told[..]
    else {
        panic!("{:?}", stages.told);
    };
}

#[test]
fn connections_do_not_affect_each_other() {
    let first = Wire::new(1)
        .sent(GET)
        .received("HTTP/1.1 204 x\r\n\r\n")
        .closed();
    let (before, after) = first.events.split_at(1);
    let mut events = before.to_vec();
    events.extend(Wire::new(2).sent([0; 9]).events);
    events.extend(
        Wire::new(3)
            .sent("GET /b HTTP/1.1\r\n\r\n")
            .received(OK)
            .events,
    );
    events.extend(Wire::new(2).received(OK).broken(104).events);
    events.extend_from_slice(after);
    assert_eq!(
        told(&events),
        ["/b:0 200:2 Complete", "/a:0 204:0 Complete"]
    );
}

#[test]
fn a_response_may_be_told_before_its_request() {
    let wire = Wire::new(1).received(OK).sent(GET).received(OK).sent(GET);
    let stages = Stages::new().run(&wire.events);
    assert_eq!(stages.lines(), ["/a:0 200:2 Complete"; 2]);
    assert_eq!(stages.counters().1.held_responses, 2);
    assert_eq!(stages.ended()[0].response.as_ref().unwrap().at, 1020);

    let too_late = Wire::new(1)
        .received(OK)
        .after(100_000_000)
        .sent(GET)
        .received(OK);
    let stages = Stages::new().run(&too_late.events);
    assert_eq!(stages.lines(), ["/a:0 200:2 Complete"]);
    assert_eq!(stages.counters().1.unpaired_responses, 1);

    let by_server = Wire::new(1).sent(OK).received(GET).sent(OK);
    let stages = Stages::new().run(&by_server.events);
    assert_eq!(stages.lines(), ["/a:0 200:2 Complete"]);
    assert_eq!(stages.counters().1.unpaired_responses, 1);
}

#[test]
fn senseless_heads_cost_one_exchange() {
    for bad in [
        "GET / HTTP/1.1\r\n\0: b\r\n\r\n",
        "GET /\r\n\r\n",
        "{}\r\n\r\n",
    ] {
        let wire = Wire::new(1)
            .received(GET)
            .sent(OK)
            .received(bad)
            .sent("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n")
            .received(GET)
            .sent(OK);
        let stages = Stages::new().run(&wire.events);
        assert_eq!(
            stages.lines().last().unwrap(),
            "/a:0 200:2 Complete",
            "{bad:?}"
        );
    }
}

#[test]
fn bad_lengths_cost_their_exchange() {
    let bad = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy";
    let wire = Wire::new(1).sent(GET).received(bad).sent(GET).received(OK);
    let stages = Stages::new().run(&wire.events);
    assert_eq!(
        stages.lines(),
        ["/a:0 200:2 Unobserved", "/a:0 200:2 Complete"]
    );
    assert_eq!(stages.counters().1.bad_lengths, 1);
}

#[test]
fn gaps_within_bodies_are_stepped_over() {
    let post = "POST /a HTTP/1.1\r\ncontent-length: 1000\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n";
    let wire = Wire::new(1)
        .moved(Sent, format!("{post}head"), 992)
        .sent("tail")
        .moved(Received, format!("{chunked}head"), 992)
        .received("tail\r\n0\r\n\r\n");
    let stages = Stages::new().run(&wire.events);
    assert_eq!(stages.lines(), ["/a:1000-992 200:1000-992 Complete"]);
    assert_eq!(stages.counters().1.framing_lost, 0);
    let to_the_end = Wire::new(1).moved(Sent, post, 1000).received(OK);
    assert_eq!(told(&to_the_end.events), ["/a:1000-1000 200:2 Complete"]);
}

#[test]
fn late_connections_are_followed_from_their_next_exchange() {
    let next = |wire: Wire| wire.sent(GET).received(OK);
    for wire in [
        Wire::late(1),
        Wire::late(1).received("rest of some body"),
        Wire::late(1).received(OK),
        Wire::late(1)
            .sent("rest of some request\r\n\r\n")
            .received(OK),
    ] {
        assert_eq!(told(&next(wire).events), ["/a:0 200:2 Complete"]);
    }
}
