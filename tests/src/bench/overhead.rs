//! What the agent costs a FastAPI service that calls a model in a loop, beside no telemetry at all
//! and beside the OpenTelemetry SDK in the process.

use std::time::Duration;

use super::hooks::{Account, Used};
use super::load::{Load, Outcome};
use super::report::{AgentVariant, Overhead, Variant};
use super::sink::{Ends, Sink};
use super::statistics::Spread;
use super::upstream::Upstream;
use super::usage::{cpu, resident_megabytes};
use super::workload::{ENDS_PER_REQUEST, Server, fastapi, fastapi_with_sdk};
use crate::agent::Agent;

/// Connections of the load generator: enough that the service never waits for it.
const CONNECTIONS: u32 = 8;
/// The fixed rate, as a share of what the bare service can do: busy, but not so that requests
/// queue.
const SHARE_OF_CAPACITY: f64 = 0.5;
/// Spans that have not arrived when none came for this long are lost: three times the time for
/// which both sources may hold them.
const PATIENCE: Duration = Duration::from_secs(3);

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds of five windows: bare, agent, SDK, agent, bare.
    pub rounds: u32,
    /// Length of each half of a window: at the fixed rate, and flat out.
    pub window: Duration,
}

/// What one window gave.
pub(super) struct Window {
    pub(super) cpu_us_per_end: f64,
    pub(super) cpu_of_agent_us_per_end: f64,
    /// That of its programs in the kernel, which run in the service's time.
    pub(super) cpu_of_hooks_us_per_end: f64,
    /// Times that a uprobe was hit.
    pub(super) traps_per_end: f64,
    rps: f64,
    p50_us: f64,
    p99_us: f64,
    rss_mb: f64,
    seen: Ends,
    pub(super) missing: u64,
}

/// How windows are measured.
pub(super) struct Bench {
    sink: Sink,
    rate: f64,
    window: Duration,
    _account: Account,
}

/// Measures, and prints what it finds.
pub fn run(effort: Effort) -> Overhead {
    let sink = Sink::start();
    let upstream = Upstream::start(None);
    let server = fastapi(&sink, &upstream);
    let with_sdk = fastapi_with_sdk(&sink, &upstream);
    // Also warms them up.
    let capacity = load(&server, effort.window, None).rate();
    let warm_up = load(&with_sdk, effort.window, None);
    sink.wait_for(warm_up.requests * ENDS_PER_REQUEST, PATIENCE);
    let bench = Bench::new(sink, capacity, effort);
    println!(
        "overhead: FastAPI and httpx, {ENDS_PER_REQUEST} ends of exchanges per request, {} rounds \
         of {:?} at {:.0} requests/s and {:?} flat out",
        effort.rounds, bench.window, bench.rate, bench.window
    );

    let (mut bare, mut agent, mut sdk) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        bare.push(bench.bare(&server));
        agent.push(bench.agent(&server));
        sdk.push(bench.window(&with_sdk, None, ENDS_PER_REQUEST));
        agent.push(bench.agent(&server));
        bare.push(bench.bare(&server));
    }
    report(&bare, &agent, &sdk)
}

impl Bench {
    /// A fixed rate from what the service can do.
    pub(super) fn new(sink: Sink, capacity: f64, effort: Effort) -> Self {
        Self {
            sink,
            rate: capacity * SHARE_OF_CAPACITY,
            window: effort.window,
            _account: Account::open(),
        }
    }

    /// Requests per second at the fixed rate.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// A window without telemetry.
    pub(super) fn bare(&self, server: &Server) -> Window {
        self.window(server, None, 0)
    }

    /// A window with the agent.
    pub(super) fn agent(&self, server: &Server) -> Window {
        let agent = Agent::watch(&[&server.process], &[]);
        let window = self.window(server, Some(&agent), ENDS_PER_REQUEST);
        agent.stop();
        window
    }

    /// Measures a service. CPU time is counted until the last span of the window has arrived.
    fn window(&self, server: &Server, agent: Option<&Agent>, ends_per_request: u64) -> Window {
        let pid = server.process.pid();
        let cpu_of_agent = || agent.map_or(Duration::ZERO, |agent| cpu(agent.pid()));
        let hooks = || agent.map_or_else(Used::default, |agent| Used::by(agent.pid()));
        let ends_before = self.sink.ends();
        let before = (cpu(pid), cpu_of_agent(), hooks());

        let paced = load(server, self.window, Some(self.rate));
        let flat_out = load(server, self.window, None);
        let requests = paced.requests + flat_out.requests;
        let expected = requests * ends_per_request;
        let seen = self
            .sink
            .wait_for(ends_before.total() + expected, PATIENCE)
            .since(ends_before);

        let after = (cpu(pid), cpu_of_agent(), hooks());
        // Without telemetry nothing is seen, and what would be is what the others are held to.
        let ends = (requests * ENDS_PER_REQUEST) as f64;
        let of_agent = (after.1 - before.1).as_secs_f64() * 1e6 / ends;
        let of_service = (after.0 - before.0).as_secs_f64() * 1e6 / ends;
        let hooks = after.2.since(before.2);
        Window {
            cpu_us_per_end: of_service + of_agent,
            cpu_of_agent_us_per_end: of_agent,
            cpu_of_hooks_us_per_end: hooks.time.as_secs_f64() * 1e6 / ends,
            traps_per_end: hooks.traps as f64 / ends,
            rps: flat_out.rate(),
            p50_us: paced.latency(0.5),
            p99_us: paced.latency(0.99),
            rss_mb: agent.map_or(0.0, |agent| resident_megabytes(agent.pid())),
            seen,
            missing: expected.saturating_sub(seen.total()),
        }
    }
}

