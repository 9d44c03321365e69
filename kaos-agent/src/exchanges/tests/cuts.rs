//! However the bytes are cut, the same is told.

use proptest::prelude::*;

use super::conversation::{expected, turns, wire};
use super::*;
use crate::streams::testing::{Wire, cut};

/// Bodies that look like what they are in, and by their beginning like no event stream.
const EVIL_BODY: &str =
    "(a(a|\r\n|\n|0\r\n\r\n|GET / HTTP/1.1\r\n\r\n|HTTP/1.1 200 OK\r\n|[0-9]|data: ){0,12})?";

fn cut_all(events: &[Event], offsets: &[Vec<usize>]) -> Vec<Event> {
    let offsets = offsets.iter().cycle();
    events
        .iter()
        .zip(offsets)
        .flat_map(|(event, offsets)| cut(event, offsets))
        .collect()
}

fn events_told(stages: &Stages) -> Vec<(String, Option<u64>)> {
    stages
        .ended()
        .iter()
        .map(|ended| {
            let events = ended.response.as_ref().and_then(|response| response.events);
            (line(ended), events.map(|events| events.count))
        })
        .collect()
}

proptest! {
    #[test]
    fn conversations_are_told_however_they_are_cut(
        turns in turns(EVIL_BODY, true),
        is_client in any::<bool>(),
        offsets in prop::collection::vec(prop::collection::vec(any::<usize>(), 0..8), 1..6),
    ) {
        let whole = wire(&turns, is_client).events;
        let told = Stages::new().run(&whole);
        prop_assert_eq!(events_told(&told), expected(&turns));
        let cut = Stages::new().run(&cut_all(&whole, &offsets));
        prop_assert_eq!(format!("{:?}", cut.told), format!("{:?}", told.told));
        let every_byte: Vec<usize> = (0..4_000).collect();
        let single = Stages::new().run(&cut_all(&whole, &[every_byte]));
        prop_assert_eq!(format!("{:?}", single.told), format!("{:?}", told.told));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        operations in prop::collection::vec((any::<bool>(), arbitrary_bytes(), 0_u64..20), 0..30),
        is_late in any::<bool>(),
    ) {
        let mut wire = if is_late { Wire::late(1) } else { Wire::new(1) };
        for (is_sent, bytes, lost) in operations {
            let direction = if is_sent {
                crate::capture::event::Direction::Sent
            } else {
                crate::capture::event::Direction::Received
            };
            wire = wire.moved(direction, bytes, lost.saturating_sub(16));
        }
        let stages = Stages::new().run(&wire.closed().events);
        let started = stages.counters().2.started;
        prop_assert_eq!(started, stages.ended().len() as u64, "what began ends");
    }
}

/// Bytes that now and then look like HTTP.
fn arbitrary_bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Type: text/event-stream\r\n",
        "Content-Encoding: gzip\r\n",
        "Content-Encoding: br, deflate, zstd\r\n",
        "\r\n",
        "5\r\nhello\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\r\n",
        "data: x\n\n",
    ]);
    let piece = prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}
