//! Which request caused which call, in real servers that interleave hundreds of them.

use std::path::{Path, PathBuf};

use kaos_tests::WRONG;
use kaos_tests::agent::Agent;
use kaos_tests::causes::{Bed, CALLS, Causes, Over, Run};
use kaos_tests::workloads::{
    Need, built_pythons, lacks, other_interpreters, python, python_roots, skip,
};

/// What is promised of a kind of server.
#[derive(Clone, Copy)]
enum Promise {
    /// The cause of every call is known.
    All,
    /// That of each second one; the others are made when the request is over, and linked to it.
    HalfLinked,
    /// All are made when their request is over, and linked to it.
    Linked,
    /// Of none: what makes the calls has nothing of the request.
    Nothing,
}
use Promise::{All, HalfLinked, Linked, Nothing};

/// Servers in the environment of the workloads.
const KINDS: &[(&str, Promise)] = &[
    ("uvicorn-raw-plain", All),
    ("uvicorn-httpx-gather", All),
    ("uvicorn-raw-group", All),
    ("uvicorn-httpx-anyio", All),
    ("uvicorn-raw-thread", All),
    ("uvicornuv-httpx-plain", All),
    ("uvicornuv-raw-stream", All),
    ("starlette-httpx-stream", All),
    ("starlette-httpx-middlestream", All),
    ("starlette-httpx-sync", All),
    ("aiohttp-aiohttp-plain", All),
    ("aiohttp-raw-stream", All),
    ("threads-raw-plain", All),
    ("flask-raw-plain", All),
    ("hypercorn-raw-plain", All),
    ("hypercorn-httpx-stream", All),
    ("tornado-raw-plain", All),
    ("tornado-httpx-stream", All),
    ("workers-raw-plain", All),
    ("gunicorn-raw-plain", All),
    ("gunicorn-httpx-mix", All),
    ("gthread-raw-plain", All),
    ("uvicorn-httpx-mix", All),
    ("uvicornuv-raw-mix", All),
    ("uvicorn-raw-later", HalfLinked),
    ("uvicornuv-httpx-later", HalfLinked),
    ("aiohttp-raw-later", HalfLinked),
    ("starlette-raw-background", Linked),
    ("starlette-httpx-background", Linked),
    ("uvicorn-raw-executor", Nothing),
];

/// Runs each and prints the table; panics after it where a promise was not kept.
fn hold(runs: &[(Run<'_>, Promise)]) {
    let mut broken = Vec::new();
    let mut wrong = 0;
    for (run, promise) in runs {
        let (causes, _) = run.go();
        let calls = run.requests * CALLS;
        let row = format!(
            "{} {:<30} {:>4} in flight {:<8} {causes}",
            run.python.display(),
            run.kind,
            run.in_flight,
            format!("{:?}", run.over)
        );
        println!("{row}");
        wrong += causes.wrong;
        let (right, linked) = match promise {
            All => (calls, 0),
            HalfLinked => (calls / 2, calls / 2),
            Linked => (0, calls),
            Nothing => (0, 0),
        };
        let promised = Causes {
            right,
            linked,
            unknown: calls - right - linked,
            wrong: 0,
        };
        if causes != promised {
            broken.push(row);
        }
    }
    let broken = broken.join("\n");
    assert_eq!(wrong, 0, "{WRONG}:\n{broken}");
    assert!(broken.is_empty(), "not as promised:\n{broken}");
}

fn run<'a>(python: &'a Path, kind: &'a str, in_flight: usize) -> Run<'a> {
    Run {
        python,
        kind,
        in_flight,
        requests: (2 * in_flight).clamp(8, 256),
        over: Over::Plain,
    }
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_by_every_server() {
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    let runs: Vec<_> = KINDS
        .iter()
        .map(|(kind, promise)| (run(&python, kind, 64), *promise))
        .collect();
    hold(&runs);
}

#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_however_many_are_in_flight() {
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    let kinds = [
        "uvicorn-raw-plain",
        "uvicornuv-raw-plain",
        "aiohttp-raw-plain",
        "uvicornuv-raw-mix",
        "starlette-httpx-middlestream",
        "gthread-raw-plain",
        "flask-raw-plain",
    ];
    let with =
        |kind, over| [1, 8, 256].map(|in_flight| (run(&python, kind, in_flight).over(over), All));
    let plain = kinds.into_iter().flat_map(|kind| with(kind, Over::Plain));
    let encrypted = with("uvicornuv-httpx-mix", Over::Tls);
    hold(&plain.chain(encrypted).collect::<Vec<_>>());
}

/// Over TLS a call is written before it is sent, and read after it was received.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_over_tls() {
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    let kinds = [
        "uvicorn-raw-plain",
        "uvicorn-httpx-mix",
        "uvicornuv-raw-plain",
        "uvicornuv-httpx-mix",
        "aiohttp-aiohttp-plain",
        "gthread-raw-plain",
        "threads-raw-plain",
    ];
    let runs = kinds.map(|kind| (run(&python, kind, 64).over(Over::Tls), All));
    hold(&runs);
}

/// The requests of a connection come one after the other, and are served where those before them were.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_on_connections_that_are_kept() {
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    let kinds = [
        ("uvicorn-raw-plain", Over::Kept),
        ("uvicornuv-raw-mix", Over::Kept),
        ("aiohttp-raw-plain", Over::Kept),
        ("threads-raw-plain", Over::Kept),
        ("uvicornuv-raw-plain", Over::KeptTls),
        ("aiohttp-aiohttp-plain", Over::KeptTls),
    ];
    let runs = kinds.map(|(kind, over)| {
        let requests = 4 * 32;
        let run = run(&python, kind, 32).over(over);
        (Run { requests, ..run }, All)
    });
    hold(&runs);
}

