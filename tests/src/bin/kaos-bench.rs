//! Runs the benchmarks; `cargo xtask bench` builds everything and calls it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kaos_tests::bench::report::{Overheads, Report};
use kaos_tests::bench::{causality, flood, overhead, overhead_tls, replay, semantics, start};

/// Benchmarks of the agent
#[derive(Debug, Parser)]
struct Arguments {
    /// Which one; all of them, where none is named
    benchmark: Option<Benchmark>,
    /// Write the medians into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only show that everything works: numbers of so short a time mean little
    #[arg(long)]
    quick: bool,
    /// `overhead` of TLS beside plain text, in one run
    #[arg(long)]
    tls: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// Cost beside a FastAPI service, against no telemetry and against the SDK
    Overhead,
    /// Highest rate without loss
    Flood,
    /// Speed of the pipeline
    Replay,
    /// Cost of understanding model and tool calls
    Semantics,
    /// Cost of knowing the causes of calls in a Python service
    Causality,
    /// Time to the first span
    Start,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wants = |benchmark| arguments.benchmark.is_none_or(|wanted| wanted == benchmark);
    let quick = arguments.quick;
    let mut report = Report::default();
    if wants(Benchmark::Start) {
        report.start = Some(start::run(if quick { 2 } else { 9 }));
    }
    if wants(Benchmark::Replay) {
        let (runs, divisor) = if quick { (1, 10) } else { (7, 1) };
        report.replay = Some(replay::run(runs, divisor));
    }
    if wants(Benchmark::Semantics) {
        let (runs, exchanges) = if quick { (1, 2_000) } else { (9, 50_000) };
        report.semantics = semantics::run(runs, exchanges);
    }
    if wants(Benchmark::Flood) {
        let seconds = if quick { 1 } else { 3 };
        report.flood = Some(flood::run(Duration::from_secs(seconds)));
    }
    if wants(Benchmark::Overhead) {
        let (rounds, seconds) = if quick { (1, 1) } else { (8, 2) };
        let effort = overhead::Effort {
            rounds,
            window: Duration::from_secs(seconds),
        };
        // Named with `--tls`, it is TLS beside plain text and nothing else.
        let only_tls = arguments.tls && arguments.benchmark.is_some();
        report.overhead = Some(Overheads {
            plain: (!only_tls).then(|| overhead::run(effort)),
            tls: arguments.tls.then(|| overhead_tls::run(effort)),
        });
    }
    if wants(Benchmark::Causality) {
        let (rounds, requests) = if quick { (1, 128) } else { (4, 512) };
        report.causality = Some(causality::run(rounds, requests));
    }
    if let Some(file) = arguments.json {
        let json = serde_json::to_string_pretty(&report).expect("numbers are JSON") + "\n";
        if let Err(error) = fs::write(&file, json) {
            eprintln!("kaos-bench: cannot write {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
