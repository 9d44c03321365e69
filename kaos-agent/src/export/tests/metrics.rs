//! Histograms.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::{KeyValue, SpanId, TraceId};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, exemplar, metric};
use opentelemetry_sdk::metrics::Temporality;
use tokio::time::Instant;

use super::{ENOUGH, PROTOCOLS, otlp, run_fast_clock, send};
use crate::export::exemplars::MOST_POINTS;
use crate::export::exporter::Exporter;
use crate::export::testing::collector::{Collector, Message};
use crate::export::testing::named_service;
use crate::identity::service::{ExemplarFilter, MetricReading, Protocol, Service};
use crate::telemetry::instruments::{Instrument, InstrumentKind};
use crate::telemetry::{Moment, Signal};

static DURATION: Instrument = Instrument {
    name: "http.server.request.duration",
    unit: "s",
    description: "Duration of served requests",
    kind: InstrumentKind::Histogram(&[0.1, 1.0]),
};

pub(super) fn measure(exporter: &mut Exporter, service: &Arc<Service>, value: f64, path: &str) {
    measure_in(exporter, service, value, path, None);
}

/// Measures in the span with this number of a trace of this number, at this second.
fn measure_in(
    exporter: &mut Exporter,
    service: &Arc<Service>,
    value: f64,
    path: &str,
    number: Option<u64>,
) {
    let at = UNIX_EPOCH + Duration::from_secs(number.unwrap_or_default());
    let span = number.map(|number| (TraceId::from(u128::from(number)), SpanId::from(number)));
    exporter.send(Signal::Measurement {
        service: Arc::clone(service),
        instrument: &DURATION,
        value,
        attributes: vec![
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("a", "b"),
        ],
        moment: Moment { at, span },
    });
}

fn measured(name: &str, collector: &Collector, temporality: Temporality) -> Arc<Service> {
    let mut metrics = collector.destination();
    metrics.endpoint = metrics.endpoint.replace("/v1/traces", "/v1/metrics");
    Arc::new(Service {
        metrics: Some(metrics),
        metric_reading: MetricReading {
            temporality,
            ..MetricReading::default()
        },
        ..Service::clone(&named_service(name))
    })
}

/// Data points of the next request, which must be about the one histogram.
async fn points(collector: &mut Collector) -> Vec<HistogramDataPoint> {
    let received = collector.next().await;
    let Message::Metrics(request) = received.message else {
        panic!("not metrics: {received:?}");
    };
    let [resource] = &request.resource_metrics[..] else {
        panic!("one service: {request:?}");
    };
    assert!(resource.resource.is_some());
    let metric = &resource.scope_metrics[0].metrics[0];
    assert_eq!(
        (metric.name.as_str(), metric.unit.as_str()),
        (DURATION.name, "s")
    );
    let Some(metric::Data::Histogram(histogram)) = &metric.data else {
        panic!("a histogram: {metric:?}");
    };
    histogram.data_points.clone()
}

#[tokio::test(start_paused = true)]
async fn histograms_are_exported_at_each_interval_and_at_the_end() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        for (temporality, totals) in [
            (Temporality::Cumulative, [2, 3]),
            (Temporality::Delta, [2, 1]),
        ] {
            let mut collector = Collector::start(protocol).await;
            let service = measured("shop", &collector, temporality);
            let mut exporter = otlp();
            measure(&mut exporter, &service, 0.05, "/a");
            measure(&mut exporter, &service, 5.0, "/a");
            let began = Instant::now();
            let [point] = &points(&mut collector).await[..] else {
                panic!("one set of attributes");
            };
            assert!(began.elapsed() >= Duration::from_secs(60));
            assert_eq!(point.explicit_bounds, [0.1, 1.0]);
            assert_eq!(point.bucket_counts, [1, 0, 1]);
            assert_eq!(point.count, totals[0]);
            measure(&mut exporter, &service, 0.5, "/a");
            let counters = exporter.flush_and_stop(ENOUGH).await;
            assert_eq!(counters.metric_exports, 2, "{protocol:?}");
            assert_eq!(
                points(&mut collector).await[0].count,
                totals[1],
                "{protocol:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_services_that_are_gone() {
    run_fast_clock();
    let mut collector = Collector::start(Protocol::Grpc).await;
    let mut exporter = otlp();
    let levels = |exporter: &Exporter| {
        let mut sizes = Vec::new();
        exporter.levels(&mut |_, size| sizes.push(size));
        sizes
    };
    for number in 0..10 {
        let service = measured(&format!("shop {number}"), &collector, Temporality::Delta);
        measure(&mut exporter, &service, 1.0, "/");
    }
    // Each is gone at once, and exported a last time at its interval.
    assert_eq!(levels(&exporter), [1, 0, 10, 0]);
    for _ in 0..10 {
        assert_eq!(points(&mut collector).await.len(), 1);
    }
    while levels(&exporter) != [0, 0, 0, 0] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        exporter.tick();
    }
}

#[tokio::test(start_paused = true)]
async fn attributes_without_end_overflow_into_one_point() {
    run_fast_clock();
    let mut collector = Collector::start(Protocol::Grpc).await;
    let service = measured("shop", &collector, Temporality::Cumulative);
    let mut exporter = otlp();
    for number in 0..3_000 {
        measure(&mut exporter, &service, 1.0, &format!("/{number}"));
    }
    exporter.flush_and_stop(ENOUGH).await;
    let points = points(&mut collector).await;
    let is_overflow =
        |point: &&HistogramDataPoint| point.attributes[0].key == "otel.metric.overflow";
    assert!(points.iter().all(|point| point.exemplars.is_empty()));
    let overflow = points.iter().find(is_overflow).expect("an overflow point");
    assert!(points.len() <= 2_001, "{}", points.len());
    let all: u64 = points.iter().map(|point| point.count).sum();
    assert_eq!(all, 3_000);
    assert!(overflow.count >= 999);
}

