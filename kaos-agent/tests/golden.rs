//! Golden replays: recordings of real traffic, run through all stages, against the spans and
//! measurements that they are known to give.
//!
//! `cargo insta review` shows what a change of the stages changes in them. `testdata/README.md`
//! tells how the recordings were made.

mod recordings;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use kaos_agent::capture::event::{Data, Event, PeerEvent, PeerInfo};
use kaos_agent::export::tree::{Details, Style, TreeSpan, render};
use kaos_agent::telemetry::Signal;
use opentelemetry::trace::SpanKind;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use recordings::{recordings, stages};

fn replay(events: &[Event]) -> Vec<Signal> {
    replay_with(events, &[])
}

/// The same with this environment of the agent.
fn replay_with(events: &[Event], environment: &[(String, String)]) -> Vec<Signal> {
    let mut stages = stages(environment);
    let mut signals = Vec::new();
    for event in events {
        stages.push(event, &mut signals);
    }
    let last = events.last().map_or(0, Event::at);
    stages.finish(last, &mut signals);
    signals
}

/// Spans as trees with all their attributes, then the measurements with their sums. Traces are
/// numbered: their ids say nothing to a reader.
fn text(signals: &[Signal]) -> String {
    let mut numbers = BTreeMap::new();
    let mut spans = Vec::new();
    let mut measurements: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for signal in signals {
        match signal {
            Signal::Span { service, span } => {
                let mut span = TreeSpan::new(&service.name, span);
                let next = numbers.len() + 1;
                span.trace_id = numbers.entry(span.trace_id).or_insert(next).to_string();
                spans.push(span);
            }
            Signal::Measurement {
                service,
                instrument,
                value,
                attributes,
                ..
            } => {
                let mut labels: Vec<_> = attributes
                    .iter()
                    .map(|attribute| format!("{}={}", attribute.key, attribute.value))
                    .collect();
                labels.sort();
                let series = format!(
                    "{} {} {{{}}}",
                    service.name,
                    instrument.name,
                    labels.join(", ")
                );
                let (count, sum) = measurements.entry(series).or_default();
                *count += 1;
                *sum += value;
            }
        }
    }
    let style = Style {
        colours: false,
        details: Details::All,
    };
    let mut text = render(&spans, style);
    for (series, (count, sum)) in measurements {
        text += &format!("{series}: {count} times, {sum:.6} in all\n");
    }
    text
}

#[test]
fn recordings_give_the_known_spans() {
    for recording in recordings() {
        insta::assert_snapshot!(recording.name(), text(&replay(&recording.events())));
    }
}

#[test]
fn the_same_recording_gives_the_same_signals() {
    for recording in recordings() {
        let events = recording.events();
        assert_eq!(
            format!("{:?}", replay(&events)),
            format!("{:?}", replay(&events))
        );
    }
}

/// Attributes that name who has the address that was called.
const PEER: [&str; 4] = [
    "k8s.service.name",
    "peer.service",
    "service.peer.name",
    "service.peer.namespace",
];

#[test]
fn calls_are_told_with_who_has_their_address_and_nothing_else_changes() {
    // Where everything was when it was recorded.
    let address: IpAddr = Ipv4Addr::LOCALHOST.into();
    let peer = Event::Peer(PeerEvent {
        at: 0,
        uid: "u".to_owned(),
        peer: Some(Box::new(PeerInfo {
            addresses: vec![address],
            service_name: "named".to_owned(),
            namespace: "team".to_owned(),
            cluster_service: Some("service".to_owned()),
        })),
    });
    let mut named = 0;
    for recording in recordings() {
        let mut events = recording.events();
        let plain = replay(&events);
        events.insert(0, peer.clone());
        let mut told = replay(&events);
        for signal in &mut told {
            let Signal::Span { span, .. } = signal else {
                continue;
            };
            let value = |name: &str| {
                let mut found = span.attributes.iter();
                let found = found.find(|it| it.key.as_str() == name);
                found.map(|it| it.value.to_string())
            };
            let is_called = span.span_kind == SpanKind::Client
                && value("network.peer.address") == Some(address.to_string());
            let expected =
                ["service", "named", "named", "team"].map(|it| is_called.then(|| it.to_owned()));
            assert_eq!(PEER.map(value), expected, "{}", span.name);
            named += usize::from(is_called);
            span.attributes
                .retain(|it| !PEER.contains(&it.key.as_str()));
        }
        assert_eq!(text(&told), text(&plain), "{}", recording.name());
    }
    assert!(named > 100, "{named} calls were named");
}

#[test]
fn measurements_do_not_need_sampled_traces() {
    let off = ("OTEL_TRACES_SAMPLER".to_owned(), "always_off".to_owned());
    for recording in recordings() {
        let events = recording.events();
        let is_measurement = |signal: &Signal| matches!(signal, Signal::Measurement { .. });
        let mut sampled = replay(&events);
        sampled.retain(is_measurement);
        let not_sampled = replay_with(&events, std::slice::from_ref(&off));
        assert!(not_sampled.iter().all(is_measurement));
        assert_eq!(text(&not_sampled), text(&sampled), "{}", recording.name());
    }
}

/// What the scenarios of `testdata/record.py` use as secrets.
const SECRETS: [&str; 2] = ["of-the-tests", "=secret"];

#[test]
fn recordings_hold_no_secrets() {
    for recording in recordings() {
        let text: String = recording
            .events()
            .iter()
            .map(|event| match event {
                Event::Data(data) => String::from_utf8_lossy(&data.bytes).into_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        for secret in SECRETS {
            assert!(!text.contains(secret), "{}: {secret}", recording.name());
        }
    }
}

/// The events with their bytes cut into pieces of these lengths, over and over.
fn cut(events: &[Event], lengths: &[usize]) -> Vec<Event> {
    let mut lengths = lengths.iter().cycle();
    let mut pieces = Vec::new();
    for event in events {
        let Event::Data(data) = event else {
            pieces.push(event.clone());
            continue;
        };
        let mut rest = data.clone();
        while let Some(length) = lengths.next()
            && rest.bytes.len() > *length
        {
            let piece = Data {
                skipped: 0,
                end_of_stream: false,
                ..rest.clone()
            };
            pieces.push(Event::Data(Data {
                bytes: rest.bytes.split_to(*length),
                ..piece
            }));
            rest.position += *length as u64;
            rest.stream_start = false;
        }
        pieces.push(Event::Data(rest));
    }
    pieces
}

#[test]
fn cuts_make_no_difference() {
    for recording in recordings() {
        let events = recording.events();
        let expected = text(&replay(&events));
        assert_eq!(
            text(&replay(&cut(&events, &[1]))),
            expected,
            "{}",
            recording.name()
        );
        let mut runner = TestRunner::new(Config {
            cases: 48,
            ..Config::default()
        });
        let result = runner.run(&prop::collection::vec(1_usize..400, 1..8), |lengths| {
            prop_assert_eq!(text(&replay(&cut(&events, &lengths))), expected.clone());
            Ok(())
        });
        assert!(result.is_ok(), "{}: {result:?}", recording.name());
    }
}
