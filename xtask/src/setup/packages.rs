//! Packages of the distribution.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::machine::Machine;
use super::root::Words;
use crate::{command, paths};

/// How we see that a package is there, whoever installed it.
enum Probe {
    /// A program in `PATH`.
    Program(&'static str),
    /// A file. `{llvm}` stands for the compiler's LLVM.
    File(&'static str),
    /// A module of `python3`.
    PythonModule(&'static str),
}

/// A package of Debian. `{llvm}` in names stands for the compiler's LLVM.
struct Package {
    name: &'static str,
    probe: Probe,
}

const PACKAGES: &[Package] = &[
    // The linker of Rust programs, and the C compiler of some dependencies' build scripts.
    Package {
        name: "build-essential",
        probe: Probe::Program("cc"),
    },
    // The C compiler of the same build scripts, where it is checked that all builds for aarch64.
    Package {
        name: "gcc-aarch64-linux-gnu",
        probe: Probe::Program("aarch64-linux-gnu-gcc"),
    },
    Package {
        name: "libc6-dev-arm64-cross",
        probe: Probe::File("/usr/aarch64-linux-gnu/include/stdio.h"),
    },
    // bpf-linker is built against it.
    Package {
        name: "llvm-{llvm}-dev",
        probe: Probe::File("/usr/lib/llvm-{llvm}/bin/llvm-config"),
    },
    // Runs most workloads, from an environment of their own.
    Package {
        name: "python3",
        probe: Probe::Program("python3"),
    },
    Package {
        name: "python3-venv",
        probe: Probe::PythonModule("ensurepip"),
    },
    // Workloads.
    Package {
        name: "libssl-dev",
        probe: Probe::File("/usr/include/openssl/ssl.h"),
    },
    Package {
        name: "curl",
        probe: Probe::Program("curl"),
    },
    // Which authorities images trust.
    Package {
        name: "ca-certificates",
        probe: Probe::File("/etc/ssl/certs/ca-certificates.crt"),
    },
    Package {
        name: "golang-go",
        probe: Probe::Program("go"),
    },
    Package {
        name: "nginx-light",
        probe: Probe::Program("nginx"),
    },
    Package {
        name: "nodejs",
        probe: Probe::Program("node"),
    },
    // Network namespaces with addresses that are translated, as pods have them.
    Package {
        name: "iproute2",
        probe: Probe::Program("ip"),
    },
    Package {
        name: "iptables",
        probe: Probe::File("/usr/sbin/iptables"),
    },
    // The load generator of the benchmarks.
    Package {
        name: "wrk",
        probe: Probe::Program("wrk"),
    },
];

/// What `tests/cluster/start.sh` makes a Kubernetes node of, beside what is built from source.
const NODE_PACKAGES: &[Package] = &[
    Package {
        name: "containerd",
        probe: Probe::File("/usr/bin/containerd"),
    },
    Package {
        name: "runc",
        probe: Probe::File("/usr/sbin/runc"),
    },
    Package {
        name: "containernetworking-plugins",
        probe: Probe::File("/usr/lib/cni/bridge"),
    },
    Package {
        name: "conntrack",
        probe: Probe::File("/usr/sbin/conntrack"),
    },
    Package {
        name: "openssl",
        probe: Probe::Program("openssl"),
    },
];

/// What `tests/cluster/kind` needs beside what is built from source.
const KIND_PACKAGES: &[Package] = &[
    Package {
        name: "docker.io",
        probe: Probe::Program("dockerd"),
    },
    // The image of a node.
    Package {
        name: "debootstrap",
        probe: Probe::File("/usr/sbin/debootstrap"),
    },
];

/// Packages whose installation starts services that nobody asked for, where systemd runs: a web server
/// on port 80, and a Docker with a bridge and rules of its own. The tests start their own.
const STARTING: &[(&str, &[&str])] = &[
    ("nginx-light", &["nginx"]),
    ("docker.io", &["docker.service", "docker.socket"]),
];

/// Names of the packages that are not there.
pub fn missing(machine: &Machine) -> Vec<String> {
    missing_of(PACKAGES, machine)
}

/// Names of the packages that a Kubernetes node needs and that are not there.
pub fn missing_of_node(machine: &Machine) -> Vec<String> {
    missing_of(NODE_PACKAGES, machine)
}

/// Names of the packages that kind needs and that are not there.
pub fn missing_of_kind(machine: &Machine) -> Vec<String> {
    missing_of(KIND_PACKAGES, machine)
}

fn missing_of(packages: &[Package], machine: &Machine) -> Vec<String> {
    packages
        .iter()
        .filter(|package| !is_there(&package.probe, &machine.llvm))
        .map(|package| for_llvm(package.name, &machine.llvm))
        .collect()
}

/// What root must run to install them.
///
/// # Errors
/// The distribution's packages are not known to us.
pub fn install(machine: &Machine, missing: &[String]) -> Result<Vec<Words>> {
    if !machine.debian {
        bail!(
            "install them with the package manager of this distribution (the names are Debian's)"
        );
    }
    let install = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
    ]
    .into_iter()
    .chain(["--yes", "--no-install-recommends"])
    .chain(missing.iter().map(String::as_str));
    let mut lines = vec![words(["apt-get", "update"]), words(install)];
    if Path::new("/run/systemd/system").exists() {
        let started = STARTING
            .iter()
            .filter(|(name, _)| missing.iter().any(|it| it == name));
        for (_, services) in started {
            let stop = ["systemctl", "disable", "--now"].into_iter();
            lines.push(words(stop.chain(services.iter().copied())));
        }
    }
    Ok(lines)
}

fn is_there(probe: &Probe, llvm: &str) -> bool {
    match probe {
        Probe::Program(name) => paths::find_command(name).is_some(),
        Probe::File(path) => Path::new(&for_llvm(path, llvm)).exists(),
        Probe::PythonModule(name) => {
            command::succeeds(Command::new("python3").args(["-c", &format!("import {name}")]))
        }
    }
}

fn for_llvm(name: &str, llvm: &str) -> String {
    name.replace("{llvm}", llvm)
}

fn words<'a>(line: impl IntoIterator<Item = &'a str>) -> Words {
    line.into_iter().map(str::to_owned).collect()
}
