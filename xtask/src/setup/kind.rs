//! `cargo xtask setup --kind`: what `cargo xtask e2e --kind` needs where there is no kind with a Docker
//! and a network: kind itself, a Docker for it, and the image of its nodes, which is otherwise
//! downloaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::cluster::{NODE_STEPS, STEPS as CLUSTER_STEPS, all_there, kubernetes};
use super::go::{self, Programs};
use super::packages;
use super::steps::{How, Step};
use crate::{command, paths};

/// The steps, after those of a control plane and of a node.
pub const STEPS: &[Step] = &[
    Step {
        name: "kind",
        what: "makes clusters of containers",
        how: How::Go(Programs {
            module: "sigs.k8s.io/kind",
            version: "0.33.0",
            folder: "kind",
            programs: &[("kind", "")],
        }),
    },
    Step {
        name: "kubeadm",
        what: "sets up a node",
        how: How::Go(kubernetes(&[("kubeadm", "/cmd/kubeadm")])),
    },
    Step {
        name: "containerd 2",
        what: "what kind's configuration is written for",
        how: How::Go(Programs {
            module: "github.com/containerd/containerd/v2",
            version: "2.3.7",
            folder: "containerd",
            programs: &[
                ("containerd", "/cmd/containerd"),
                ("containerd-shim-runc-v2", "/cmd/containerd-shim-runc-v2"),
                ("ctr", "/cmd/ctr"),
            ],
        }),
    },
    Step {
        name: "CNI plugins",
        what: "the network of its pods",
        how: How::Go(Programs {
            module: "github.com/containernetworking/plugins",
            version: "1.9.1",
            folder: "cni",
            programs: &[
                ("bridge", "/plugins/main/bridge"),
                ("loopback", "/plugins/main/loopback"),
                ("ptp", "/plugins/main/ptp"),
                ("host-local", "/plugins/ipam/host-local"),
                ("portmap", "/plugins/meta/portmap"),
            ],
        }),
    },
    Step {
        name: "kind packages",
        what: "Docker, debootstrap",
        how: How::Root {
            missing: packages::missing_of_kind,
            bring: packages::install,
        },
    },
    Step {
        name: "node image",
        what: "Debian with systemd and what kubeadm wants",
        how: How::Root {
            missing: |machine| go::absent([image(&machine.cache)]),
            bring: |machine, _| {
                let script = paths::root().join("tests/cluster/kind/image.sh");
                let line = [script, image(&machine.cache)];
                let words = line.map(|word| word.display().to_string());
                Ok(vec![words.to_vec()])
            },
        },
    },
];

/// Whether a cluster of kind can be started: with the machine's own programs, or with ours.
///
/// # Errors
/// No `rustc`, or no home directory.
pub fn kind_is_there() -> Result<bool> {
    if is_installed() {
        return Ok(true);
    }
    all_there(CLUSTER_STEPS.iter().chain(NODE_STEPS).chain(STEPS))
}

/// Whether this machine has what is needed, in use. `tests/cluster/kind/lib.sh` decides likewise.
pub fn is_installed() -> bool {
    let is_built_wanted = std::env::var_os("KAOS_KIND").is_some_and(|value| value == "built");
    let programs = ["kind", "kubectl", "helm"];
    !is_built_wanted
        && programs
            .iter()
            .all(|name| paths::find_command(name).is_some())
        && command::succeeds(Command::new("docker").arg("info"))
}

fn image(cache: &Path) -> PathBuf {
    cache.join("kind-node-1.36.3.tar")
}
