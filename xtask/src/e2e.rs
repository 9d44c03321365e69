//! `cargo xtask e2e`: the chart on a real single-node Kubernetes (`tests/cluster/e2e.py`), or on kind.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{command, images, paths, setup};

/// `cargo xtask e2e`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// On a cluster of kind: the machine's own where there is one, else one that `cargo xtask setup
    /// --kind` brings.
    #[arg(long)]
    kind: bool,
    /// Leave the cluster running afterwards: `tests/cluster/in.sh kubectl …`, `tests/cluster/stop.sh`
    /// (or those in `tests/cluster/kind`).
    #[arg(long)]
    keep: bool,
}

/// What it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// The programs of Kubernetes, started one by one.
    Node,
    /// `kind create cluster`.
    Kind,
}

impl Cluster {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Node, Self::Kind];

    /// Name of the test among the tests.
    pub fn test(self) -> &'static str {
        match self {
            Self::Node => "e2e",
            Self::Kind => "e2e --kind",
        }
    }
}

/// Builds, makes the images and runs the test.
///
/// # Errors
/// It is not root who asks, something that `setup` brings is missing, or a build fails.
pub fn run(options: &Options) -> Result<ExitCode> {
    let cluster = match options.kind {
        true => Cluster::Kind,
        false => Cluster::Node,
    };
    if let Some(reason) = why_not(cluster)? {
        bail!("{reason}");
    }
    Ok(if passes(cluster, options.keep)? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The same, where [`why_not`] has no reason.
///
/// # Errors
/// A build fails, or an image cannot be made.
pub fn passes(cluster: Cluster, keep: bool) -> Result<bool> {
    let script = |name: &str| paths::root().join("tests/cluster").join(name);
    let mut archives: Vec<_> = images::make("1", true)?
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
    if cluster == Cluster::Kind {
        test.env("KAOS_CLUSTER", "kind");
    }
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
pub fn why_not(cluster: Cluster) -> Result<Option<&'static str>> {
    if !setup::is_root() {
        return Ok(Some(
            "a Kubernetes node needs root; type: sudo -E cargo xtask e2e",
        ));
    }
    Ok(match cluster {
        Cluster::Node if !setup::node_is_there()? => {
            Some("no Kubernetes node can be started here; type: cargo xtask setup --node")
        }
        Cluster::Kind if !setup::kind_is_there()? => {
            Some("there is no kind here; type: cargo xtask setup --kind")
        }
        _ => None,
    })
}
