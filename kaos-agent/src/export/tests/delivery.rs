//! Everything goes well.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::metrics::measure;
use super::{ENOUGH, PROTOCOLS, batched, exported, otlp, run_fast_clock, send, service};
use crate::export::exporter::{ExportCounters, Exporter, Target, WhenFull};
use crate::export::request::{ServiceSpan, of_spans};
use crate::export::routes::MAX_DESTINATIONS;
use crate::export::testing::collector::{Certificates, Collector, Message};
use crate::export::testing::{named_service, span};
use crate::identity::service::{Compression, Destination, Protocol};

#[tokio::test(start_paused = true)]
async fn every_protocol_delivers() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let mut collector = Collector::start(protocol).await;
        let mut destination = collector.destination();
        destination.headers = vec![("authorization".to_owned(), "Bearer t0ken".to_owned())];
        let mut exporter = otlp();
        send(&mut exporter, &service("shop", destination), &["1", "2"]);
        assert_eq!(
            exporter.flush_and_stop(ENOUGH).await,
            exported(2),
            "{protocol:?}"
        );

        let received = collector.next().await;
        assert_eq!(received.span_names(), ["1", "2"]);
        assert_eq!(received.header("authorization"), Some("Bearer t0ken"));
        let user_agent = received.header("user-agent").unwrap_or_default();
        assert!(user_agent.starts_with(crate::USER_AGENT), "{user_agent}");
        let Message::Traces(request) = received.message else {
            panic!("spans were sent");
        };
        let sent = of_spans(vec![ServiceSpan {
            service: named_service("shop"),
            span: Box::new(span("1")),
        }]);
        let [first, _] = &request.resource_spans[0].scope_spans[0].spans[..] else {
            panic!("two spans were sent");
        };
        assert_eq!(*first, sent.resource_spans[0].scope_spans[0].spans[0]);
        assert_eq!(
            request.resource_spans[0].resource,
            sent.resource_spans[0].resource
        );
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_requests_arrive() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
            let mut collector = Collector::start(protocol).await;
            let mut destination = collector.destination();
            destination.compression = Some(compression);
            let mut exporter = otlp();
            send(&mut exporter, &service("shop", destination), &["1"]);
            assert_eq!(exporter.flush_and_stop(ENOUGH).await, exported(1));
            let received = collector.next().await;
            assert_eq!(received.span_names(), ["1"]);
            let header = match protocol {
                Protocol::Grpc => "grpc-encoding",
                Protocol::HttpProtobuf | Protocol::HttpJson => "content-encoding",
            };
            assert_eq!(received.header(header), Some(name), "{protocol:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tls_trusts_the_given_authority_and_no_other() {
    run_fast_clock();
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    let read = |pem: &str| Some(Ok(pem.to_owned().into()));
    for protocol in PROTOCOLS {
        let any_port = "127.0.0.1:0".parse().unwrap();
        let mut collector = Collector::start_at(any_port, protocol, Some(&certificates)).await;
        let mut destination = collector.destination();
        destination.certificate = read(&certificates.authority);
        let mut exporter = otlp();
        send(
            &mut exporter,
            &service("trusts", destination.clone()),
            &["1"],
        );
        assert_eq!(
            exporter.flush_and_stop(ENOUGH).await,
            exported(1),
            "{protocol:?}"
        );
        assert_eq!(collector.next().await.span_names(), ["1"]);

        // One whose certificate names it as the process does, and not as the agent.
        let named = Destination {
            endpoint: destination.endpoint.replace("127.0.0.1", "localhost"),
            named: Some("127.0.0.1".to_owned()),
            ..destination.clone()
        };
        let mut exporter = otlp();
        send(&mut exporter, &service("named", named), &["named"]);
        assert_eq!(
            exporter.flush_and_stop(ENOUGH).await,
            exported(1),
            "{protocol:?}"
        );
        assert_eq!(collector.next().await.span_names(), ["named"]);

        destination.certificate = read(&stranger.authority);
        let mut exporter = otlp();
        send(
            &mut exporter,
            &service("does not", destination.clone()),
            &["2"],
        );
        let counters = exporter.flush_and_stop(Duration::from_secs(20)).await;
        assert_eq!(counters.spans_dropped_at_exit, 1, "{protocol:?}");
        assert!(counters.retries > 0, "{protocol:?}");

        for unusable in [
            Some(Err("it is not there".to_owned())),
            read("no certificate"),
        ] {
            destination.certificate = unusable;
            let mut exporter = otlp();
            send(
                &mut exporter,
                &service("cannot", destination.clone()),
                &["3"],
            );
            let counters = exporter.flush_and_stop(ENOUGH).await;
            assert_eq!(counters.spans_dropped_refused, 1, "{protocol:?}");
        }
        assert!(collector.arrived().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn services_with_one_destination_share_its_connection() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let mut collector = Collector::start(protocol).await;
        let destination = collector.destination();
        let mut other = destination.clone();
        other.headers = vec![("x-team".to_owned(), "b".to_owned())];
        let mut exporter = otlp();
        let [same, again] = ["a", "b"].map(|name| service(name, destination.clone()));
        let headers = service("c", other);
        let batching = batched(&same, 7, 7);
        for service in [&same, &again, &headers, &batching, &same] {
            send(&mut exporter, service, &["span"]);
        }
        assert_eq!(exporter.destinations().len(), 3);
        assert_eq!(
            exporter.flush_and_stop(ENOUGH).await,
            exported(5),
            "{protocol:?}"
        );
        assert_eq!(collector.connections(), 1, "{protocol:?}");
        let mut groups = Vec::new();
        while let Some(received) = collector.arrived() {
            let Message::Traces(request) = received.message else {
                panic!("only spans were sent");
            };
            groups.push(request.resource_spans.len());
        }
        groups.sort_unstable();
        // The first two services share a request.
        assert_eq!(groups, [1, 1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_span_waits_for_its_batch_but_not_for_long() {
    run_fast_clock();
    let mut collector = Collector::start(Protocol::Grpc).await;
    let service = batched(&service("shop", collector.destination()), 8, 3);
    let mut exporter = otlp();
    let began = Instant::now();
    send(&mut exporter, &service, &["1", "2", "3"]);
    assert_eq!(collector.next().await.span_names(), ["1", "2", "3"]);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "a full batch goes at once"
    );
    send(&mut exporter, &service, &["4", "5"]);
    assert_eq!(collector.next().await.span_names(), ["4", "5"]);
    let waited = began.elapsed();
    assert!(
        (Duration::from_secs(5)..Duration::from_secs(7)).contains(&waited),
        "{waited:?}"
    );
    exporter.flush_and_stop(ENOUGH).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_destination_spans_are_only_counted() {
    run_fast_clock();
    let mut exporter = otlp();
    let nowhere = named_service("nowhere");
    send(&mut exporter, &nowhere, &["1", "2"]);
    measure(&mut exporter, &nowhere, 1.0, "/a");
    let expected = ExportCounters {
        spans_without_destination: 2,
        measurements_without_destination: 1,
        ..ExportCounters::default()
    };
    assert_eq!(exporter.flush_and_stop(ENOUGH).await, expected);
}

#[tokio::test]
async fn a_replay_waits_for_room() {
    let mut collector = Collector::start(Protocol::HttpProtobuf).await;
    let service = batched(&service("shop", collector.destination()), 2, 2);
    let mut exporter = Exporter::start(Target::Otlp, WhenFull::Wait, Handle::current()).unwrap();
    let exporter = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            send(&mut exporter, &service, &["span"]);
        }
        exporter
    });
    let counters = exporter
        .await
        .unwrap()
        .flush_and_stop(Duration::from_secs(60))
        .await;
    assert_eq!(counters, exported(50));
    assert_eq!(collector.next().await.span_names(), ["span", "span"]);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_nobody_needs_makes_room() {
    run_fast_clock();
    let collector = Collector::start(Protocol::Grpc).await;
    let mut services: Vec<_> = (0..=MAX_DESTINATIONS)
        .map(|number| {
            let mut destination = collector.destination();
            destination.headers = vec![("x-number".to_owned(), number.to_string())];
            service("shop", destination)
        })
        .collect();
    let mut exporter = otlp();
    for service in &services {
        send(&mut exporter, service, &["span"]);
    }
    let last = services.pop().expect("not empty");
    let refused = |exporter: &Exporter| exporter.counters().spans_dropped_too_many_destinations;
    assert_eq!(refused(&exporter), 1);

    // Once the spans of a service that ended are delivered its place is free.
    drop(services.pop());
    let mut attempts = 1;
    while refused(&exporter) == attempts {
        assert!(attempts < 100, "there is never a place");
        tokio::time::sleep(Duration::from_secs(1)).await;
        send(&mut exporter, &last, &["span"]);
        attempts += 1;
    }
    let counters = exporter.flush_and_stop(ENOUGH).await;
    assert_eq!(counters.spans_exported, MAX_DESTINATIONS as u64 + 1);
    assert_eq!(collector.connections(), 1);
}
