//! Lost records cost what they hit, and what comes after is told again. Nothing wrong is told.

use proptest::prelude::*;

use super::super::exchange::Outcome;
use super::conversation::{expected, turns, wire};
use super::*;
use crate::capture::event::Direction::{Received, Sent};
use crate::streams::testing::{Wire, cut};

/// Bodies that do not look like a start line.
const PLAIN_BODY: &str = "[a-z0-9\r\n ]{0,60}";

/// Whether the response is the request's own: each carries the other's number.
fn is_right(exchange: &Exchange) -> bool {
    let Some(response) = &exchange.response else {
        return true;
    };
    let number = response.headers["x-number"].as_bytes();
    exchange.request.target.as_bytes()[1..] == *number
}

/// A line without the request.
fn response_of(line: &str) -> &str {
    line.split_once(' ').unwrap().1
}

proptest! {
    /// Each exchange in several records, some of which are lost; not the very first, without
    /// which a connection looks like one that was in use before.
    #[test]
    fn nothing_wrong_is_told_whatever_is_lost(
        turns in turns(PLAIN_BODY, false),
        is_client in any::<bool>(),
        offsets in prop::collection::vec(prop::collection::vec(any::<usize>(), 0..3), 1..6),
        lost in prop::collection::vec(prop::bool::weighted(0.3), 1..20),
    ) {
        let whole = wire(&turns, is_client).events;
        let records = whole.iter().zip(offsets.iter().cycle());
        let records = records.flat_map(|(event, offsets)| cut(event, offsets));
        let lost = std::iter::once(&false).chain(lost.iter().cycle());
        let records = records.zip(lost).filter(|(_, is_lost)| !**is_lost);
        let records: Vec<Event> = records.map(|(record, _)| record).collect();
        let expected = expected(&turns);
        let stages = Stages::new().run(&records).finish(1_000_000);
        for exchange in stages.ended() {
            prop_assert!(is_right(exchange), "{}", line(exchange));
            let number: usize = exchange.request.target[1..].parse().unwrap();
            let is_whole = exchange
                .response
                .as_ref()
                .is_some_and(|response| response.body.missing_bytes == 0);
            if exchange.outcome == Outcome::Complete && is_whole {
                // Of the request the end may be lost without a trace.
                let (told, expected) = (line(exchange), &expected[number].0);
                prop_assert_eq!(response_of(&told), response_of(expected));
            }
        }
    }

    /// One stretch of bytes is lost in one direction: all exchanges but the one that it hits, and
    /// the next, in which it may be found out, are told in full.
    #[test]
    fn what_comes_after_a_loss_is_told(
        turns in turns(PLAIN_BODY, false),
        is_client in any::<bool>(),
        operation in any::<prop::sample::Index>(),
        from in any::<usize>(),
        to in any::<usize>(),
    ) {
        let whole = wire(&turns, is_client).events;
        let hit = operation.index(whole.len());
        let mut records = Vec::new();
        for (index, event) in whole.iter().enumerate() {
            if index == hit {
                let mut pieces = cut(event, &[from, to]);
                let lost = pieces.len() / 2;
                pieces.remove(lost);
                records.extend(pieces);
            } else {
                records.push(event.clone());
            }
        }
        let stages = Stages::new().run(&records);
        let lines = stages.lines();
        for (number, (expected, _)) in expected(&turns).into_iter().enumerate() {
            if number != hit / 2 && number != hit / 2 + 1 {
                prop_assert!(lines.contains(&expected), "{number} of {lines:?}");
            }
        }
    }
}

const GET: &str = "GET /a HTTP/1.1\r\n\r\n";
const NEXT: &str = "GET /b HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_lost_response_costs_the_exchange_in_which_it_is_found_out() {
    let length = OK.len() as u64;
    let wire = Wire::new(1)
        .sent(GET)
        .received(OK)
        .sent(GET)
        .lost(Received, length)
        .sent(NEXT)
        .received(OK)
        .sent("GET /c HTTP/1.1\r\n\r\n")
        .received(OK);
    let stages = Stages::new().run(&wire.events);
    assert_eq!(
        stages.lines(),
        [
            "/a:0 200:2 Complete",
            "/a:0 - Unobserved",
            "/b:0 - Unobserved",
            "/c:0 200:2 Complete"
        ]
    );
    assert_eq!(stages.counters().0.gap_bytes, length);
    assert_eq!(stages.counters().1.unpaired_requests, 2);
    assert_eq!(stages.counters().1.unpaired_responses, 1);
}

#[test]
fn a_lost_request_costs_its_exchange() {
    let wire = Wire::new(1)
        .received(GET)
        .sent(OK)
        .lost(Received, 30)
        .sent(OK)
        .received(NEXT);
    let wire = wire.sent(OK);
    assert_eq!(
        told(&wire.events),
        ["/a:0 200:2 Complete", "/b:0 200:2 Complete"]
    );
}

#[test]
fn a_response_without_framing_lasts_until_the_next_request() {
    let wire = Wire::new(1)
        .sent(GET)
        .received(format!("{CHUNKED}5\r\nhello\r\n"))
        .lost(Received, 10)
        .received("5\r\nhello\r\n")
        .sent(NEXT)
        .received(OK);
    let stages = Stages::new().run(&wire.events);
    assert_eq!(
        stages.lines(),
        ["/a:0 200:25-10 Unobserved", "/b:0 200:2 Complete"]
    );
    assert_eq!(stages.ended()[0].ended_at, 1040, "its last byte moved then");
}

#[test]
fn a_response_without_framing_ends_with_the_last_chunk() {
    let head = format!("{CHUNKED}3e8\r\n");
    for ends in [vec!["tail\r\n0\r\n\r\n"], vec!["tail\r\n", "0\r\n\r\n"]] {
        let mut wire = Wire::new(1).sent(GET).moved(Received, &head, 5000);
        for end in ends {
            wire = wire.received(end);
        }
        let stages = Stages::new().run(&wire.sent(NEXT).received(OK).events);
        assert_eq!(
            stages.lines(),
            ["/a:0 200:5011-5000 Complete", "/b:0 200:2 Complete"]
        );
    }
}

#[test]
fn a_request_without_framing_still_gets_its_response() {
    let head = "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let wire = Wire::new(1)
        .sent(head)
        .lost(Sent, 10)
        .sent("0\r\n\r\n")
        .received(OK);
    let wire = wire.sent(NEXT).received(OK);
    let lines = told(&wire.events);
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("/a:") && lines[0].ends_with(" 200:2 Complete"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "/b:0 200:2 Complete");
}

#[test]
fn pipelining_and_loss_do_not_go_together() {
    let pipelined = format!("{GET}{NEXT}");
    let wire = Wire::new(1)
        .received(pipelined)
        .lost(Sent, 40)
        .sent(OK)
        .received(GET)
        .sent(OK);
    let mut stages = Stages::new().run(&wire.events);
    assert_eq!(stages.lines(), ["/a:0 - Unobserved", "/b:0 - Unobserved"]);
    assert_eq!(stages.opaque(), [SocketId(1)]);
}

#[test]
fn absurd_positions_cost_what_they_hit() {
    let wire = Wire::new(1).sent(GET).moved_at(Received, 0, OK);
    let wire = wire
        .sent(GET)
        .moved_at(Received, 1 << 40, OK)
        .sent(NEXT)
        .received(OK);
    assert_eq!(
        told(&wire.events),
        [
            "/a:0 200:2 Complete",
            "/a:0 - Unobserved",
            "/b:0 200:2 Complete"
        ]
    );
}
