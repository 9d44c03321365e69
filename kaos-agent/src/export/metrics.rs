//! The instruments of one service, and the task that exports them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind as SdkInstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::delivery::Delivery;
use super::exemplars::Exemplars;
use super::request;
use super::tally::Tally;
use crate::identity::service::Service;
use crate::telemetry::Moment;
use crate::telemetry::instruments::{Instrument, InstrumentKind};

/// Instruments of one service. The SDK aggregates them and keeps 2000 sets of attributes of each,
/// further ones together under `otel.metric.overflow`.
pub(super) struct ServiceMetrics {
    meter: Meter,
    instruments: FxHashMap<&'static str, Recorder>,
    exemplars: Arc<Mutex<Exemplars>>,
}

/// An instrument of the SDK.
enum Recorder {
    Counter(Counter<u64>),
    Histogram(Histogram<f64>),
}

impl fmt::Debug for ServiceMetrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServiceMetrics")
            .finish_non_exhaustive()
    }
}

impl ServiceMetrics {
    /// Records one value. Counters count whole ones.
    pub(super) fn record(
        &mut self,
        instrument: &'static Instrument,
        value: f64,
        attributes: &[KeyValue],
        moment: Moment,
    ) {
        let Self {
            meter,
            instruments,
            exemplars,
        } = self;
        let recorder = instruments
            .entry(instrument.name)
            .or_insert_with(|| Recorder::new(meter, instrument));
        match recorder {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a small whole number"
            )]
            Recorder::Counter(counter) => counter.add(value as u64, attributes),
            Recorder::Histogram(histogram) => {
                histogram.record(value, attributes);
                let mut exemplars = exemplars.lock().unwrap_or_else(PoisonError::into_inner);
                exemplars.offer(instrument, value, attributes, moment);
            }
        }
    }
}

impl Recorder {
    fn new(meter: &Meter, instrument: &'static Instrument) -> Self {
        let Instrument {
            name,
            unit,
            description,
            kind,
        } = instrument;
        match kind {
            InstrumentKind::Counter => Self::Counter(
                meter
                    .u64_counter(*name)
                    .with_unit(*unit)
                    .with_description(*description)
                    .build(),
            ),
            InstrumentKind::Histogram(boundaries) => Self::Histogram(
                meter
                    .f64_histogram(*name)
                    .with_unit(*unit)
                    .with_description(*description)
                    .with_boundaries(boundaries.to_vec())
                    .build(),
            ),
        }
    }
}

/// Reads a service's instruments every while and delivers them.
pub(super) struct MetricTask {
    /// When nobody has the service any more, nothing can be recorded.
    alive: Weak<Service>,
    service: Service,
    /// Keeps what was recorded alive until it has been read.
    _provider: SdkMeterProvider,
    reader: Arc<ManualReader>,
    exemplars: Arc<Mutex<Exemplars>>,
    stopping: watch::Receiver<bool>,
    delivery: Delivery,
    tally: Tally,
}

/// Instruments of a service and the task that exports them.
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
    let exemplars = Exemplars::new(service.metric_reading.exemplars);
    let exemplars = Arc::new(Mutex::new(exemplars));
    let metrics = ServiceMetrics {
        meter: provider.meter_with_scope(scope),
        instruments: FxHashMap::default(),
        exemplars: Arc::clone(&exemplars),
    };
    let task = MetricTask {
        alive: Arc::downgrade(service),
        service: Service::clone(service),
        _provider: provider,
        reader,
        exemplars,
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
        // Those of measurements between these two lines go with the next export.
        let exemplars = self
            .exemplars
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let is_read = self.reader.collect(&mut measured).is_ok();
        if !is_read || measured.scope_metrics().next().is_none() {
            return;
        }
        let mut request = request::of_metrics(&self.service, &measured);
        let left_out = exemplars.put_into(&mut request, &measured);
        self.tally
            .count(|counters| counters.exemplars_left_out += left_out);
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

    fn temporality(&self, kind: SdkInstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