/// Calls that forward the `traceparent` of their request stay in its trace when it is over, below the span that
/// it names, and are linked to it as those without are.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn calls_after_a_request_that_forward_its_context_are_linked_to_it() {
    const REQUESTS: usize = 64;
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    for kind in ["uvicorn-raw-later", "uvicornuv-raw-later"] {
        let bed = Bed::start(&python, kind);
        let agent = Agent::watch(&[&bed.server.process], &[]);
        bed.drive_tracing(16, REQUESTS);
        bed.wait_for_calls(REQUESTS * CALLS);
        let stats = agent.stop();
        let told = bed.told();
        println!("{kind:<20} {told}");
        assert_eq!(told.wrong, 0, "{WRONG}: {kind}: {told}");
        let half = REQUESTS * CALLS / 2;
        assert_eq!((told.right, told.linked), (half, half), "{kind}: {told}");
        assert_eq!(stats["runs.calls_after_request"], half as u64);
        assert_eq!(stats["runs.causes_unknown"], 0);
    }
}

/// Servers, and of how many calls before the response the cause is known, of the two that each request makes
/// then: with asyncio and h11 each connection is received from in a context of its own, which leads to them.
const OF_SEVERAL: [(&str, usize); 3] = [
    ("uvicorn-raw-plain", 2),
    ("uvicornuv-raw-plain", 0),
    ("aiohttp-raw-plain", 0),
];

/// Each second client leaves while its request is served: its calls go on, nobody responds, and others
/// are served meanwhile.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_client_that_leaves_costs_others_nothing() {
    const REQUESTS: usize = 64;
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    for (kind, known) in OF_SEVERAL {
        let bed = Bed::start(&python, kind);
        let agent = Agent::watch(&[&bed.server.process], &[]);
        bed.drive_leaving(16, REQUESTS);
        bed.wait_for_calls(REQUESTS * CALLS);
        let _stats = agent.stop();
        let stayed = bed.told_of(|number| number % 2 == 0);
        let left = bed.told_of(|number| number % 2 == 1);
        println!("{kind:<20} answered: {stayed}  left: {left}");
        assert_eq!(stayed.wrong + left.wrong, 0, "{WRONG}: {kind}");
        assert_eq!(stayed.right, REQUESTS / 2 * CALLS, "{kind}: {stayed}");
        // Of those that left the calls until then, where they are known at once.
        assert!(left.right >= REQUESTS / 2 * known, "{kind}: {left}");
    }
}

