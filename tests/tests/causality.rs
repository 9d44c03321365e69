//! Which request caused which call, in real servers that interleave hundreds of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use kaos_tests::causes::{CALLS, Causes, Run};
use kaos_tests::workloads::{Need, built_pythons, lacks, python, python_roots};

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
    for (run, promise) in runs {
        let (causes, _) = run.go();
        let calls = run.requests * CALLS;
        let row = format!(
            "{} {:<30} {:>4} in flight {causes}",
            run.python.display(),
            run.kind,
            run.in_flight
        );
        println!("{row}");
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
    assert!(broken.is_empty(), "not as promised:\n{}", broken.join("\n"));
}

fn run<'a>(python: &'a Path, kind: &'a str, in_flight: usize) -> Run<'a> {
    Run {
        python,
        kind,
        in_flight,
        requests: (2 * in_flight).clamp(8, 256),
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
    ];
    let runs: Vec<_> = kinds
        .iter()
        .flat_map(|kind| [1, 8, 256].map(|in_flight| (run(&python, kind, in_flight), All)))
        .collect();
    hold(&runs);
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

/// The distribution's interpreter: stripped, linked statically, not the one of the environment.
/// `KAOS_CAUSALITY_PYTHON` names further ones that can import the packages, separated by colons.
#[test]
#[ignore = "kernel: real workloads, needs root"]
fn causes_are_told_by_other_interpreters() {
    if lacks(&[Need::Python]) {
        return;
    }
    let named = std::env::var_os("KAOS_CAUSALITY_PYTHON").unwrap_or_default();
    let mut interpreters: Vec<PathBuf> = std::env::split_paths(&named).collect();
    interpreters.push(PathBuf::from("/usr/bin/python3"));
    let kinds = [
        "uvicorn-raw-plain",
        "uvicornuv-raw-plain",
        "starlette-raw-sync",
        "threads-raw-plain",
    ];
    let mut runs = Vec::new();
    for interpreter in &interpreters {
        // Packages with native parts are for one version.
        let imports = Command::new(interpreter)
            .args(["-c", "import uvicorn, uvloop, httptools, starlette"])
            .env("PYTHONPATH", kaos_tests::workloads::packages())
            .output();
        if !imports.is_ok_and(|output| output.status.success()) {
            println!(
                "skipped {}: it cannot use the packages",
                interpreter.display()
            );
            continue;
        }
        runs.extend(kinds.iter().map(|kind| (run(interpreter, kind, 32), All)));
    }
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