#[tokio::test(start_paused = true)]
async fn spans_and_metrics_share_a_connection() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let collector = Collector::start(protocol).await;
        let both = Arc::new(Service {
            traces: Some(collector.destination()),
            ..Service::clone(&measured("shop", &collector, Temporality::Cumulative))
        });
        let mut exporter = otlp();
        send(&mut exporter, &both, &["1"]);
        measure(&mut exporter, &both, 1.0, "/a");
        let counters = exporter.flush_and_stop(ENOUGH).await;
        assert_eq!((counters.spans_exported, counters.metric_exports), (1, 1));
        assert_eq!(collector.connections(), 1, "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ended_is_exported_a_last_time() {
    run_fast_clock();
    let mut collector = Collector::start(Protocol::Grpc).await;
    let service = measured("shop", &collector, Temporality::Cumulative);
    let mut exporter = otlp();
    measure(&mut exporter, &service, 1.0, "/a");
    drop(service);
    assert_eq!(points(&mut collector).await[0].count, 1);
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(exporter.flush_and_stop(ENOUGH).await.metric_exports, 1);
    assert!(collector.arrived().is_none());
}

/// The exemplars of a point: value, number of its trace, its span and its second.
fn exemplars(point: &HistogramDataPoint) -> Vec<(f64, u128, u64, u64)> {
    let read = point.exemplars.iter().map(|told| {
        let Some(exemplar::Value::AsDouble(value)) = told.value else {
            panic!("a value: {told:?}");
        };
        let trace = TraceId::from_bytes(told.trace_id.clone().try_into().unwrap_or_default());
        let span = SpanId::from_bytes(told.span_id.clone().try_into().unwrap_or_default());
        let (trace, span) = (u128::from_be_bytes(trace.to_bytes()), span.to_bytes());
        let second = told.time_unix_nano / 1_000_000_000;
        (value, trace, u64::from_be_bytes(span), second)
    });
    let mut read: Vec<_> = read.collect();
    read.sort_by(|one, other| one.0.total_cmp(&other.0));
    read
}

#[tokio::test(start_paused = true)]
async fn the_last_measurement_of_each_bucket_is_an_exemplar() {
    run_fast_clock();
    for protocol in PROTOCOLS {
        let mut collector = Collector::start(protocol).await;
        let service = measured("shop", &collector, Temporality::Cumulative);
        let mut exporter = otlp();
        for (value, path, number) in [
            (0.05, "/a", Some(1)),
            // A boundary belongs to the bucket below.
            (0.1, "/a", Some(2)),
            (5.0, "/a", Some(3)),
            (0.5, "/b", Some(4)),
            // Of no sampled trace.
            (0.5, "/b", None),
            (7.0, "/c", None),
        ] {
            measure_in(&mut exporter, &service, value, path, number);
        }
        let mut found: Vec<_> = points(&mut collector).await.iter().map(exemplars).collect();
        found.sort_by_key(Vec::len);
        let expected = [
            vec![],
            vec![(0.5, 4, 4, 4)],
            vec![(0.1, 2, 2, 2), (5.0, 3, 3, 3)],
        ];
        assert_eq!(found, expected, "{protocol:?}");
        // Each is told once.
        measure_in(&mut exporter, &service, 0.7, "/b", Some(5));
        let counters = exporter.flush_and_stop(ENOUGH).await;
        let mut found: Vec<_> = points(&mut collector).await.iter().map(exemplars).collect();
        found.sort_by_key(Vec::len);
        assert_eq!(found, [vec![], vec![], vec![(0.7, 5, 5, 5)]]);
        assert_eq!(counters.exemplars_left_out, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_filter_says_which_measurements_are_exemplars() {
    run_fast_clock();
    for (filter, expected) in [
        (ExemplarFilter::AlwaysOff, vec![]),
        (ExemplarFilter::TraceBased, vec![(0.05, 9, 9, 9)]),
        (
            ExemplarFilter::AlwaysOn,
            vec![(0.05, 9, 9, 9), (5.0, 0, 0, 0)],
        ),
    ] {
        let mut collector = Collector::start(Protocol::Grpc).await;
        let service = measured("shop", &collector, Temporality::Delta);
        let service = Arc::new(Service {
            metric_reading: MetricReading {
                exemplars: filter,
                ..service.metric_reading
            },
            ..Service::clone(&service)
        });
        let mut exporter = otlp();
        measure_in(&mut exporter, &service, 0.05, "/a", Some(9));
        measure_in(&mut exporter, &service, 5.0, "/a", None);
        exporter.flush_and_stop(ENOUGH).await;
        let [point] = &points(&mut collector).await[..] else {
            panic!("one set of attributes");
        };
        assert_eq!(exemplars(point), expected, "{filter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn exemplars_are_bounded() {
    run_fast_clock();
    let mut collector = Collector::start(Protocol::Grpc).await;
    let service = measured("shop", &collector, Temporality::Cumulative);
    let mut exporter = otlp();
    for number in 1..=MOST_POINTS as u64 + 10 {
        measure_in(
            &mut exporter,
            &service,
            1.0,
            &format!("/{number}"),
            Some(number),
        );
    }
    let counters = exporter.flush_and_stop(ENOUGH).await;
    assert_eq!(counters.exemplars_left_out, 10);
    let points = points(&mut collector).await;
    let told: usize = points.iter().map(|point| point.exemplars.len()).sum();
    assert_eq!(told, MOST_POINTS);
}
