//! Tests of stage 2.

use proptest::prelude::*;

use super::testing::{PID, Wire};
use super::*;
use crate::capture::event::Direction::{Received, Sent};

/// What a stage tells of the events, one word each.
fn told_by(streams: &mut Streams, events: &[Event]) -> Vec<String> {
    let mut chunks = Vec::new();
    for event in events {
        streams.push(event, &mut chunks);
    }
    words(&chunks)
}

fn told(wire: Wire) -> Vec<String> {
    told_by(&mut Streams::new(Limits::default()), &wire.events)
}

fn words(chunks: &[Chunk]) -> Vec<String> {
    chunks
        .iter()
        .map(|chunk| match chunk {
            Chunk::Stream(chunk) => match &chunk.content {
                Content::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Content::Gap(Gap::Missing(missing)) => format!("gap:{missing}"),
                Content::Gap(gap) => format!("{gap:?}"),
                Content::End => "end".to_string(),
            },
            Chunk::ConnectFailed(failed) => {
                format!("failed:{}:{}", failed.errno, failed.failed_at - failed.at)
            }
            Chunk::Ended(end) => format!("{:?}", end.ending),
            Chunk::ProcessExited { pid, .. } => format!("exited:{pid}"),
        })
        .collect()
}

#[test]
fn bytes_follow_each_other() {
    let wire = Wire::new(1).sent("a").received("b").sent("c");
    assert_eq!(told(wire), ["a", "b", "c"]);
}

#[test]
fn positions_are_told() {
    let wire = Wire::new(1)
        .moved(Sent, "abc", 5)
        .sent("d")
        .lost(Sent, 2)
        .sent("e");
    let mut streams = Streams::new(Limits::default());
    let mut chunks = Vec::new();
    for event in &wire.events {
        streams.push(event, &mut chunks);
    }
    let positions: Vec<u64> = chunks
        .iter()
        .map(|chunk| match chunk {
            Chunk::Stream(chunk) => chunk.position,
            _ => unreachable!("only bytes moved"),
        })
        .collect();
    assert_eq!(positions, [10_000, 10_003, 10_008, 10_009, 10_011]);
    assert_eq!(words(&chunks), ["abc", "gap:5", "d", "gap:2", "e"]);
    let counters = streams.counters();
    assert_eq!(
        (counters.gaps, counters.gap_bytes, counters.skipped_bytes),
        (1, 2, 5)
    );
    assert_eq!((counters.bytes, counters.connections), (5, 1));
}

#[test]
fn late_starts_are_told_per_direction() {
    let wire = Wire::late(1).sent("a").sent("b").received("c");
    assert_eq!(told(wire), ["LateStart", "a", "b", "LateStart", "c"]);
}

#[test]
fn what_was_told_is_not_told_again() {
    for (offset, bytes, expected) in [
        (-2, "ab", vec!["abcd", "e"]),
        (-4, "ab", vec!["abcd", "e"]),
        (-2, "cdE", vec!["abcd", "E", "e"]),
        (0, "E", vec!["abcd", "E", "e"]),
    ] {
        let wire = Wire::new(1).sent("abcd").moved_at(Sent, offset, bytes);
        let end = offset + i64::try_from(bytes.len()).unwrap();
        let wire = wire.moved_at(Sent, -end.min(0), "e");
        assert_eq!(told(wire), expected, "{offset} {bytes}");
    }
}

#[test]
fn absurd_positions_are_told_as_such() {
    for offset in [-(1_i64 << 30), 1 << 40, i64::MAX] {
        let wire = Wire::new(1).moved_at(Sent, 1 << 32, "a");
        let wire = wire.moved_at(Sent, offset, "b").sent("c");
        assert_eq!(told(wire), ["a", "Unknown", "b", "c"], "{offset}");
    }
}

#[test]
fn connections_end_once() {
    for (wire, ending) in [
        (
            Wire::new(1).sent("a").closed(),
            "Closed { peer_finished: false }",
        ),
        (
            Wire::new(1).sent("a").peer_finished().closed(),
            "Closed { peer_finished: true }",
        ),
        (Wire::new(1).sent("a").broken(104), "Broken { errno: 104 }"),
    ] {
        assert_eq!(
            told(wire.closed().broken(32).end_of_stream()),
            ["a", ending]
        );
    }
    let read_the_end = Wire::new(1).sent("a").end_of_stream().closed();
    assert_eq!(
        told(read_the_end),
        ["a", "end", "Closed { peer_finished: true }"]
    );
}

#[test]
fn failed_connects_have_both_times() {
    assert_eq!(
        told(Wire::new(1).connecting().after(990).connect_failed(111)),
        ["failed:111:1000"]
    );
    assert_eq!(told(Wire::new(1).connect_failed(110)), ["failed:110:0"]);
}

