//! `cargo xtask test`: all tests that this machine can run, tier by tier.
//!
//! What cannot run is skipped aloud with its reason, and counted.

pub mod summary;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use self::summary::Summary;
use crate::{command, e2e, fuzz, paths, setup, toolchain, vm};

/// `cargo xtask test`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Take the time to try sixteen times as many cases in property tests, the chart on kind, and
    /// other kernels.
    #[arg(long)]
    all: bool,
    /// Run only tests whose name contains this.
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
}

/// Cases of each property test with `--all`; proptest's own default is 256.
const MANY_CASES: &str = "4096";

/// Runs the tiers and ends with a line `N passed, N failed, N skipped`.
///
/// # Errors
/// Cargo cannot be started. Failing tests are no error of ours: they make the exit code.
pub fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure()?;
    let mut summary = Summary::default();

    println!("test: plain tier (unit, property and golden tests)");
    let skips = Skips::new()?;
    let mut plain = toolchain::cargo(&["test", "--workspace", "--no-fail-fast"])?;
    plain.env(Skips::VARIABLE, &skips.file);
    if options.all {
        plain.env("PROPTEST_CASES", MANY_CASES);
    }
    plain.arg("--").arg("--format=pretty").args(&options.filter);
    run_tests(&mut plain, &mut summary)?;
    skips.count(&mut summary)?;

    println!("test: fuzz tier (every parser under libFuzzer)");
    fuzz_tier(options, &mut summary);

    match why_no_kernel_tier() {
        None => {
            println!("test: kernel tier (real workloads, the agent attached to this kernel)");
            kernel_tier(options, &mut summary)?;
        }
        Some(reason) => {
            println!("test: kernel tier skipped: {reason}");
            summary.skip_kernel_tier();
        }
    }

    if setup::cluster_is_there()? {
        println!("test: cluster tier (the operator on a real API server)");
        run_tier(&options.filter, &mut summary, || {
            let package = ["test", "--package=kaos-operator", "--test=cluster"];
            let mut cluster = toolchain::cargo(&package)?;
            // Serially: each test has a control plane of its own.
            cluster.args(["--", "--format=pretty", "--ignored", "--test-threads=1"]);
            Ok(cluster)
        })?;
    } else {
        println!("test: cluster tier skipped: no control plane; type: cargo xtask setup --cluster");
        summary.skip_cluster_tier();
    }

    for cluster in e2e::Cluster::ALL {
        node_tier(options, cluster, &mut summary)?;
    }

    vm_tier(options, &mut summary)?;

    summary.report();
    Ok(summary.exit_code())
}

/// Installs the chart on a real cluster, as one test.
fn node_tier(options: &Options, cluster: e2e::Cluster, summary: &mut Summary) -> Result<()> {
    let test = cluster.test();
    let is_wanted = |filter: &String| test.contains(filter.as_str());
    if !options.filter.as_ref().is_none_or(is_wanted) {
        return Ok(());
    }
    let reason = match cluster {
        e2e::Cluster::Kind if !options.all => {
            Some(format!("it takes minutes; type: cargo xtask {test}"))
        }
        _ => e2e::why_not(cluster)?.map(str::to_owned),
    };
    if let Some(reason) = reason {
        println!("test: node tier: {test} skipped: {reason}");
        summary.skip(test, &reason);
        return Ok(());
    }
    println!("test: node tier: {test} (the chart on a real Kubernetes node)");
    with_second_try(summary, |_, summary| {
        let is_passed = e2e::passes(cluster, false)?;
        let outcome = if is_passed { "ok" } else { "FAILED" };
        summary.read(&format!("test {test} ... {outcome}"));
        Ok(())
    })
}

/// Runs tests of the kernel tier on other kernels, each as a test `vm::KERNEL::TEST`.
fn vm_tier(options: &Options, summary: &mut Summary) -> Result<()> {
    let reason = match options.all {
        true => vm::why_not()?.map(str::to_owned),
        false => Some("it takes minutes; type: cargo xtask vm".to_owned()),
    };
    if let Some(reason) = reason {
        println!("test: VM tier skipped: {reason}");
        summary.skip("vm", &reason);
        return Ok(());
    }
    println!("test: VM tier (the agent on other kernels, emulated)");
    vm::pass(&[], summary)
}

/// How long each target runs.
const FUZZ_SECONDS: u32 = 60;

