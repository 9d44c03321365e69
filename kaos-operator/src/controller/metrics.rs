//! What `/metrics` tells of the operator itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// Labels of counts by kind and result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByResult {
    /// Component: agent, mcpserver or modelapi.
    pub component: &'static str,
    /// Of a reconcile `applied`, `waiting`, `invalid` or `error`; of a review `allowed`, `warned` or
    /// `refused`.
    pub result: &'static str,
}

/// Labels of durations by kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByComponent {
    /// Component: agent, mcpserver or modelapi.
    pub component: &'static str,
}

/// Labels of writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByWrite {
    /// Kind of the object that was written.
    pub kind: String,
    /// `apply`, `delete` or `status`.
    pub verb: &'static str,
}

/// Labels of watch errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByWatch {
    /// Plural of what is watched.
    pub resource: String,
}

/// All metrics of the operator.
pub struct Metrics {
    registry: Registry,
    /// Reconciles.
    pub reconciles: Family<ByResult, Counter>,
    /// Reconciles that are at work now.
    pub running: Gauge,
    /// How long they took, in seconds.
    pub durations: Family<ByComponent, Histogram, fn() -> Histogram>,
    /// Resources that wait to be reconciled.
    pub queue_depth: Gauge,
    /// Reviews for the API server.
    pub reviews: Family<ByResult, Counter>,
    /// Writes to the API server that were accepted.
    pub writes: Family<ByWrite, Counter>,
    /// Watches that failed and were started again.
    pub watch_errors: Family<ByWatch, Counter>,
    /// 1 where this replica leads.
    pub leader: Gauge,
}

impl Default for Metrics {
    /// All at zero.
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kaos_operator");
        let all = &mut registry;
        // From 1 ms (nothing to do) to 8 s (an API server that throttles).
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let durations = Family::new_with_constructor(histogram);
        Self {
            reconciles: add(all, "reconciles", "Reconciles by result", Family::default()),
            running: add(
                all,
                "running_reconciles",
                "Reconciles that are at work now",
                Gauge::default(),
            ),
            durations: add(
                all,
                "reconcile_duration_seconds",
                "How long a reconcile took",
                durations,
            ),
            queue_depth: add(
                all,
                "queue_depth",
                "Resources that wait to be reconciled",
                Gauge::default(),
            ),
            reviews: add(
                all,
                "reviews",
                "Admission reviews by result",
                Family::default(),
            ),
            writes: add(
                all,
                "writes",
                "Accepted writes to the API server",
                Family::default(),
            ),
            watch_errors: add(
                all,
                "watch_errors",
                "Watches that failed and were started again",
                Family::default(),
            ),
            leader: add(
                all,
                "leader",
                "1 where this replica leads",
                Gauge::default(),
            ),
            registry,
        }
    }
}

/// Registers a metric under its name.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// In the OpenMetrics text format.
    ///
    /// # Errors
    /// A label cannot be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
