//! Probes in processes: how soon they are there, and that they go.

use std::time::Duration;

use kaos_tests::agent::Agent;
use kaos_tests::bpf::{Kind, exists, held, uprobes};
use kaos_tests::received::Span;
use kaos_tests::receiver::Receiver;
use kaos_tests::wait;
use kaos_tests::workloads::{Certificate, Need, Workloads, lacks};

/// Code is found by what the kernel tells, and not by looking for it from time to time: the agent is let
/// sleep as long as it can, and nearly all is probed in a small part of that, and of the second in which it
/// keeps house. Prints how long it takes.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn code_is_probed_as_it_is_mapped() {
    const TIMES: usize = 11;
    const SLEEP: Duration = Duration::from_secs(10);
    const MOST: Duration = Duration::from_millis(SLEEP.as_millis() as u64 / 40);
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let pid = std::process::id().to_string();
    let interval = format!("{}s", SLEEP.as_secs());
    let agent = Agent::start(&["--pid", &pid, "--poll-interval", &interval]);
    let lines = Workloads::of(&receiver).probed(TIMES);
    for what in ["loaded", "executed"] {
        let of_it = lines.iter().filter_map(|line| line.strip_prefix(what));
        let mut times: Vec<f64> = of_it
            .map(|time| time.trim().parse().expect("milliseconds"))
            .collect();
        times.sort_by(f64::total_cmp);
        assert_eq!(times.len(), TIMES, "{what}: {lines:?}");
        let median = times[TIMES / 2];
        println!(
            "a library is probed {median:.1} ms after it begins to be {what} (median; {:.1} to {:.1})",
            times[0],
            times[TIMES - 1]
        );
        assert!(median < MOST.as_secs_f64() * 1000.0, "{what}: {times:?}");
    }
    let stats = agent.stop();
    assert!(
        stats["uprobes.probed_files"] >= 2 * TIMES as u64,
        "{stats:?}"
    );
    assert_eq!(stats["uprobes.lost_mappings"], 0);
}

/// Starts an agent for what this process starts from now on, and what `start` starts; its TLS is probed
/// when this returns, and its event loop.
fn probed<Started>(start: impl FnOnce() -> Started) -> (Agent, Started) {
    let agent = Agent::start_verbose(&["--pid", &std::process::id().to_string()]);
    assert_eq!(uprobes(agent.pid()), 0);
    let started = start();
    agent.wait_until_probed("libssl");
    agent.wait_for_log("stream_flushed is attached to ");
    (agent, started)
}

/// Probes in a file are there as long as somebody uses it.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn probes_are_gone_with_the_last_user() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let server = |name| workloads.python_server(name, "httptools");
    let (agent, (first, second)) = probed(|| (server("first"), server("second")));
    let links = held(agent.pid(), Kind::Link);
    let shared = uprobes(agent.pid());
    drop(first);
    let get = |service| {
        let client = workloads.python_client(service, "httpx", &[second.url("/echo/1")]);
        client.succeed()
    };
    // Who is left is seen, longer than what nobody uses stays probed: each is, and then its client ends.
    for service in ["one", "two", "three"] {
        assert_eq!(get(service).len(), 1);
    }
    receiver.wait_for("the server's requests", |spans| {
        let of_server = |span: &&Span| span.service == "second" && span.kind == "SERVER";
        spans.iter().filter(of_server).count() == 3
    });
    assert!(uprobes(agent.pid()) >= shared, "{links:?}");
    drop(second);
    wait::until("no probe is left", || match uprobes(agent.pid()) {
        0 => Ok(()),
        left => Err(left),
    });
    let of_hooks = held(agent.pid(), Kind::Link);
    wait::until_none("the kernel has none of them", || {
        let gone = links.keys().filter(|id| !of_hooks.contains_key(id));
        gone.filter(|id| exists(Kind::Link, **id)).collect()
    });
    let stats = agent.stop();
    assert_eq!(
        stats["uprobes.released_files"], stats["uprobes.probed_files"],
        "{stats:?}"
    );
}

/// Every link and program of the agent is listed while it runs, and none of them after SIGTERM.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn sigterm_leaves_nothing_behind() {
    if lacks(&[Need::Python]) {
        return;
    }
    let receiver = Receiver::start();
    let certificate = Certificate::new();
    let workloads = Workloads::of(&receiver).over(&certificate);
    let (agent, server) = probed(|| workloads.python_server("server", "httptools"));
    let seen = workloads.python_client("client", "httpx", &[server.url("/echo/1")]);
    seen.succeed();

    let links = held(agent.pid(), Kind::Link);
    let programs = held(agent.pid(), Kind::Program);
    // Of TLS and of uvloop two at least, of the interpreter one.
    let uprobes = uprobes(agent.pid());
    assert!(uprobes >= 6, "{links:?}");
    assert!(programs.len() > uprobes, "{programs:?}");
    let left = || {
        let links = links.keys().map(|id| (Kind::Link, *id));
        let programs = programs.keys().map(|id| (Kind::Program, *id));
        let all = links.chain(programs);
        let left = all.filter(|(kind, id)| exists(*kind, *id));
        left.collect::<Vec<_>>()
    };
    assert_eq!(left().len(), links.len() + programs.len());
    agent.stop();
    // The kernel frees what was closed when no CPU can be running it any more.
    wait::until_none("nothing is left", left);
}
