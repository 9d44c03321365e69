//! The agent's counters in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::heap;
use super::status::Status;

/// All metrics of the agent about itself: what its stages counted (`kaos_agent_STAGE_WHAT_total`),
/// what they keep (`kaos_agent_STAGE_WHAT`), how the watch of pods fares, and what the process uses.
///
/// # Errors
/// None that is known: writing to a string does not fail.
pub fn text(status: &Arc<Status>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("kaos_agent");
    registry.register_collector(Box::new(Published(Arc::clone(status))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Published(Arc<Status>);

impl Collector for Published {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let published = self.0.published();
        for (name, value) in published.counters.entries() {
            counter(&mut encoder, name, *value)?;
        }
        for (name, value) in published.levels.entries() {
            gauge(&mut encoder, name, "Now", *value as f64)?;
        }
        let watches = self.0.watches();
        if let Some(pods) = &watches.pods {
            let connected = f64::from(u8::from(pods.is_connected()));
            let what = "1 while the API server answers";
            gauge(&mut encoder, "kubernetes.connected", what, connected)?;
            let known = pods.objects() as f64;
            let what = "Pods that are observed";
            gauge(&mut encoder, "kubernetes.pods", what, known)?;
        }
        if let Some(services) = &watches.services {
            let connected = f64::from(u8::from(services.is_connected()));
            let what = "1 while the API server tells of Services";
            gauge(
                &mut encoder,
                "kubernetes.services_connected",
                what,
                connected,
            )?;
            let known = services.objects() as f64;
            let what = "Services whose addresses are known";
            gauge(&mut encoder, "kubernetes.services", what, known)?;
        }
        process(&mut encoder)
    }
}

/// What the process uses, by `/proc`.
fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Ok(stat) = procfs::process::Process::myself().and_then(|process| process.stat()) else {
        return Ok(());
    };
    let ticks = procfs::ticks_per_second() as f64;
    let cpu_seconds = (stat.utime + stat.stime) as f64 / ticks;
    let name = encoder.encode_descriptor(
        "process_cpu_seconds",
        "Processor time used",
        None,
        prometheus_client::metrics::MetricType::Counter,
    )?;
    ConstCounter::new(cpu_seconds).encode(name)?;
    let resident = stat.rss.saturating_mul(procfs::page_size()) as f64;
    gauge(
        encoder,
        "process.resident_memory_bytes",
        "Resident memory",
        resident,
    )?;
    heap(encoder)
}

fn heap(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(heap) = heap::look() else {
        return Ok(());
    };
    let what = "Memory that is allocated";
    gauge(encoder, "process.heap_used_bytes", what, heap.used as f64)?;
    let what = "Memory that was freed and is kept by the allocator";
    gauge(encoder, "process.heap_free_bytes", what, heap.free as f64)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, value: u64) -> fmt::Result {
    let name = metric_name(name);
    let encoder = encoder.encode_descriptor(
        &name,
        "Counted by the agent",
        None,
        prometheus_client::metrics::MetricType::Counter,
    )?;
    ConstCounter::new(value).encode(encoder)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, what: &str, value: f64) -> fmt::Result {
    let name = metric_name(name);
    let encoder = encoder.encode_descriptor(
        &name,
        what,
        None,
        prometheus_client::metrics::MetricType::Gauge,
    )?;
    ConstGauge::new(value).encode(encoder)
}

fn metric_name(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::counters::Counters;
    use crate::kubernetes::Watches;

    struct Stage;

    impl Counters for Stage {
        fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
            visit("streams.gaps", 2);
        }

        fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
            visit("streams.connections", 3);
        }
    }

    #[test]
    fn what_is_counted_and_what_there_is() {
        let watches = Watches {
            pods: Some(Arc::default()),
            services: Some(Arc::default()),
        };
        let status = Arc::new(Status::new(1, watches));
        status.round_ended(2, &[&Stage]);
        let text = text(&status).expect("it is written to a string");
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("process"))
            .collect();
        assert_eq!(
            lines,
            [
                "kaos_agent_kubernetes_service_watch_errors_total 0",
                "kaos_agent_kubernetes_services_refused_total 0",
                "kaos_agent_kubernetes_watch_errors_total 0",
                "kaos_agent_streams_gaps_total 2",
                "kaos_agent_streams_connections 3.0",
                "kaos_agent_kubernetes_connected 0.0",
                "kaos_agent_kubernetes_pods 0.0",
                "kaos_agent_kubernetes_services_connected 0.0",
                "kaos_agent_kubernetes_services 0.0",
            ]
        );
        for name in ["resident_memory", "heap_used", "heap_free"] {
            assert!(text.contains(&format!("\nkaos_agent_process_{name}_bytes ")));
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
