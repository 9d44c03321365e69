//! Tests of stage 3: what is told of bodies.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::CONTENT_TYPE;

use super::part::MessageContent;
use super::*;
use crate::capture::event::Direction::Received;
use crate::streams::testing::Wire;
use crate::streams::{self, Streams};

/// Reads JSON, and the events of event streams.
fn reading(headers: &HeaderMap) -> Reading {
    match headers.get(CONTENT_TYPE).map(|value| value.as_bytes()) {
        Some(b"application/json") => Reading::Bytes,
        Some(b"text/event-stream") => Reading::Events,
        _ => Reading::Unsaid,
    }
}

/// What is told of the bodies: bytes, `gap`, `event:…`.
fn bodies(protocols: &mut Protocols, wire: Wire) -> Vec<String> {
    let mut streams = Streams::new(streams::Limits::default());
    let (mut chunks, mut parts) = (Vec::new(), Vec::new());
    for event in &wire.events {
        streams.push(event, &mut chunks);
    }
    for chunk in chunks {
        protocols.push(chunk, &mut parts);
    }
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Message(part) => match &part.content {
                MessageContent::Bytes(bytes) => Some(text(bytes)),
                MessageContent::Gap => Some("gap".to_string()),
                MessageContent::Event(event) => Some(format!("event:{}", text(&event.data))),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn protocols() -> Protocols {
    Protocols::new(Limits::default(), reading)
}

#[test]
fn what_waits_is_given_up_when_memory_is_short() {
    let mut protocols = protocols();
    let cut = "GET / HTTP/1.1\r\nhost: a";
    let mut parts = Vec::new();
    // A server's, of which nothing else is given up.
    assert_eq!(bodies(&mut protocols, Wire::new(2).received(cut)), [""; 0]);
    protocols.shed(4000, &mut parts);
    assert_eq!(protocols.counters().buffers_exhausted, 1);
    assert_eq!(bodies(&mut protocols, Wire::new(1).sent(cut)), [""; 0]);
    assert_eq!(protocols.buffered, cut.len());
    protocols.shed(5000, &mut parts);
    assert_eq!(
        (protocols.buffered, protocols.counters().buffers_exhausted),
        (0, 2)
    );
    // The connection is still followed, from the next message on.
    let rest = Wire::late(1)
        .sent(GET)
        .received(head("application/json", "identity", 2) + "{}");
    assert_eq!(bodies(&mut protocols, rest), ["{}"]);
    assert_eq!(protocols.take_opaque(), []);
}

const GET: &str = "GET / HTTP/1.1\r\n\r\n";

fn head(content_type: &str, coding: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-encoding: {coding}\r\n\
         content-length: {length}\r\n\r\n"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_bodies_look_like_decides() {
    for content_type in ["application/json", "text/plain", "text/event-stream"] {
        let told = |pieces: [&str; 2]| {
            let length = pieces.concat().len();
            let wire = Wire::new(1)
                .sent(GET)
                .received(head(content_type, "identity", length));
            let wire = wire.received(pieces[0]).received(pieces[1]);
            bodies(&mut protocols(), wire)
        };
        assert_eq!(told(["{\"a\":", "1}"]), ["{\"a\":", "1}"], "{content_type}");
        assert_eq!(told(["da", "ta: x\n\n"]), ["event:x"], "{content_type}");
        let of_other = match content_type {
            "application/json" => vec!["tr", "ue"],
            _ => vec![],
        };
        assert_eq!(told(["tr", "ue"]), of_other, "{content_type}");
    }
}

#[test]
fn of_what_nobody_reads_gaps_are_not_told() {
    for (content_type, told) in [
        ("text/plain", vec![]),
        ("application/json", vec!["gap", "{"]),
        ("text/event-stream", vec!["gap"]),
    ] {
        let wire = Wire::new(1)
            .sent(GET)
            .received(head(content_type, "identity", 7))
            .moved(Received, b"", 6)
            .received("{");
        assert_eq!(bodies(&mut protocols(), wire), told, "{content_type}");
    }
}

#[test]
fn chunked_and_coded_bodies_are_told_as_they_come() {
    let encoded = gzip(b"{\"a\": 1}");
    let (one, two) = encoded.split_at(encoded.len() - 9);
    let start = head("application/json", "gzip", 0)
        .replace("content-length: 0", "transfer-encoding: chunked");
    let chunk = |bytes: &[u8]| {
        let size = format!("{:x}\r\n", bytes.len());
        [size.as_bytes(), bytes, b"\r\n"].concat()
    };
    let wire = Wire::new(1).sent(GET).received(start).received(chunk(one));
    let wire = wire.received(chunk(two)).received("0\r\n\r\n");
    assert_eq!(bodies(&mut protocols(), wire).concat(), "{\"a\": 1}");
}

#[test]
fn a_gap_is_told_and_ends_the_decoding() {
    let plain = |coding| {
        Wire::new(1)
            .sent(GET)
            .moved(Received, head("application/json", coding, 9) + "abc", 3)
    };
    assert_eq!(
        bodies(&mut protocols(), plain("identity").received("ghi")),
        ["abc", "gap", "ghi"]
    );
    let encoded = gzip(&[b'x'; 100]);
    let start = head("application/json", "gzip", encoded.len() + 20).into_bytes();
    let start = [&start[..], &encoded[..5]].concat();
    let wire = Wire::new(1)
        .sent(GET)
        .moved(Received, start, 20)
        .received(&encoded[5..]);
    let mut protocols = protocols();
    assert_eq!(bodies(&mut protocols, wire), ["gap"]);
    assert_eq!(protocols.counters().undecoded_after_gap, 1);
}

#[test]
fn senseless_codings_end_the_decoding_and_not_the_message() {
    let wire = Wire::new(1)
        .sent(GET)
        .received(head("application/json", "gzip", 5) + "never");
    let wire = wire
        .sent(GET)
        .received(head("application/json", "zip", 2) + "{}");
    let wire = wire
        .sent(GET)
        .received(head("application/json", "identity", 2) + "{}");
    let mut protocols = protocols();
    assert_eq!(bodies(&mut protocols, wire), ["gap", "{}"]);
    let counters = protocols.counters();
    assert_eq!(
        (counters.bad_coded_bodies, counters.unknown_codings),
        (1, 1)
    );
    assert_eq!(counters.responses, 3);
}

#[test]
fn decoders_are_bounded_and_given_back() {
    let limits = Limits {
        decoders: 2,
        ..Limits::default()
    };
    let mut protocols = Protocols::new(limits, reading);
    let encoded = gzip(b"{}");
    let start = head("application/json", "gzip", encoded.len());
    for socket in 0..3 {
        bodies(&mut protocols, Wire::new(socket).sent(GET).received(&start));
    }
    assert_eq!(protocols.counters().decoders_exhausted, 1);
    let whole = [start.as_bytes(), &encoded].concat();
    let ended = Wire::new(0).sent(GET).received(&start).closed();
    let mut chunks = Vec::new();
    let mut streams = Streams::new(streams::Limits::default());
    for event in &ended.events {
        streams.push(event, &mut chunks);
    }
    protocols.push(chunks.remove(2), &mut Vec::new());
    assert_eq!(
        bodies(&mut protocols, Wire::new(9).sent(GET).received(whole)),
        ["{}"]
    );
}

#[test]
fn events_are_told_from_coded_streams() {
    let encoded = gzip(b"data: a\n\ndata: b\n\n");
    let wire = Wire::new(1)
        .sent(GET)
        .received(head("text/event-stream", "gzip", encoded.len()));
    let wire = wire.received(&encoded);
    assert_eq!(bodies(&mut protocols(), wire), ["event:a", "event:b"]);
}
