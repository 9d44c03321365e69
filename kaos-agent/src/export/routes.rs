//! Which queue and which instruments the signals of a service go to.

use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use rustc_hash::FxHashMap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connections;
use super::delivery::{Delivery, label};
use super::exporter::WhenFull;
use super::metrics::{ServiceMetrics, service_metrics};
use super::request::ServiceSpan;
use super::spans::{self, SpanQueue};
use super::tally::{ExportCounters, Tally};
use crate::identity::identities::MAX_SERVICES;
use crate::identity::service::{Batching, Destination, Service};
use crate::telemetry::{Instrument, Moment};

/// Queues of spans at once. A node has one or two collectors; at worst each of its pods (110 by
/// Kubernetes' default) has its own.
pub const MAX_DESTINATIONS: usize = 128;

/// Tasks for metrics at once: of all services, and as many of services that ended and are exported
/// a last time.
const MAX_METRIC_TASKS: usize = 2 * MAX_SERVICES;

/// Where the signals of one service go; each part is made when it is first needed.
#[derive(Debug)]
struct ServiceRoute {
    /// Keeps the address, which is the key, from being used again, but not the service alive.
    service: Weak<Service>,
    spans: Option<Arc<SpanQueue>>,
    metrics: Option<ServiceMetrics>,
}

/// The routes of all services that are alive, and the tasks behind them.
#[derive(Debug)]
pub(super) struct OtlpRoutes {
    runtime: Handle,
    connections: Arc<Connections>,
    stopping: watch::Sender<bool>,
    /// How often memory was short.
    shedding: watch::Sender<u64>,
    tally: Tally,
    /// By the address of the service.
    services: FxHashMap<usize, ServiceRoute>,
    queues: Vec<((Destination, Batching), Weak<SpanQueue>)>,
    span_tasks: JoinSet<()>,
    metric_tasks: JoinSet<()>,
}

impl OtlpRoutes {
    /// The tasks will run on `runtime`.
    pub(super) fn new(runtime: Handle, tally: Tally) -> Self {
        Self {
            runtime,
            connections: Arc::default(),
            stopping: watch::Sender::new(false),
            shedding: watch::Sender::new(0),
            tally,
            services: FxHashMap::default(),
            queues: Vec::new(),
            span_tasks: JoinSet::new(),
            metric_tasks: JoinSet::new(),
        }
    }

    /// Puts a span into the queue of its destination, or counts why not.
    pub(super) fn push(&mut self, span: ServiceSpan, when_full: WhenFull) {
        let Some(destination) = &span.service.traces else {
            self.tally
                .count(|counters| counters.spans_without_destination += 1);
            return;
        };
        let address = Arc::as_ptr(&span.service).addr();
        if let Some(queue) = self
            .services
            .get(&address)
            .and_then(|route| route.spans.as_ref())
        {
            queue.push(span, when_full);
            return;
        }
        match self.queue(destination, span.service.batching) {
            Some(queue) => {
                self.route(&span.service).spans = Some(Arc::clone(&queue));
                queue.push(span, when_full);
            }
            None => self.tally.count(|counters| {
                counters.spans_accepted += 1;
                counters.spans_dropped_too_many_destinations += 1;
            }),
        }
    }

    /// Adds a value to an instrument of its service, or counts why not.
    pub(super) fn record(
        &mut self,
        service: &Arc<Service>,
        instrument: &'static Instrument,
        value: f64,
        attributes: &[KeyValue],
        moment: Moment,
    ) {
        let Some(destination) = &service.metrics else {
            self.tally
                .count(|counters| counters.measurements_without_destination += 1);
            return;
        };
        let address = Arc::as_ptr(service).addr();
        let known = self
            .services
            .get_mut(&address)
            .and_then(|route| route.metrics.as_mut());
        if let Some(metrics) = known {
            metrics.record(instrument, value, attributes, moment);
            return;
        }
        match self.metrics(service, destination) {
            Some(mut metrics) => {
                metrics.record(instrument, value, attributes, moment);
                self.route(service).metrics = Some(metrics);
            }
            None => self.tally.count(|counters| {
                counters.measurements_dropped_too_many_services += 1;
            }),
        }
    }

    /// The route of a service. Those of services that nobody has any more are forgotten first.
    fn route(&mut self, service: &Arc<Service>) -> &mut ServiceRoute {
        self.forget_gone();
        self.services
            .entry(Arc::as_ptr(service).addr())
            .or_insert_with(|| ServiceRoute {
                service: Arc::downgrade(service),
                spans: None,
                metrics: None,
            })
    }

