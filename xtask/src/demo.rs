//! `cargo xtask demo`: builds the agent and the demo, and hands over to `tests/src/bin/kaos-demo.rs`.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{command, paths, setup, toolchain};

/// `cargo xtask demo`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Leave everything running after the requests, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// What to print of what the receiver got.
    #[arg(long, value_name = "FORMAT", default_value = "tree")]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    /// A trace tree to read.
    Tree,
    /// The OTLP requests as JSON, one per line.
    Json,
}

/// Sets up, builds and runs the demo.
///
/// # Errors
/// The build fails, or root cannot be had.
pub fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure()?;
    toolchain::build_programs()?;
    let Some(prefix) = setup::root_prefix() else {
        bail!("the agent needs root to look into the kernel; type: sudo -E cargo xtask demo");
    };
    let program = paths::target().join("debug/kaos-demo");
    // `env` carries the variables through a sudo that clears the environment.
    let mut words = prefix.iter().copied().chain(["env"]);
    let mut demo = Command::new(words.next().context("an empty command line")?);
    demo.args(words);
    demo.args(setup::variables()?);
    demo.arg(program);
    if options.keep {
        demo.arg("--keep");
    }
    if matches!(options.output, Output::Json) {
        demo.arg("--json");
    }
    let status = demo
        .status()
        .with_context(|| format!("cannot start {}", command::line(&demo)))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
