//! `cargo xtask setup --kind`: what `cargo xtask e2e --kind` needs where there is no kind with a Docker
//! and a network: kind itself, a Docker for it, and the image of its nodes, which is otherwise
//! downloaded.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::cluster::{
    NODE_STEPS, STEPS as CLUSTER_STEPS, absent, build_kubernetes, build_module, install,
    kubernetes_programs,
};
use super::machine::Machine;
use super::packages;
use super::steps::{Action, Step};
use crate::{command, paths};

const KIND: &str = "0.33.0";
const CONTAINERD: &str = "2.3.7";
const CNI: &str = "1.9.1";
/// What a node of kind has of Kubernetes beside the programs of any node.
const PROGRAMS: &[&str] = &["kubeadm"];

/// The steps, after those of a control plane and of a node.
pub const STEPS: &[Step] = &[
    Step {
        name: "kind",
        what: "makes clusters of containers",
        missing: |machine| absent([kind(&machine.cache)]),
        action: Action::User(|machine| {
            install(machine, "sigs.k8s.io/kind", KIND, &kind(&machine.cache))
        }),
    },
    Step {
        name: "kubeadm",
        what: "sets up a node",
        missing: |machine| absent(kubernetes_programs(&machine.cache, PROGRAMS)),
        action: Action::User(|machine| build_kubernetes(machine, PROGRAMS)),
    },
    Step {
        name: "containerd 2",
        what: "what kind's configuration is written for",
        missing: |machine| absent([containerd(&machine.cache)]),
        action: Action::User(|machine| {
            let module = "github.com/containerd/containerd/v2";
            let programs = ["containerd", "containerd-shim-runc-v2", "ctr"];
            let packages = programs.map(|program| format!("{module}/cmd/{program}"));
            let packages = packages.each_ref().map(String::as_str);
            build_module(
                machine,
                module,
                CONTAINERD,
                &packages,
                &containerd(&machine.cache),
            )
        }),
    },
    Step {
        name: "CNI plugins",
        what: "the network of its pods",
        missing: |machine| absent([cni(&machine.cache)]),
        action: Action::User(|machine| {
            let module = "github.com/containernetworking/plugins";
            let plugins = [
                "main/bridge",
                "main/loopback",
                "main/ptp",
                "ipam/host-local",
                "meta/portmap",
            ];
            let packages = plugins.map(|plugin| format!("{module}/plugins/{plugin}"));
            let packages = packages.each_ref().map(String::as_str);
            build_module(machine, module, CNI, &packages, &cni(&machine.cache))
        }),
    },
    Step {
        name: "kind packages",
        what: "Docker, debootstrap",
        missing: packages::missing_of_kind,
        action: Action::Root(packages::install),
    },
    Step {
        name: "node image",
        what: "Debian with systemd and what kubeadm wants",
        missing: |machine| absent([image(&machine.cache)]),
        action: Action::Root(|machine, _| {
            let script = paths::root().join("tests/cluster/kind/image.sh");
            let line = [script, image(&machine.cache)];
            let words = line.map(|word| word.display().to_string());
            Ok(vec![words.to_vec()])
        }),
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
    let machine = Machine::look()?;
    let mut steps = CLUSTER_STEPS.iter().chain(NODE_STEPS).chain(STEPS);
    Ok(steps.all(|step| (step.missing)(&machine).is_empty()))
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

fn kind(cache: &Path) -> PathBuf {
    cache.join(format!("kind-{KIND}/kind"))
}

fn containerd(cache: &Path) -> PathBuf {
    cache.join(format!("containerd-{CONTAINERD}"))
}

fn cni(cache: &Path) -> PathBuf {
    cache.join(format!("cni-{CNI}"))
}

fn image(cache: &Path) -> PathBuf {
    cache.join("kind-node-1.36.3.tar")
}