    /// Forgets the services that nobody has any more.
    fn forget_gone(&mut self) {
        self.services
            .retain(|_, route| route.service.strong_count() > 0);
        self.queues.retain(|(_, queue)| queue.strong_count() > 0);
    }

    /// Has the queues drop what cannot be delivered now.
    pub(super) fn shed(&self) {
        self.shedding.send_modify(|times| *times += 1);
    }

    /// Forgets services that nobody has any more, and tasks that have ended: what they hold is not kept
    /// until the next service comes.
    pub(super) fn tick(&mut self) {
        self.forget_gone();
        reap(&mut self.span_tasks);
        reap(&mut self.metric_tasks);
    }

    /// Services with a route, queues of spans, and tasks that export metrics.
    pub(super) fn levels(&self) -> [(&'static str, usize); 3] {
        [
            ("export.services", self.services.len()),
            ("export.span_queues", self.span_tasks.len()),
            ("export.metric_tasks", self.metric_tasks.len()),
        ]
    }

    /// The queue of a destination, if there is a place for it. Services that want to batch
    /// differently have one each, and share the connection.
    fn queue(&mut self, destination: &Destination, batching: Batching) -> Option<Arc<SpanQueue>> {
        self.forget_gone();
        let mut live = None;
        self.queues.retain(|((to, how), queue)| {
            let queue = queue.upgrade();
            let is_live = queue.is_some();
            if (to, *how) == (destination, batching) {
                live = queue;
            }
            is_live
        });
        if live.is_some() {
            return live;
        }
        reap(&mut self.span_tasks);
        if self.span_tasks.len() >= MAX_DESTINATIONS {
            return None;
        }
        let tally = self.tally.part();
        let delivery = self.delivery(destination, batching.export_timeout, &tally);
        let signals = (self.stopping.subscribe(), self.shedding.subscribe());
        let (queue, task) = spans::queue(batching, delivery, signals, tally);
        let queue = Arc::new(queue);
        self.span_tasks.spawn_on(task.run(), &self.runtime);
        self.queues
            .push(((destination.clone(), batching), Arc::downgrade(&queue)));
        Some(queue)
    }

    /// New instruments, if there is a place for them.
    fn metrics(
        &mut self,
        service: &Arc<Service>,
        destination: &Destination,
    ) -> Option<ServiceMetrics> {
        reap(&mut self.metric_tasks);
        if self.metric_tasks.len() >= MAX_METRIC_TASKS {
            return None;
        }
        let delivery = self.delivery(destination, service.metric_reading.timeout, &self.tally);
        let stopping = self.stopping.subscribe();
        let (metrics, task) = service_metrics(service, delivery, stopping, self.tally.clone());
        self.metric_tasks.spawn_on(task.run(), &self.runtime);
        Some(metrics)
    }

    fn delivery(
        &self,
        destination: &Destination,
        attempt_timeout: Duration,
        tally: &Tally,
    ) -> Delivery {
        Delivery::new(
            destination.clone(),
            attempt_timeout,
            Arc::clone(&self.connections),
            self.stopping.subscribe(),
            tally.clone(),
        )
    }

    /// The destinations of spans that are in use, and what became of the spans for each.
    pub(super) fn destinations(&self) -> Vec<(String, ExportCounters)> {
        self.queues
            .iter()
            .filter_map(|((destination, _), queue)| {
                Some((label(destination).to_owned(), queue.upgrade()?.counters()))
            })
            .collect()
    }

    /// Lets all tasks finish; those that do not within the limit are ended. Returns whether all did.
    pub(super) async fn finish(mut self, limit: Duration) -> bool {
        self.stopping.send_replace(true);
        // With the last sender of a queue gone, its task ends when the queue is empty.
        self.services.clear();
        let all_done = async {
            while self.span_tasks.join_next().await.is_some() {}
            while self.metric_tasks.join_next().await.is_some() {}
        };
        let is_complete = timeout(limit, all_done).await.is_ok();
        self.span_tasks.shutdown().await;
        self.metric_tasks.shutdown().await;
        is_complete
    }
}

/// Forgets the tasks that have ended.
fn reap(tasks: &mut JoinSet<()>) {
    while tasks.try_join_next().is_some() {}
}
