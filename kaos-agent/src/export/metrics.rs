//! The histograms of one service, and the task that exports them.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::metrics::{Histogram as Instrument, Meter, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::delivery::Delivery;
use super::request;
use super::tally::Tally;
use crate::identity::service::Service;
use crate::telemetry::Histogram;

/// Histograms of one service. The SDK aggregates them and keeps 2000 sets of attributes of each,
/// further ones together under `otel.metric.overflow`.
pub(super) struct ServiceMetrics {
    meter: Meter,
    instruments: FxHashMap<&'static str, Instrument<f64>>,
}

impl fmt::Debug for ServiceMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServiceMetrics")
            .finish_non_exhaustive()
    }
}

impl ServiceMetrics {
    /// Records one value.
    pub(super) fn record(
        &mut self,
        histogram: &'static Histogram,
        value: f64,
        attributes: &[KeyValue],
    ) {
        let Self { meter, instruments } = self;
        instruments
            .entry(histogram.name)
            .or_insert_with(|| {
                meter
                    .f64_histogram(histogram.name)
                    .with_unit(histogram.unit)
                    .with_description(histogram.description)
                    .with_boundaries(histogram.boundaries.to_vec())
                    .build()
            })
            .record(value, attributes);
    }
}

/// Reads a service's histograms every while and delivers them.
pub(super) struct MetricTask {
    /// When nobody has the service any more, nothing can be recorded.
    alive: Weak<Service>,
    service: Service,
    /// Keeps what was recorded alive until it has been read.
    _provider: SdkMeterProvider,
    reader: Arc<ManualReader>,
    stopping: watch::Receiver<bool>,
    delivery: Delivery,
    tally: Tally,
}

/// Histograms of a service and the task that exports them.
pub(super) fn service_metrics(
    service: &Arc<Service>,
    delivery: Delivery,
    stopping: watch::Receiver<bool>,
    tally: Tally,
) -> (ServiceMetrics, MetricTask) {
    let temporality = service.metric_reading.temporality;
    let reader = Arc::new(
        ManualReader::builder()
            .with_temporality(temporality)
            .build(),
    );
    let provider = SdkMeterProvider::builder()
        .with_resource(Resource::builder_empty().build())
        .with_reader(SharedReader(Arc::clone(&reader)))
        .build();
    let scope = InstrumentationScope::builder(format!("kaos.{}", service.name))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    let metrics = ServiceMetrics {
        meter: provider.meter_with_scope(scope),
        instruments: FxHashMap::default(),
    };
    let task = MetricTask {
        alive: Arc::downgrade(service),
        service: Service::clone(service),
        _provider: provider,
        reader,
        stopping,
        delivery,
        tally,
    };
    (metrics, task)
}

impl MetricTask {
    /// Exports at each interval, and a last time when the service or the agent has ended.
    pub(super) async fn run(mut self) {
        let interval = self.service.metric_reading.interval;
        let mut due = interval_at(Instant::now() + interval, interval);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_last = false;
        while !is_last {
            is_last = tokio::select! {
                _ = due.tick() => self.alive.strong_count() == 0,
                _ = self.stopping.wait_for(|stopping| *stopping) => true,
            };
            self.export().await;
        }
    }

    async fn export(&mut self) {
        let mut measured = ResourceMetrics::default();
        let is_read = self.reader.collect(&mut measured).is_ok();
        if !is_read || measured.scope_metrics().next().is_none() {
            return;
        }
        let request = request::of_metrics(&self.service, &measured);
        let outcome = self
            .delivery
            .deliver(&request, self.service.metric_reading.timeout)
            .await;
        self.tally.count(|counters| match outcome {
            Ok(rejected) => {
                counters.metric_exports += 1;
                counters.metric_points_rejected += rejected;
            }
            Err(_) => counters.metric_exports_failed += 1,
        });
    }
}

/// The SDK wants to own its reader; the task wants to read from it.
#[derive(Debug)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
