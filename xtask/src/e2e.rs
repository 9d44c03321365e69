//! `cargo xtask e2e`: the chart on a real single-node Kubernetes (`tests/cluster/e2e.py`).

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{command, images, paths, setup};

/// `cargo xtask e2e`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Leave the cluster running afterwards: `tests/cluster/in.sh kubectl …`, `tests/cluster/stop.sh`.
    #[arg(long)]
    keep: bool,
}

/// Its name among the tests.
pub const NAME: &str = "e2e";

/// Builds, makes the images and runs the test.
///
/// # Errors
/// It is not root who asks, something that `setup` brings is missing, or a build fails.
pub fn run(options: &Options) -> Result<ExitCode> {
    if let Some(reason) = why_not()? {
        bail!("{reason}");
    }
    Ok(if passes(options.keep)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The same, where [`why_not`] has no reason.
///
/// # Errors
/// A build fails, or an image cannot be made.
pub fn passes(keep: bool) -> Result<bool> {
    let script = |name: &str| paths::root().join("tests/cluster").join(name);
    let mut archives: Vec<_> = images::make("e2e", true)?
        .into_iter()
        .map(|(_, archive)| archive)
        .collect();
    let python = setup::python()?.context("the Python environment is missing")?;
    let workloads = paths::target().join("images/workloads.tar");
    command::run(
        Command::new(script("workloads.sh"))
            .arg(&workloads)
            .arg(python),
    )?;
    archives.push(workloads);
    let mut test = Command::new("python3");
    test.arg("-B").arg(script("e2e.py")).args(archives);
    if keep {
        test.env("KAOS_KEEP_CLUSTER", "1");
    }
    let status = test
        .status()
        .with_context(|| format!("cannot start {}", command::line(&test)))?;
    Ok(status.success())
}

/// What keeps this test from running here.
///
/// # Errors
/// No home directory.
pub fn why_not() -> Result<Option<&'static str>> {
    Ok(if !setup::is_root() {
        Some("a Kubernetes node needs root; type: sudo -E cargo xtask e2e")
    } else if !setup::node_is_there()? {
        Some("no Kubernetes node can be started here; type: cargo xtask setup --node")
    } else {
        None
    })
}