#[test]
fn connections_end_with_the_process_that_used_them_last() {
    let wire = Wire::new(1).sent("a").by(7).sent("b").exited();
    assert_eq!(told(wire), ["a", "b", "ProcessExited", "exited:7"]);
    let wire = Wire::new(1)
        .by(7)
        .sent("a")
        .by(PID)
        .sent("b")
        .by(7)
        .exited();
    assert_eq!(told(wire), ["a", "b", "exited:7"]);
}

#[test]
fn the_least_recently_used_gives_way() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let mut streams = Streams::new(limits);
    assert_eq!(told_by(&mut streams, &Wire::new(1).sent("a").events), ["a"]);
    assert_eq!(told_by(&mut streams, &Wire::new(2).sent("b").events), ["b"]);
    assert_eq!(
        told_by(&mut streams, &Wire::late(1).moved_at(Sent, 1, "c").events),
        ["c"]
    );
    let third = told_by(&mut streams, &Wire::new(3).sent("d").events);
    assert_eq!(third, ["Forgotten", "d"]);
    assert_eq!(streams.counters().evicted, 1);
    assert_eq!(
        told_by(&mut streams, &Wire::late(1).moved_at(Sent, 2, "e").events),
        ["e"]
    );
}

#[test]
fn idle_connections_are_forgotten() {
    let limits = Limits {
        idle: 100,
        ..Limits::default()
    };
    let mut streams = Streams::new(limits);
    told_by(&mut streams, &Wire::new(1).sent("a").events);
    told_by(&mut streams, &Wire::new(2).after(50).sent("a").events);
    let mut chunks = Vec::new();
    streams.tick(1109, &mut chunks);
    assert_eq!(words(&chunks), [""; 0]);
    streams.tick(1110, &mut chunks);
    assert_eq!(words(&chunks), ["Forgotten"]);
    streams.finish(1111, &mut chunks);
    assert_eq!(words(&chunks), ["Forgotten", "AgentStopped"]);
}

#[test]
fn new_connections_are_not_followed_while_memory_is_short() {
    let mut streams = Streams::new(Limits::default());
    let known = Wire::new(1).sent("a").sent("b");
    assert_eq!(told_by(&mut streams, &known.events[..1]), ["a"]);
    streams.admit(false);
    let new = Wire::new(2).sent("c").sent("d").closed();
    assert_eq!(told_by(&mut streams, &new.events), [""; 0]);
    assert_eq!((streams.connections(), streams.counters().refused), (1, 1));
    assert_eq!(streams.take_refused(), [SocketId(2)]);
    assert_eq!(streams.take_refused(), []);
    assert_eq!(told_by(&mut streams, &known.events[1..]), ["b"]);
    streams.admit(true);
    told_by(&mut streams, &Wire::new(3).sent("e").events);
    assert_eq!(streams.connections(), 2);
}

/// A socket operation with any numbers.
fn any_data() -> impl Strategy<Value = (bool, u64, usize, u64, bool, bool)> {
    let position = prop_oneof![0_u64..200, Just(u64::MAX), any::<u64>()];
    let skipped = prop_oneof![Just(0), 0_u64..50, Just(u64::MAX)];
    (
        any::<bool>(),
        position,
        0_usize..50,
        skipped,
        any::<bool>(),
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn pieces_follow_each_other_whatever_comes(operations in prop::collection::vec(any_data(), 0..40)) {
        let mut streams = Streams::new(Limits::default());
        let mut next: [Option<u64>; 2] = [None; 2];
        for (is_sent, position, length, skipped, stream_start, end_of_stream) in operations {
            let template = Wire::new(1).sent(vec![b'x'; length]).events.remove(0);
            let Event::Data(mut data) = template else { unreachable!("it moves bytes") };
            data.direction = if is_sent { Sent } else { Received };
            (data.position, data.skipped) = (position, skipped);
            (data.stream_start, data.end_of_stream) = (stream_start, end_of_stream);
            let mut chunks = Vec::new();
            streams.push(&Event::Data(data), &mut chunks);
            for chunk in chunks {
                let Chunk::Stream(chunk) = chunk else { unreachable!("nothing ended") };
                let expected = &mut next[chunk.direction as usize];
                let moved = match &chunk.content {
                    Content::Bytes(bytes) => bytes.len() as u64,
                    Content::Gap(Gap::Missing(missing)) => *missing,
                    Content::Gap(_) => { *expected = None; 0 }
                    Content::End => 0,
                };
                prop_assert_eq!(expected.unwrap_or(chunk.position), chunk.position);
                *expected = Some(chunk.position.saturating_add(moved));
            }
        }
    }
}