/// A server that is killed while it serves several: of each request the first call was answered, and
/// the second was not.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn a_server_that_is_killed_is_told_without_a_guess() {
    const REQUESTS: usize = 16;
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    for (kind, known) in OF_SEVERAL {
        let bed = Bed::start(&python, kind);
        let agent = Agent::watch(&[&bed.server.process], &[]);
        bed.drive_until_killed(REQUESTS);
        bed.wait_for_calls(2 * REQUESTS);
        let _stats = agent.stop();
        let told = bed.told();
        println!("{kind:<20} {told}");
        assert_eq!(told.wrong, 0, "{WRONG}: {kind}: {told}");
        assert_eq!(told.right, REQUESTS * known, "{kind}: {told}");
    }
}

/// `Context()` and `Context.copy()` make contexts that are no copies of the running one, at addresses
/// of such copies that are gone.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn an_address_that_is_used_again_inherits_nothing() {
    if lacks(&[Need::Python]) {
        return;
    }
    let python = python();
    hold(&[(run(&python, "uvicorn-raw-fresh", 16), Nothing)]);
}

/// The distribution's interpreter, and those of pyenv, in all of their versions that are followed.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_by_other_interpreters() {
    if lacks(&[Need::Python]) {
        return;
    }
    let interpreters = other_interpreters();
    if interpreters.is_empty() {
        skip("no other interpreter has the packages; type: cargo xtask setup");
        return;
    }
    let kinds = [
        ("uvicorn-raw-plain", Over::Plain, All),
        ("uvicorn-httpx-gather", Over::Tls, All),
        ("uvicornuv-raw-plain", Over::Plain, All),
        ("starlette-raw-sync", Over::Plain, All),
        ("threads-raw-plain", Over::Plain, All),
        ("uvicorn-raw-executor", Over::Plain, Nothing),
    ];
    let runs: Vec<_> = interpreters
        .iter()
        .flat_map(|python| {
            kinds.map(|(kind, over, promise)| (run(python, kind, 32).over(over), promise))
        })
        .collect();
    hold(&runs);
}

/// Debian's interpreters of other releases, in root file systems of their own
/// (`cargo xtask setup --pythons`).
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_by_other_versions() {
    if lacks(&[Need::PythonRoots, Need::Program("unshare")]) {
        return;
    }
    let roots = python_roots();
    let kinds = [
        ("uvicorn-raw-plain", All),
        ("uvicorn-raw-eager", All),
        ("uvicorn-raw-mix", All),
        // Debian strips uvloop of the names that are probed.
        ("uvicornuv-raw-mix", All),
        ("starlette-raw-sync", All),
        ("threads-raw-plain", All),
        ("uvicorn-raw-executor", Nothing),
        ("uvicorn-raw-fresh", Nothing),
    ];
    let is_3_14 = |root: &&PathBuf| root.join("usr/bin/python3.14").exists();
    let mut runs: Vec<_> = roots
        .iter()
        .flat_map(|root| kinds.map(|(kind, promise)| (run(root, kind, 32), promise)))
        .collect();
    // A thread of a pool begins in the context of the request that it was started in, and works for
    // others.
    let inheriting = roots.iter().filter(is_3_14);
    runs.extend(inheriting.map(|root| (run(root, "uvicorn-raw-inherit", 32), Nothing)));
    hold(&runs);
}

/// Interpreters without the global lock and for musl, which are in no archive: built from source.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_by_interpreters_from_source() {
    if lacks(&[Need::BuiltPythons, Need::Program("unshare")]) {
        return;
    }
    let pythons = built_pythons();
    let kinds = [
        ("uvicorn-raw-plain", All),
        ("uvicorn-raw-eager", All),
        ("uvicorn-raw-group", All),
        ("uvicorn-raw-mix", All),
        ("uvicorn-raw-later", HalfLinked),
        ("starlette-raw-background", Linked),
        ("starlette-raw-sync", All),
        ("starlette-raw-middlestream", All),
        ("threads-raw-plain", All),
        ("uvicorn-raw-executor", Nothing),
        ("uvicorn-raw-fresh", Nothing),
    ];
    let mut runs: Vec<_> = pythons
        .iter()
        .flat_map(|python| kinds.map(|(kind, promise)| (run(python, kind, 32), promise)))
        .collect();
    // uvloop is published for musl, and not for builds without the lock.
    let is_musl = |python: &&PathBuf| python.to_string_lossy().contains("-musl/");
    let musl = pythons.iter().filter(is_musl);
    runs.extend(musl.map(|python| (run(python, "uvicornuv-raw-mix", 32), All)));
    hold(&runs);
}