/// Loads a service, flat out where there is no rate.
pub(super) fn load(server: &Server, time: Duration, rate: Option<f64>) -> Outcome {
    Load {
        port: server.port,
        tls: server.tls.as_deref(),
        path: "/work",
        connections: CONNECTIONS,
        rate,
        time,
    }
    .run()
}

/// Median and quartiles of one number of all windows.
pub(super) fn spread(windows: &[Window], value: impl Fn(&Window) -> f64) -> Spread {
    Spread::of(windows.iter().map(value))
}

/// Compares each window with the agent with the bare one beside it.
pub(super) fn paired(
    bare: &[Window],
    agent: &[Window],
    compare: impl Fn(&Window, &Window) -> f64,
) -> Spread {
    Spread::of(
        bare.iter()
            .zip(agent)
            .map(|(bare, agent)| compare(bare, agent)),
    )
}

/// Prints what the columns of [`variant`] are.
pub(super) fn print_header() {
    println!(
        "  {:<10} {:>24} {:>24} {:>24} {:>24} {:>16}",
        "", "CPU µs/end", "requests/s flat out", "p50 µs", "p99 µs", "ends seen"
    );
}

/// Prints the windows of a variant as one line, and returns their medians.
pub(super) fn variant(name: &str, windows: &[Window]) -> Variant {
    let cpu = spread(windows, |window| window.cpu_us_per_end);
    let rps = spread(windows, |window| window.rps);
    let p50 = spread(windows, |window| window.p50_us);
    let p99 = spread(windows, |window| window.p99_us);
    let seen = windows.iter().fold((0, 0), |sum, window| {
        (sum.0 + window.seen.server, sum.1 + window.seen.client)
    });
    println!(
        "  {name:<10} {:>24} {:>24} {:>24} {:>24} {:>16}",
        format!("{cpu:.1}"),
        format!("{rps:.1}"),
        format!("{p50:.0}"),
        format!("{p99:.0}"),
        format!("{} + {}", seen.0, seen.1),
    );
    Variant {
        cpu_us_per_exchange: cpu.median,
        rps: rps.median,
        p50_us: p50.median,
        p99_us: p99.median,
    }
}

fn report(bare: &[Window], agent: &[Window], sdk: &[Window]) -> Overhead {
    print_header();
    let bare_variant = variant("bare", bare);
    let agent_variant = variant("agent", agent);
    let sdk_variant = variant("sdk", sdk);

    let added = paired(bare, agent, |bare, agent| {
        agent.cpu_us_per_end - bare.cpu_us_per_end
    });
    let added_by_sdk = sdk_variant.cpu_us_per_exchange - bare_variant.cpu_us_per_exchange;
    let own = spread(agent, |window| window.cpu_of_agent_us_per_end);
    let hooks = spread(agent, |window| window.cpu_of_hooks_us_per_end);
    let traps = spread(agent, |window| window.traps_per_end);
    let ratio = paired(bare, agent, |bare, agent| agent.rps / bare.rps);
    let p50 = paired(bare, agent, |bare, agent| agent.p50_us - bare.p50_us);
    let p99 = paired(bare, agent, |bare, agent| agent.p99_us - bare.p99_us);
    let rss = spread(agent, |window| window.rss_mb);
    let missing: u64 = agent.iter().map(|window| window.missing).sum();
    println!(
        "  the agent adds {added:.1} µs CPU per end; by the accounts of agent and kernel {own:.1} in \
         its process, {hooks:.1} in its hooks, and {traps:.1} traps; the SDK {added_by_sdk:.1}"
    );
    println!(
        "  the agent adds {p50:.0} µs to the median latency and {p99:.0} µs to the 99th percentile"
    );
    println!(
        "  throughput with the agent: {ratio:.3} of bare; memory {rss:.1} MB; ends missing: {missing}"
    );
    Overhead {
        bare: bare_variant,
        agent: AgentVariant {
            variant: agent_variant,
            added_cpu_us_per_exchange: added.median,
            added_in_agent_us_per_exchange: own.median,
            added_in_hooks_us_per_exchange: hooks.median,
            rps_ratio: ratio.median,
            rss_mb: rss.median,
        },
        sdk: sdk_variant,
    }
}
