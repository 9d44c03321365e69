//! `cargo xtask bench`: builds the release and hands over to `tests/src/bin/kaos-bench.rs`.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{command, paths, setup, toolchain};

/// `cargo xtask bench`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// `[overhead|flood|replay|semantics|causality|start] [--json FILE] [--quick] [--tls]`; all
    /// benchmarks, where none is named. `overhead --tls`: TLS beside plain text.
    /// `operator` alone: the operator with 500 resources on a real API server.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Sets up, builds and runs the benchmarks.
///
/// # Errors
/// The build fails, or root cannot be had.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options
        .arguments
        .first()
        .is_some_and(|name| name == "operator")
    {
        return operator();
    }
    setup::ensure()?;
    command::run(&mut toolchain::cargo(&[
        "build",
        "--release",
        "--package=kaos-agent",
        "--package=kaos-tests",
        "--bin=kaos-agent",
        "--bin=kaos-bench",
    ])?)?;
    let Some(prefix) = setup::root_prefix() else {
        bail!("the agent needs root; type: sudo -E cargo xtask bench");
    };
    // `env` carries the variables through a sudo that clears the environment.
    let mut words = prefix.iter().copied().chain(["env"]);
    let mut bench = Command::new(words.next().context("an empty command line")?);
    bench.args(words);
    bench.args(setup::variables()?);
    bench.arg(paths::target().join("release/kaos-bench"));
    bench.args(&options.arguments);
    let status = bench
        .status()
        .with_context(|| format!("cannot start {}", command::line(&bench)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The test of the cluster tier that measures, with the release of the operator.
fn operator() -> Result<ExitCode> {
    if !setup::cluster_is_there()? {
        bail!("there is no control plane; type: cargo xtask setup --cluster");
    }
    command::run(&mut toolchain::cargo(&[
        "build",
        "--release",
        "--package=kaos-operator",
    ])?)?;
    let mut bench = toolchain::cargo(&["test", "--package=kaos-operator", "--test=cluster"])?;
    bench.env(
        "KAOS_OPERATOR",
        paths::target().join("release/kaos-operator"),
    );
    command::run(bench.args(["--", "--ignored", "--nocapture", "scale::"]))?;
    Ok(ExitCode::SUCCESS)
}
