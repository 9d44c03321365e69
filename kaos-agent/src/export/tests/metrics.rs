//! Histograms.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric};
use opentelemetry_sdk::metrics::Temporality;
use tokio::time::Instant;

use super::{ENOUGH, PROTOCOLS, otlp, run_fast_clock, send};
use crate::export::exporter::Exporter;
use crate::export::testing::collector::{Collector, Message};
use crate::export::testing::named_service;
use crate::identity::service::{MetricReading, Protocol, Service};
use crate::telemetry::Signal;
use crate::telemetry::instruments::{Instrument, InstrumentKind};

static DURATION: Instrument = Instrument {
    name: "http.server.request.duration",
    unit: "s",
    description: "Duration of served requests",
    kind: InstrumentKind::Histogram(&[0.1, 1.0]),
};

pub(super) fn measure(exporter: &mut Exporter, service: &Arc<Service>, value: f64, path: &str) {
    exporter.send(Signal::Measurement {
        service: Arc::clone(service),
        instrument: &DURATION,
        value,
        attributes: vec![KeyValue::new("url.path", path.to_owned())],
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
