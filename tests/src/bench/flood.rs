//! How many exchanges per second the agent takes without losing one, on a machine that it shares
//! with the server and the load generator.

use std::time::Duration;

use super::load::{Load, Outcome};
use super::report::Flood;
use super::sink::Sink;
use super::usage::cpu;
use super::workload::{DELAY, Server, nginx};
use crate::agent::{Agent, Stats};

/// Rates that are tried, requests per second; then flat out.
const RATES: [f64; 8] = [
    1_000.0, 2_000.0, 5_000.0, 7_500.0, 10_000.0, 15_000.0, 20_000.0, 30_000.0,
];
/// Rate at which the server is measured without the agent.
const BARE_RATE: f64 = 10_000.0;
/// Connections of the load generator: an event loop on either side is busy with this many.
const CONNECTIONS: u32 = 32;
/// A step counts for its rate when this share of it was reached; below it the machine, not the
/// agent, is at its end.
const REACHED: f64 = 0.95;
/// Spans that have not arrived when none came for this long are lost.
const PATIENCE: Duration = Duration::from_secs(4);

/// What one step gave.
struct Step {
    requests: u64,
    rps: f64,
    seen: u64,
    /// Spans at the receiver.
    exported: u64,
    lost_in_kernel: u64,
    /// CPU time of the server per exchange, µs; the agent's hooks run in it.
    cpu_of_server: f64,
    /// CPU time of the agent per exchange, µs.
    cpu_of_agent: f64,
}

impl Step {
    fn is_lossless(&self) -> bool {
        self.lost() == 0 && self.exported == self.requests
    }

    fn lost(&self) -> u64 {
        self.requests
            .saturating_sub(self.seen)
            .max(self.lost_in_kernel)
    }
}

/// Measures, and prints what it finds.
pub fn run(time: Duration) -> Flood {
    let sink = Sink::start();
    let server = nginx(&sink, DELAY);
    load(&server, Some(BARE_RATE), time);
    let bare = cpu_of(server.process.pid(), || {
        load(&server, Some(BARE_RATE), time)
    });
    println!(
        "flood: nginx, {CONNECTIONS} connections, server ends traced, {time:?} each; without the agent nginx \
         needs {:.1} µs CPU per exchange at {BARE_RATE:.0}/s\n  \
         {:>10} {:>10} {:>10} {:>10} {:>10} {:>14} {:>14} {:>14}",
        bare.1,
        "rate",
        "reached/s",
        "requests",
        "seen",
        "exported",
        "lost in kernel",
        "nginx µs/exch.",
        "agent µs/exch."
    );
    let mut first = None;
    let mut best: Option<Step> = None;
    for rate in RATES.map(Some).into_iter().chain([None]) {
        let step = step(&sink, &server, rate, time);
        let asked = rate.map_or("flat out".to_owned(), |rate| format!("{rate:.0}"));
        println!(
            "  {asked:>10} {:>10.0} {:>10} {:>10} {:>10} {:>14} {:>14.1} {:>14.1}",
            step.rps,
            step.requests,
            step.seen,
            step.exported,
            step.lost_in_kernel,
            step.cpu_of_server,
            step.cpu_of_agent
        );
        let exhausted = rate.is_some_and(|rate| step.rps < REACHED * rate);
        if step.is_lossless() {
            if best.as_ref().is_none_or(|best| best.rps < step.rps) {
                best = Some(step);
            }
        } else {
            first.get_or_insert(step);
        }
        if exhausted {
            break;
        }
    }
    let (max_lossless_rps, step) = match (best, first) {
        (Some(best), _) => (best.rps, best),
        (None, Some(first)) => (0.0, first),
        (None, None) => unreachable!("every step is lossless or not"),
    };
    println!("  without loss: {max_lossless_rps:.0} exchanges/s");
    Flood {
        max_lossless_rps,
        lost: step.lost(),
        seen: step.seen,
    }
}

fn step(sink: &Sink, server: &Server, rate: Option<f64>, time: Duration) -> Step {
    let agent = Agent::start(&["--port", &server.port.to_string()]);
    let (cpu_before, ends_before) = (cpu(agent.pid()), sink.ends());
    let (outcome, cpu_of_server) = cpu_of(server.process.pid(), || load(server, rate, time));
    let ends = sink.wait_for(ends_before.total() + outcome.requests, PATIENCE);
    let cpu_of_agent = (cpu(agent.pid()) - cpu_before).as_secs_f64() * 1e6;
    let stats = agent.stop();
    Step {
        requests: outcome.requests,
        rps: outcome.rate(),
        seen: counter(&stats, "exchanges.complete"),
        exported: ends.since(ends_before).total(),
        lost_in_kernel: counter(&stats, "kernel.lost.ring_full"),
        cpu_of_server,
        cpu_of_agent: cpu_of_agent / outcome.requests as f64,
    }
}

fn load(server: &Server, rate: Option<f64>, time: Duration) -> Outcome {
    Load {
        port: server.port,
        tls: server.tls.as_deref(),
        path: "/",
        connections: CONNECTIONS,
        rate,
        time,
    }
    .run()
}

/// What comes of a load, and the CPU time that a process needs per request, µs.
fn cpu_of(pid: u32, load: impl FnOnce() -> Outcome) -> (Outcome, f64) {
    let before = cpu(pid);
    let outcome = load();
    let time = (cpu(pid) - before).as_secs_f64() * 1e6;
    let per_request = time / outcome.requests as f64;
    (outcome, per_request)
}

fn counter(stats: &Stats, name: &str) -> u64 {
    *stats
        .get(name)
        .unwrap_or_else(|| panic!("the agent has no counter {name}: {stats:?}"))
}
