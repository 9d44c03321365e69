//! `cargo xtask fuzz`: every parser of the agent under libFuzzer, with the project's own compiler.
//!
//! The targets are in `kaos-agent/fuzz`. What `cargo fuzz` does with a nightly compiler is done
//! here with flags that every compiler has: coverage counters, which libFuzzer needs. No address
//! sanitizer, which does: the parsers are safe Rust.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{command, paths, toolchain};

/// `cargo xtask fuzz`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only these targets.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// The targets, in the order of the stages.
const TARGETS: [&str; 11] = [
    "recording",
    "http1",
    "http2",
    "chunked",
    "content",
    "sse",
    "json",
    "model_request",
    "model_reply",
    "rpc",
    "traceparent",
];
/// Coverage counters where libFuzzer looks for them.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing -Ccodegen-units=1";
/// What libFuzzer calls the inputs that it tried.
const EXECUTED: &str = "number_of_executed_units";
/// Bytes of an input: a few heads and bodies.
const MOST_BYTES: &str = "16384";
/// MiB that a target may use. Everything is bounded, so more is a bug.
const MOST_MEMORY: &str = "1024";

/// Builds the targets, writes first inputs from the recordings in `testdata`, and runs each.
///
/// # Errors
/// They do not build. What a target finds is its exit code, and ours.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(unknown) = options
        .targets
        .iter()
        .find(|wanted| !TARGETS.contains(&wanted.as_str()))
    {
        bail!("no target {unknown}: there are {}", TARGETS.join(", "));
    }
    let is_wanted = |target: &str| {
        options.targets.is_empty() || options.targets.iter().any(|wanted| wanted == target)
    };
    let outcomes = outcomes(options.seconds, is_wanted)?;
    if outcomes.iter().all(|outcome| outcome.found_nothing) {
        println!("fuzz: nothing found");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// What became of a target.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub target: &'static str,
    /// It ran to its end.
    pub found_nothing: bool,
}

/// Builds the targets, and runs those that are wanted, as many at a time as there are processors, for
/// so many seconds each.
///
/// # Errors
/// They do not build, or do not start.
pub fn outcomes(seconds: u32, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Outcome>> {
    let wanted: Vec<_> = TARGETS
        .into_iter()
        .filter(|target| is_wanted(target))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let executables = build()?;
    let corpus = paths::target().join("fuzz/corpus");
    write_seeds(&executables, &corpus)?;
    println!("fuzz: {}, {seconds} s each", wanted.join(", "));
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        while let Some(target) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found_nothing =
                run_target(&executables.join(target), &corpus.join(target), seconds)?;
            outcomes.push(Outcome {
                target,
                found_nothing,
            });
        }
        Ok(outcomes)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let mut outcomes = Vec::new();
        for worker in workers {
            let done = worker.join().map_err(|_| anyhow!("a worker panicked"))?;
            outcomes.extend(done?);
        }
        Ok(outcomes)
    })
}

/// Where what was found is kept.
fn artifacts() -> PathBuf {
    paths::target().join("fuzz/artifacts")
}

/// Where the targets are, built.
fn build() -> Result<PathBuf> {
    let version = command::output(Command::new("rustc").arg("-vV"))?;
    let host = toolchain::version_field(&version, "host").context("rustc names no host")?;
    let target = paths::target().join("fuzz/build");
    let mut cargo = toolchain::cargo(&["build", "--release"])?;
    cargo.current_dir(paths::root().join("kaos-agent/fuzz"));
    cargo.arg("--target-dir").arg(&target);
    // A target that is named keeps the flags from build scripts and procedural macros.
    cargo.args(["--target", host]);
    let flags = cargo.get_envs().find(|(name, _)| *name == "RUSTFLAGS");
    let flags = flags
        .and_then(|(_, value)| value?.to_str())
        .unwrap_or_default();
    let flags = format!("{flags} {COVERAGE}");
    cargo.env("RUSTFLAGS", flags);
    command::run(&mut cargo)?;
    Ok(target.join(host).join("release"))
}

fn write_seeds(executables: &Path, corpus: &Path) -> Result<()> {
    let testdata = paths::root().join("kaos-agent/testdata");
    let mut seeds = Command::new(executables.join("seeds"));
    seeds.arg(corpus);
    let entries =
        fs::read_dir(&testdata).with_context(|| format!("cannot read {}", testdata.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "kaosrec")
        {
            seeds.arg(path);
        }
    }
    command::run(&mut seeds)
}

/// Runs a target. Whether it found nothing.
fn run_target(executable: &Path, corpus: &Path, seconds: u32) -> Result<bool> {
    fs::create_dir_all(corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let artifacts = artifacts();
    fs::create_dir_all(&artifacts)
        .with_context(|| format!("cannot make {}", artifacts.display()))?;
    let mut fuzzer = Command::new(executable);
    fuzzer.arg(corpus);
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-max_len={MOST_BYTES}"));
    fuzzer.arg(format!("-rss_limit_mb={MOST_MEMORY}"));
    fuzzer.args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]);
    // Several run at once: what each has to say is shown together.
    let output = fuzzer
        .output()
        .with_context(|| format!("cannot start {}", command::line(&fuzzer)))?;
    let found_nothing = output.status.success();
    let name = executable.file_name().unwrap_or_default().display();
    let said = String::from_utf8_lossy(&output.stderr);
    if found_nothing {
        let executed = said.lines().find(|line| line.contains(EXECUTED));
        println!("fuzz: {name}: nothing found; {}", executed.unwrap_or(""));
    } else {
        println!(
            "fuzz: {name}: found something; the input is in {}\n{said}",
            artifacts.display()
        );
    }
    Ok(found_nothing)
}
