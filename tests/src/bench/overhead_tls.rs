//! What the agent costs a service whose traffic is encrypted on both sides, beside the same service
//! in plain text, in one run.

use std::sync::Arc;

use super::overhead::{Bench, Effort, Window, load, paired, print_header, spread, variant};
use super::report::OverheadTls;
use super::sink::Sink;
use super::statistics::Spread;
use super::tls::Tls;
use super::upstream::Upstream;
use super::workload::{ENDS_PER_REQUEST, fastapi, fastapi_over_tls};

/// Measures, and prints what it finds.
pub fn run(effort: Effort) -> OverheadTls {
    let sink = Sink::start();
    let tls = Arc::new(Tls::new());
    let (plain_upstream, tls_upstream) = (Upstream::start(None), Upstream::start(Some(&tls)));
    let plain = fastapi(&sink, &plain_upstream);
    let encrypted = fastapi_over_tls(&sink, &tls_upstream, &tls);
    // Also warms them up. One rate for both, at which neither queues.
    load(&plain, effort.window, None);
    let capacity = load(&encrypted, effort.window, None).rate();
    let bench = Bench::new(sink, capacity, effort);
    println!(
        "overhead --tls: FastAPI and httpx over TLS and in plain text, {ENDS_PER_REQUEST} ends of \
         exchanges per request, {} rounds of {:?} at {:.0} requests/s and {:?} flat out",
        effort.rounds,
        effort.window,
        bench.rate(),
        effort.window
    );

    let (mut plain_bare, mut plain_agent) = (Vec::new(), Vec::new());
    let (mut tls_bare, mut tls_agent) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        plain_bare.push(bench.bare(&plain));
        tls_bare.push(bench.bare(&encrypted));
        plain_agent.push(bench.agent(&plain));
        tls_agent.push(bench.agent(&encrypted));
        tls_agent.push(bench.agent(&encrypted));
        plain_agent.push(bench.agent(&plain));
        tls_bare.push(bench.bare(&encrypted));
        plain_bare.push(bench.bare(&plain));
    }
    report(&plain_bare, &plain_agent, &tls_bare, &tls_agent)
}

fn report(
    plain_bare: &[Window],
    plain_agent: &[Window],
    tls_bare: &[Window],
    tls_agent: &[Window],
) -> OverheadTls {
    print_header();
    variant("bare", plain_bare);
    variant("agent", plain_agent);
    let bare = variant("TLS bare", tls_bare);
    let agent = variant("TLS agent", tls_agent);

    let added = |bare: &[Window], agent: &[Window]| {
        paired(bare, agent, |bare, agent| {
            agent.cpu_us_per_end - bare.cpu_us_per_end
        })
    };
    let by_account =
        |window: &Window| window.cpu_of_agent_us_per_end + window.cpu_of_hooks_us_per_end;
    let (added_plain, added_tls) = (added(plain_bare, plain_agent), added(tls_bare, tls_agent));
    // Each round's four windows beside each other.
    let pairs = plain_bare.iter().zip(plain_agent);
    let on_top = Spread::of(pairs.zip(tls_bare.iter().zip(tls_agent)).map(
        |((plain_bare, plain_agent), (tls_bare, tls_agent))| {
            (tls_agent.cpu_us_per_end - tls_bare.cpu_us_per_end)
                - (plain_agent.cpu_us_per_end - plain_bare.cpu_us_per_end)
        },
    ));
    let on_top_by_account = paired(plain_agent, tls_agent, |plain, tls| {
        by_account(tls) - by_account(plain)
    });
    let in_agent = paired(plain_agent, tls_agent, |plain, tls| {
        tls.cpu_of_agent_us_per_end - plain.cpu_of_agent_us_per_end
    });
    let in_hooks = paired(plain_agent, tls_agent, |plain, tls| {
        tls.cpu_of_hooks_us_per_end - plain.cpu_of_hooks_us_per_end
    });
    let plain_traps = spread(plain_agent, |window| window.traps_per_end);
    let traps = spread(tls_agent, |window| window.traps_per_end);
    let missing: u64 = tls_agent.iter().map(|window| window.missing).sum();
    println!(
        "  the agent adds {added_plain:.1} µs CPU per end in plain text, by the accounts of agent and \
         kernel {:.1} and {plain_traps:.1} traps; over TLS {added_tls:.1}, by the accounts {:.1} and \
         {traps:.1} traps",
        spread(plain_agent, by_account),
        spread(tls_agent, by_account),
    );
    println!(
        "  TLS costs {on_top:.1} µs per end on top, by the accounts {on_top_by_account:.1}: \
         {in_agent:.1} in the agent's process and {in_hooks:.1} in its hooks; ends missing over TLS: \
         {missing}"
    );
    OverheadTls {
        bare,
        agent,
        added_cpu_us_per_exchange: added_tls.median,
        plain_added_cpu_us_per_exchange: added_plain.median,
        on_top_cpu_us_per_exchange: on_top.median,
        on_top_by_account_us_per_exchange: on_top_by_account.median,
        traps_per_exchange: traps.median,
    }
}
