//! `cargo xtask setup --cluster`: a Kubernetes control plane and helm for the operator's tests, and
//! with `--node` what makes a whole node of it for `cargo xtask e2e`; built from their Go modules,
//! since those need no registry of images.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::go::{self, Programs};
use super::machine::Machine;
use super::packages;
use super::root::quietly;
use super::steps::{How, Step};
use crate::paths;

/// What keeps the namespaces of a pod open: a program that waits for ever.
const PAUSE: &str =
    "package main\n\nimport \"syscall\"\n\nfunc main() {\n\tfor {\n\t\tsyscall.Pause()\n\t}\n}\n";

/// Programs of Kubernetes.
pub const fn kubernetes(programs: &'static [(&'static str, &'static str)]) -> Programs {
    Programs {
        module: "k8s.io/kubernetes",
        version: "1.36.3",
        folder: "kubernetes",
        programs,
    }
}

/// The steps. The first takes minutes.
pub const STEPS: &[Step] = &[
    Step {
        name: "kubernetes",
        what: "kube-apiserver, kube-controller-manager",
        how: How::Go(kubernetes(&[
            ("kube-apiserver", "/cmd/kube-apiserver"),
            ("kube-controller-manager", "/cmd/kube-controller-manager"),
        ])),
    },
    Step {
        name: "etcd",
        what: "the store of the API server",
        how: How::Go(Programs {
            module: "go.etcd.io/etcd/server/v3",
            version: "3.6.8",
            folder: "etcd",
            programs: &[("etcd", "")],
        }),
    },
    Step {
        name: "helm",
        what: "installs the chart",
        how: How::Go(Programs {
            module: "helm.sh/helm/v4",
            version: "4.3.1",
            folder: "helm",
            programs: &[("helm", "/cmd/helm")],
        }),
    },
];

/// What a node needs beside them. The first two take minutes.
pub const NODE_STEPS: &[Step] = &[
    Step {
        name: "kubelet",
        what: "kubelet, kube-proxy, kube-scheduler, kubectl",
        how: How::Go(kubernetes(&[
            ("kube-scheduler", "/cmd/kube-scheduler"),
            ("kubelet", "/cmd/kubelet"),
            ("kube-proxy", "/cmd/kube-proxy"),
            ("kubectl", "/cmd/kubectl"),
        ])),
    },
    Step {
        name: "coredns",
        what: "resolves the names of Services",
        how: How::Go(Programs {
            module: "github.com/coredns/coredns",
            version: "1.14.7",
            folder: "coredns",
            programs: &[("coredns", "")],
        }),
    },
    Step {
        name: "pause image",
        what: "keeps the namespaces of a pod",
        how: How::User {
            missing: |machine| go::absent([pause(&machine.cache)]),
            bring: build_pause,
        },
    },
    Step {
        name: "node packages",
        what: "containerd, runc, CNI plugins, iptables",
        how: How::Root {
            missing: packages::missing_of_node,
            bring: packages::install,
        },
    },
];

/// Whether a control plane and helm are there.
///
/// # Errors
/// No `rustc`, or no home directory.
pub fn is_there() -> Result<bool> {
    all_there(STEPS)
}

/// Whether a whole node can be started.
///
/// # Errors
/// No `rustc`, or no home directory.
pub fn node_is_there() -> Result<bool> {
    all_there(STEPS.iter().chain(NODE_STEPS))
}

/// Whether nothing of these steps is missing.
///
/// # Errors
/// No `rustc`, or no home directory.
pub fn all_there(steps: impl IntoIterator<Item = &'static Step>) -> Result<bool> {
    let machine = Machine::look()?;
    let mut missing = steps.into_iter().map(|step| step.missing(&machine));
    Ok(missing.all(|missing| missing.is_empty()))
}

fn pause(cache: &Path) -> PathBuf {
    cache.join("pause-1.tar")
}

fn build_pause(machine: &Machine) -> Result<()> {
    let work = go::work_folder(&machine.cache, "pause")?;
    go::build_source(&work, PAUSE, &work.join("root/pause"))?;
    quietly(
        Command::new(paths::root().join("tests/cluster/image.sh"))
            .arg(pause(&machine.cache))
            .arg(work.join("root"))
            .arg(r#"localhost/pause:1={"Entrypoint":["/pause"]}"#),
    )?;
    go::remove(&work)
}
