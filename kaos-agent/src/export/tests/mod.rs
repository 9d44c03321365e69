//! The whole stage against real servers on loopback, with a clock that runs fast.

mod delivery;
mod failures;
mod metrics;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::exporter::{ExportCounters, Exporter, Target, WhenFull};
use super::testing::{named_service, span};
use crate::identity::service::{Batching, Destination, Protocol, Service};
use crate::telemetry::Signal;

const PROTOCOLS: [Protocol; 3] = [Protocol::Grpc, Protocol::HttpProtobuf, Protocol::HttpJson];

/// More than all retries take.
const ENOUGH: Duration = Duration::from_secs(1_000);

/// Runs the paused clock of a test two hundred times as fast as the real one. Left to itself it jumps
/// to the next timer whenever no task can run, also while bytes are on their way, and every attempt
/// would time out.
fn run_fast_clock() {
    tokio::spawn(async {
        loop {
            // The runtime does not touch the clock while a blocking task runs.
            let real = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
            real.await.unwrap();
            tokio::time::advance(Duration::from_millis(200)).await;
        }
    });
}

fn otlp() -> Exporter {
    Exporter::start(Target::Otlp, WhenFull::Drop, Handle::current()).unwrap()
}

fn service(name: &str, traces: Destination) -> Arc<Service> {
    Arc::new(Service {
        traces: Some(traces),
        ..Service::clone(&named_service(name))
    })
}

fn batched(service: &Arc<Service>, queue: usize, batch: usize) -> Arc<Service> {
    Arc::new(Service {
        batching: Batching {
            max_queue_size: queue,
            max_export_batch_size: batch,
            ..Batching::default()
        },
        ..Service::clone(service)
    })
}

fn send(exporter: &mut Exporter, service: &Arc<Service>, names: &[&str]) {
    for name in names {
        exporter.send(Signal::Span {
            service: Arc::clone(service),
            span: Box::new(span(name)),
        });
    }
}

/// Counters of accepted spans that all arrived.
fn exported(spans: u64) -> ExportCounters {
    ExportCounters {
        spans_accepted: spans,
        spans_exported: spans,
        ..ExportCounters::default()
    }
}