/// Runs the fuzz targets, each as a test `fuzz::TARGET`.
fn fuzz_tier(options: &Options, summary: &mut Summary) {
    let is_wanted = |target: &str| match &options.filter {
        // Only where it is asked for: it takes a build of its own.
        Some(filter) => filter.starts_with("fuzz") && format!("fuzz::{target}").contains(filter),
        None => true,
    };
    match fuzz::outcomes(FUZZ_SECONDS, is_wanted) {
        Ok(outcomes) => {
            for outcome in outcomes {
                let became = if outcome.found_nothing {
                    "ok"
                } else {
                    "FAILED"
                };
                summary.read(&format!("test fuzz::{} ... {became}", outcome.target));
            }
        }
        Err(error) => {
            println!("test: the fuzz targets did not run: {error:#}");
            summary.fail_without_report();
        }
    }
}

/// What keeps the kernel tier from running here.
fn why_no_kernel_tier() -> Option<&'static str> {
    if !setup::is_root() {
        return Some("it needs root; type: sudo -E cargo xtask test");
    }
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF (/sys/kernel/btf/vmlinux)");
    }
    None
}

fn kernel_tier(options: &Options, summary: &mut Summary) -> Result<()> {
    toolchain::build_programs()?;
    let skips = Skips::new()?;
    run_tier(&options.filter, summary, || {
        let mut kernel =
            toolchain::cargo(&["test", "--workspace", "--exclude=kaos-operator", "--tests"])?;
        for variable in setup::variables()? {
            if let Some((name, value)) = variable.split_once('=') {
                kernel.env(name, value);
            }
        }
        kernel.env(Skips::VARIABLE, &skips.file);
        // Serially: each test attaches to the whole kernel and loads the machine.
        kernel.args([
            "--no-fail-fast",
            "--",
            "--format=pretty",
            "--ignored",
            "--test-threads=1",
        ]);
        Ok(kernel)
    })?;
    skips.count(summary)
}

/// Where tests of a tier say that they cannot run here.
struct Skips {
    file: PathBuf,
}

impl Skips {
    /// What names the file to them.
    const VARIABLE: &str = "KAOS_TEST_SKIPS";

    fn new() -> Result<Self> {
        let file = paths::target().join("skipped-tests");
        std::fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self { file })
    }

    fn count(&self, summary: &mut Summary) -> Result<()> {
        let skipped = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        skipped
            .lines()
            .for_each(|line| summary.skipped_itself(line));
        Ok(())
    }
}

/// Failed tests of a tier that are tried again: more than a few are no accident.
const MOST_RETRIED: usize = 3;

/// Runs a tier's tests: all that the filter lets through, and those that failed once more by
/// themselves.
fn run_tier(
    filter: &Option<String>,
    summary: &mut Summary,
    tests: impl Fn() -> Result<Command>,
) -> Result<()> {
    with_second_try(summary, |failed, summary| {
        let mut tests = tests()?;
        match failed {
            [] => tests.args(filter),
            failed => tests.arg("--exact").args(failed),
        };
        run_tests(&mut tests, summary)
    })
}

/// Runs tests that depend on the timing of real processes on a shared machine: first all, named by
/// nothing, then those that failed. One that passes then is told as flaky. What found something wrong does
/// not run again: it would be no less wrong.
fn with_second_try(
    summary: &mut Summary,
    run: impl Fn(&[String], &mut Summary) -> Result<()>,
) -> Result<()> {
    let before = summary.failed();
    run(&[], summary)?;
    let failed = summary.failed_by_chance_since(before);
    if (1..=MOST_RETRIED).contains(&failed.len()) {
        println!("test: once more, by themselves: {}", failed.join(" "));
        let mut again = Summary::default();
        run(&failed, &mut again)?;
        summary.tried_again(&again);
    }
    Ok(())
}

/// Runs a `cargo test`, shows what it says, and counts.
fn run_tests(tests: &mut Command, summary: &mut Summary) -> Result<()> {
    let mut child = tests
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command::line(tests)))?;
    let stdout = child.stdout.take().context("the tests have no stdout")?;
    let failed_before = summary.failed();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("the tests wrote no UTF-8")?;
        println!("{line}");
        summary.read(&line);
    }
    if !child.wait()?.success() && summary.failed() == failed_before {
        // It did not build, or a test binary died before it could say so.
        summary.fail_without_report();
    }
    Ok(())
}
