//! Collectors that are down, slow or out of order.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{ENOUGH, PROTOCOLS, batched, exported, otlp, run_fast_clock, send, service};
use crate::export::exporter::{ExportCounters, Exporter};
use crate::export::testing::collector::{Answer, Collector};
use crate::identity::service::{Destination, Protocol, Service};

/// A collector that gives these answers first, a service whose queue has room for four spans that go to it in
/// batches, and what exports them.
async fn answering(
    protocol: Protocol,
    answers: &[Answer],
    batch: usize,
) -> (Collector, Arc<Service>, Exporter) {
    let collector = Collector::start(protocol).await;
    collector.will(answers);
    let service = batched(&service("shop", collector.destination()), 4, batch);
    (collector, service, otlp())
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_comes_up_later_gets_everything_in_order() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let down = Collector::start(protocol).await;
        let (address, destination) = (down.address, down.destination());
        down.stop().await;
        let service = batched(&service("shop", destination), 4, 2);
        let mut exporter = otlp();
        send(&mut exporter, &service, &["1", "2"]);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(exporter.counters().retries > 0, "{protocol:?}");
        send(&mut exporter, &service, &["3", "4", "5", "6"]);

        let mut up = Collector::start_at(address, protocol, None).await;
        for expected in [["1", "2"], ["3", "4"], ["5", "6"]] {
            assert_eq!(up.next().await.span_names(), expected, "{protocol:?}");
        }
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!((counters.spans_exported, counters.spans_pending()), (6, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_was_restarted_is_found_again() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let mut first = Collector::start(protocol).await;
        let address = first.address;
        let service = batched(&service("shop", first.destination()), 4, 1);
        let mut exporter = otlp();
        send(&mut exporter, &service, &["1"]);
        assert_eq!(first.next().await.span_names(), ["1"]);
        // Its answer has arrived.
        while exporter.counters().spans_exported == 0 {
            tokio::task::yield_now().await;
        }
        first.stop().await;
        let mut second = Collector::start_at(address, protocol, None).await;
        send(&mut exporter, &service, &["2"]);
        assert_eq!(second.next().await.span_names(), ["2"], "{protocol:?}");
        assert_eq!(exporter.flush_and_stop(ENOUGH).await.spans_exported, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_never_comes_costs_the_spans_and_no_more() {
    run_fast_clock();
    let down = Collector::start(Protocol::Grpc).await;
    let destination = down.destination();
    down.stop().await;
    let mut exporter = otlp();
    send(
        &mut exporter,
        &batched(&service("shop", destination), 4, 2),
        &["1", "2", "3"],
    );
    let counters = exporter.flush_and_stop(ENOUGH).await;
    assert_eq!(counters.spans_dropped_unreachable, 3);
    assert_eq!(counters.spans_pending(), 0);
}

/// A collector that hangs with the first batch of two spans, `1` and `2`, of a service whose queue has room
/// for four.
async fn with_a_batch_that_hangs(protocol: Protocol) -> (Collector, Arc<Service>, Exporter) {
    let (mut collector, service, mut exporter) = answering(protocol, &[Answer::Hang], 2).await;
    send(&mut exporter, &service, &["1", "2"]);
    assert_eq!(collector.next().await.span_names(), ["1", "2"]);
    (collector, service, exporter)
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_delivered_is_dropped_when_memory_is_short() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let (mut collector, service, mut exporter) = with_a_batch_that_hangs(protocol).await;
        // Three wait.
        send(&mut exporter, &service, &["3", "4", "5"]);
        exporter.shed();
        while exporter.counters().spans_dropped_memory == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(exporter.counters().spans_dropped_memory, 5);
        // What comes later is delivered.
        send(&mut exporter, &service, &["6", "7"]);
        assert_eq!(collector.next().await.span_names(), ["6", "7"]);
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!((counters.spans_exported, counters.spans_pending()), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_exactly_what_does_not_fit() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let (mut collector, service, mut exporter) = with_a_batch_that_hangs(protocol).await;
        // Four wait, and three have no room.
        send(
            &mut exporter,
            &service,
            &["3", "4", "5", "6", "7", "8", "9"],
        );
        assert_eq!(exporter.counters().spans_dropped_queue_full, 3);
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!((counters.spans_accepted, counters.spans_exported), (9, 6));
        assert_eq!(
            collector.next().await.span_names(),
            ["1", "2"],
            "the attempt timed out"
        );
        assert_eq!(collector.next().await.span_names(), ["3", "4"]);
        assert_eq!(collector.next().await.span_names(), ["5", "6"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_collector_says_when_to_come_back() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let answers = [Answer::Throttled(120), Answer::Unavailable];
        let (mut collector, service, mut exporter) = answering(protocol, &answers, 1).await;
        send(&mut exporter, &service, &["1"]);
        collector.next().await;
        let asked = Instant::now();
        collector.next().await;
        assert!(asked.elapsed() >= Duration::from_secs(120), "{protocol:?}");
        let unavailable = Instant::now();
        collector.next().await;
        // The second pause of the backoff, at least halved.
        let pause = unavailable.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(3)).contains(&pause),
            "{pause:?}"
        );
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!(
            counters,
            ExportCounters {
                retries: 2,
                ..exported(1)
            }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_dropped_at_once() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let answers = [Answer::Invalid];
        let (mut collector, service, mut exporter) = answering(protocol, &answers, 2).await;
        send(&mut exporter, &service, &["1", "2"]);
        collector.next().await;
        send(&mut exporter, &service, &["3", "4"]);
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!(collector.next().await.span_names(), ["3", "4"]);
        let expected = ExportCounters {
            spans_accepted: 4,
            spans_exported: 2,
            spans_dropped_refused: 2,
            ..ExportCounters::default()
        };
        assert_eq!(counters, expected, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn partial_success_is_counted_and_not_retried() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let mut collector = Collector::start(protocol).await;
        collector.will(&[Answer::Rejected(2)]);
        let mut exporter = otlp();
        send(
            &mut exporter,
            &service("shop", collector.destination()),
            &["1", "2", "3"],
        );
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!(
            (counters.spans_exported, counters.spans_rejected),
            (1, 2),
            "{protocol:?}"
        );
        collector.next().await;
        assert!(collector.arrived().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_does_not_hold_up_a_live_one() {
    run_fast_clock();
    let dead = Collector::start(Protocol::Grpc).await.destination();
    let mut live = Collector::start(Protocol::HttpProtobuf).await;
    let lost = batched(&service("lost", dead), 2, 2);
    let kept = service("kept", live.destination());
    let mut exporter = otlp();
    for _ in 0..10 {
        send(&mut exporter, &lost, &["x"]);
        send(&mut exporter, &kept, &["y"]);
    }
    let counters = exporter.flush_and_stop(Duration::from_secs(5)).await;
    assert_eq!(counters.spans_exported, 10);
    assert_eq!(
        counters.spans_dropped_queue_full + counters.spans_dropped_at_exit,
        10
    );
    assert_eq!(counters.spans_pending(), 0);
    assert_eq!(live.next().await.span_names().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_in_time_and_counts_what_is_left() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let mut collector = Collector::start(protocol).await;
        collector.will(&[Answer::Hang; 10]);
        let service = batched(&service("shop", collector.destination()), 8, 2);
        let mut exporter = otlp();
        send(&mut exporter, &service, &["1", "2", "3", "4", "5"]);
        collector.next().await;
        let began = Instant::now();
        let counters = exporter.flush_and_stop(Duration::from_secs(3)).await;
        assert!(began.elapsed() < Duration::from_secs(4), "{protocol:?}");
        assert_eq!(
            (counters.spans_accepted, counters.spans_dropped_at_exit),
            (5, 5)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_for_a_pause() {
    run_fast_clock();
    let mut collector = Collector::start(Protocol::Grpc).await;
    collector.will(&[Answer::Throttled(200)]);
    let mut exporter = otlp();
    send(
        &mut exporter,
        &batched(&service("shop", collector.destination()), 1, 1),
        &["1"],
    );
    collector.next().await;
    while exporter.counters().spans_accepted == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        exporter
            .flush_and_stop(Duration::from_secs(3))
            .await
            .spans_exported,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_does_not_speak_the_protocol_is_no_danger() {
    run_fast_clock();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let babbler = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0xff; 4096]).await;
        }
    });
    for protocol in PROTOCOLS {
        let destination = Destination {
            endpoint: format!("http://{address}"),
            named: None,
            protocol,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compression: None,
            certificate: None,
        };
        let mut exporter = otlp();
        send(&mut exporter, &service("shop", destination), &["1"]);
        let counters = exporter.flush_and_stop(Duration::from_secs(20)).await;
        assert_eq!(counters.spans_exported, 0, "{protocol:?}");
        assert_eq!(counters.spans_pending(), 0);
    }
    babbler.abort();
}
