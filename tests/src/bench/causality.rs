//! What it costs to know which request caused which call: a service of Starlette (what FastAPI is made
//! of) on uvicorn that calls with httpx, without an agent, with one that does not look into Python, and
//! with one that does.

use super::copies;
use super::hooks::{Account, Used};
use super::report::{Causality, Copies};
use super::statistics::Spread;
use super::usage::cpu;
use crate::agent::Agent;
use crate::causes::{Bed, CALLS, Causes};
use crate::workloads::python;

/// The service: `SERVER-CLIENT-SHAPE` of `causes.py`.
const KIND: &str = "starlette-httpx-plain";
/// Requests in flight at a time.
const IN_FLIGHT: usize = 64;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Bare,
    WithoutContexts,
    WithContexts,
}
use Variant::{Bare, WithContexts, WithoutContexts};

/// What one window gave.
#[derive(Debug, Clone, Copy)]
struct Window {
    variant: Variant,
    /// CPU time per request of service and agent, µs.
    cpu_us: f64,
    /// That of the agent in it.
    agent_us: f64,
    /// That of its programs in the kernel, which is in the service's.
    hooks_us: f64,
    /// Times that a uprobe was hit, per request.
    traps: f64,
    causes: Causes,
}

/// Measures so many rounds of six windows, each of so many requests, and prints what it finds.
#[must_use]
pub fn run(rounds: usize, requests: usize) -> Causality {
    println!(
        "causality: {KIND}, {CALLS} calls per request, {IN_FLIGHT} in flight, {rounds} rounds of \
         windows of {requests} requests"
    );
    let account = Account::open();
    let order = [
        Bare,
        WithoutContexts,
        WithContexts,
        WithContexts,
        WithoutContexts,
        Bare,
    ];
    let windows: Vec<Window> = (0..rounds)
        .flat_map(|_| order)
        .map(|variant| window(variant, requests))
        .collect();
    // It costs each run of a program some nanoseconds.
    drop(account);
    report(&windows, copies::run(rounds))
}

/// Measures a service of its own, warmed up before the agent comes.
fn window(variant: Variant, requests: usize) -> Window {
    let bed = Bed::start(&python(), KIND);
    bed.drive(IN_FLIGHT, IN_FLIGHT);
    let server = &bed.server.process;
    let agent = match variant {
        Bare => None,
        WithoutContexts => Some(Agent::watch(&[server], &["--no-contexts"])),
        WithContexts => Some(Agent::watch(&[server], &[])),
    };
    let used = || {
        let agent = agent.as_ref().map(Agent::pid);
        let hooks = agent.map_or_else(Used::default, Used::by);
        (cpu(server.pid()), agent.map(cpu).unwrap_or_default(), hooks)
    };
    let before = used();
    bed.drive(IN_FLIGHT, requests);
    if agent.is_some() {
        bed.wait_for_calls(requests * CALLS);
    }
    let after = used();
    let per_request = |time: std::time::Duration| time.as_secs_f64() * 1e6 / requests as f64;
    let agent_us = per_request(after.1 - before.1);
    let service_us = per_request(after.0 - before.0);
    let hooks = after.2.since(before.2);
    if let Some(agent) = agent {
        agent.stop();
    }
    Window {
        variant,
        cpu_us: service_us + agent_us,
        agent_us,
        hooks_us: per_request(hooks.time),
        traps: hooks.traps as f64 / requests as f64,
        causes: bed.told(),
    }
}

fn report(windows: &[Window], copies: Copies) -> Causality {
    println!(
        "  {:<17} {:>26} {:>22} {:>20} {:>8} {:>8} {:>6}",
        "", "CPU µs/request", "of it in the agent", "in its hooks", "right", "unknown", "wrong"
    );
    let of = |variant| {
        let windows = windows.iter().filter(move |it| it.variant == variant);
        windows.copied()
    };
    let row = |name, variant| {
        let cpu = Spread::of(of(variant).map(|window| window.cpu_us));
        let agent = Spread::of(of(variant).map(|window| window.agent_us));
        let hooks = Spread::of(of(variant).map(|window| window.hooks_us));
        let causes = of(variant).fold(Causes::default(), |sum, window| Causes {
            right: sum.right + window.causes.right,
            linked: sum.linked + window.causes.linked,
            unknown: sum.unknown + window.causes.unknown,
            wrong: sum.wrong + window.causes.wrong,
        });
        println!(
            "  {name:<17} {:>26} {:>22} {:>20} {:>8} {:>8} {:>6}",
            format!("{cpu:.0}"),
            format!("{agent:.1}"),
            format!("{hooks:.1}"),
            causes.right,
            causes.unknown,
            causes.wrong,
        );
        (cpu.median, causes)
    };
    let (bare, _) = row("bare", Bare);
    let (without, _) = row("without contexts", WithoutContexts);
    let (with, causes) = row("with contexts", WithContexts);
    // Each window with the one beside it.
    let pairs = of(WithContexts)
        .zip(of(WithoutContexts))
        .collect::<Vec<_>>();
    let more = |of: fn(&Window) -> f64| {
        Spread::of(
            pairs
                .iter()
                .map(move |(with, without)| of(with) - of(without)),
        )
    };
    let added = more(|window| window.cpu_us);
    let in_agent = more(|window| window.agent_us);
    let in_hooks = more(|window| window.hooks_us);
    let traps = Spread::of(of(WithContexts).map(|window| window.traps));
    println!(
        "  contexts add {added:.0} µs CPU per request; by the accounts of agent and kernel \
         {in_agent:.1} in the agent's process, {in_hooks:.1} in its hooks, and {traps:.1} traps"
    );
    Causality {
        bare_cpu_us_per_request: bare,
        without_contexts_cpu_us_per_request: without,
        with_contexts_cpu_us_per_request: with,
        added_us_per_request: added.median,
        added_in_agent_us_per_request: in_agent.median,
        added_in_hooks_us_per_request: in_hooks.median,
        traps_per_request: traps.median,
        copies,
        right: causes.right,
        unknown: causes.unknown,
        wrong: causes.wrong,
    }
}
