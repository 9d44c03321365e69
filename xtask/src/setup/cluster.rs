//! `cargo xtask setup --cluster`: a Kubernetes control plane and helm for the operator's tests, and
//! with `--node` what makes a whole node of it for `cargo xtask e2e`; built from their Go modules,
//! since those need no registry of images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::machine::Machine;
use super::packages;
use super::root::quietly;
use super::steps::{Action, Step};
use crate::{command, paths};

const KUBERNETES: &str = "1.36.3";
const ETCD: &str = "3.6.8";
const HELM: &str = "4.3.1";
/// The language version that the modules around them declare.
const GO: &str = "1.26.0";
const COREDNS: &str = "1.14.7";
/// What is built of Kubernetes for a control plane.
const PROGRAMS: &[&str] = &["kube-apiserver", "kube-controller-manager"];
/// And for a node.
const NODE_PROGRAMS: &[&str] = &["kube-scheduler", "kubelet", "kube-proxy", "kubectl"];
/// What keeps the namespaces of a pod open: a program that waits for ever.
const PAUSE: &str =
    "package main\n\nimport \"syscall\"\n\nfunc main() {\n\tfor {\n\t\tsyscall.Pause()\n\t}\n}\n";

/// The steps. The first takes minutes.
pub const STEPS: &[Step] = &[
    Step {
        name: "kubernetes",
        what: "kube-apiserver, kube-controller-manager",
        missing: |machine| absent(kubernetes_programs(&machine.cache, PROGRAMS)),
        action: Action::User(|machine| build_kubernetes(machine, PROGRAMS)),
    },
    Step {
        name: "etcd",
        what: "the store of the API server",
        missing: |machine| absent([etcd(&machine.cache)]),
        action: Action::User(|machine| {
            let package = "go.etcd.io/etcd/server/v3";
            build_module(machine, package, ETCD, &[package], &etcd(&machine.cache))
        }),
    },
    Step {
        name: "helm",
        what: "installs the chart",
        missing: |machine| absent([helm(&machine.cache)]),
        action: Action::User(|machine| {
            install(
                machine,
                "helm.sh/helm/v4/cmd/helm",
                HELM,
                &helm(&machine.cache),
            )
        }),
    },
];

/// What a node needs beside them. The first two take minutes.
pub const NODE_STEPS: &[Step] = &[
    Step {
        name: "kubelet",
        what: "kubelet, kube-proxy, kube-scheduler, kubectl",
        missing: |machine| absent(kubernetes_programs(&machine.cache, NODE_PROGRAMS)),
        action: Action::User(|machine| build_kubernetes(machine, NODE_PROGRAMS)),
    },
    Step {
        name: "coredns",
        what: "resolves the names of Services",
        missing: |machine| absent([coredns(&machine.cache)]),
        action: Action::User(|machine| {
            let package = "github.com/coredns/coredns";
            let program = coredns(&machine.cache);
            build_module(machine, package, COREDNS, &[package], &program)
        }),
    },
    Step {
        name: "pause image",
        what: "keeps the namespaces of a pod",
        missing: |machine| absent([pause(&machine.cache)]),
        action: Action::User(build_pause),
    },
    Step {
        name: "node packages",
        what: "containerd, runc, CNI plugins, iptables",
        missing: packages::missing_of_node,
        action: Action::Root(packages::install),
    },
];

/// Whether a control plane and helm are there.
///
/// # Errors
/// No home directory.
pub fn is_there() -> Result<bool> {
    let cache = paths::cache()?;
    let programs = kubernetes_programs(&cache, PROGRAMS);
    let all = programs.into_iter().chain([etcd(&cache), helm(&cache)]);
    Ok(absent(all).is_empty())
}

/// Whether a whole node can be started.
///
/// # Errors
/// No `rustc`, or no home directory.
pub fn node_is_there() -> Result<bool> {
    let machine = Machine::look()?;
    let steps = STEPS.iter().chain(NODE_STEPS);
    Ok(steps
        .map(|step| (step.missing)(&machine))
        .all(|missing| missing.is_empty()))
}

pub fn kubernetes_programs(cache: &Path, programs: &[&str]) -> Vec<PathBuf> {
    let directory = kubernetes(cache);
    programs
        .iter()
        .map(|program| directory.join(program))
        .collect()
}

fn coredns(cache: &Path) -> PathBuf {
    cache.join(format!("coredns-{COREDNS}/coredns"))
}

fn pause(cache: &Path) -> PathBuf {
    cache.join("pause-1.tar")
}

fn kubernetes(cache: &Path) -> PathBuf {
    cache.join(format!("kubernetes-{KUBERNETES}"))
}

fn etcd(cache: &Path) -> PathBuf {
    cache.join(format!("etcd-{ETCD}/etcd"))
}

fn helm(cache: &Path) -> PathBuf {
    cache.join(format!("helm-{HELM}/helm"))
}

pub fn absent(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
    paths
        .into_iter()
        .filter(|path| !path.exists())
        .map(|path| path.display().to_string())
        .collect()
}

/// `go mod download -json`, as far as we read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    dir: PathBuf,
}

pub fn build_kubernetes(machine: &Machine, programs: &[&str]) -> Result<()> {
    let module = "k8s.io/kubernetes";
    let work = work_directory(machine, "kubernetes")?;
    let requirement = format!("module build\n\ngo {GO}\n\nrequire {module} v{KUBERNETES}\n");
    write(&work, "go.mod", &requirement)?;
    let download = format!("{module}@v{KUBERNETES}");
    let text = command::output(go(&work).args(["mod", "download", "-json", &download]))?;
    let download: Download = serde_json::from_str(&text).context("go says no JSON")?;
    let theirs = fs::read_to_string(download.dir.join("go.mod"))
        .context("the module of Kubernetes has no go.mod")?;
    write(&work, "go.mod", &(requirement + &replacements(&theirs)))?;
    let packages: Vec<String> = programs
        .iter()
        .map(|program| format!("{module}/cmd/{program}"))
        .collect();
    import(&work, &packages)?;
    // Without a version of its own, an API server refuses to start.
    let (major_minor, _) = KUBERNETES.rsplit_once('.').context("an odd version")?;
    let (major, minor) = major_minor.split_once('.').context("an odd version")?;
    let version = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    );
    // A single program goes into a directory that is there, else into a file of its name.
    fs::create_dir_all(kubernetes(&machine.cache))?;
    build(&work, &kubernetes(&machine.cache), &flags, &packages)?;
    remove(&work)
}

/// Kubernetes replaces its own parts by folders that the module's archive lacks; they are
/// published as v0 with the same minor version.
fn replacements(go_mod: &str) -> String {
    let (_, version) = KUBERNETES.split_once('.').unwrap_or_default();
    let parts = go_mod
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"));
    let lines = parts.map(|(part, _)| format!("\t{part} => {part} v0.{version}\n"));
    format!("\nreplace (\n{})\n", lines.collect::<String>())
}

/// Builds programs of a module that `go install` refuses: one into a file, several into a directory.
pub fn build_module(
    machine: &Machine,
    module: &str,
    version: &str,
    packages: &[&str],
    output: &Path,
) -> Result<()> {
    let work = work_directory(machine, &module.replace('/', "-"))?;
    let requirement = format!("module build\n\ngo {GO}\n\nrequire {module} v{version}\n");
    write(&work, "go.mod", &requirement)?;
    let packages: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
    import(&work, &packages)?;
    // What is there is whole.
    let made = work.join("made");
    build(&work, &made, "-s -w", &packages)?;
    let directory = output.parent().context("a program has a directory")?;
    fs::create_dir_all(directory)?;
    fs::rename(&made, output).with_context(|| format!("cannot make {}", output.display()))?;
    remove(&work)
}

fn build_pause(machine: &Machine) -> Result<()> {
    let work = work_directory(machine, "pause")?;
    write(&work, "go.mod", &format!("module pause\n\ngo {GO}\n"))?;
    write(&work, "main.go", PAUSE)?;
    build(&work, &work.join("root/pause"), "-s -w", &[".".to_owned()])?;
    quietly(
        Command::new(paths::root().join("tests/cluster/image.sh"))
            .arg(pause(&machine.cache))
            .arg(work.join("root"))
            .arg(r#"localhost/pause:1={"Entrypoint":["/pause"]}"#),
    )?;
    remove(&work)
}

/// Builds a program that `go install` takes.
pub fn install(machine: &Machine, package: &str, version: &str, program: &Path) -> Result<()> {
    let work = work_directory(machine, &package.replace('/', "-"))?;
    let directory = program.parent().context("a program has a directory")?;
    let package = format!("{package}@v{version}");
    quietly(
        go(&work)
            .args(["install", "-trimpath", "-ldflags=-s -w", &package])
            .env("GOBIN", directory),
    )?;
    remove(&work)
}

/// Imports the packages from a file that is never built, so that `go mod tidy` keeps them.
fn import(work: &Path, packages: &[String]) -> Result<()> {
    let imports: String = packages
        .iter()
        .map(|package| format!("import _ {package:?}\n"))
        .collect();
    write(
        work,
        "tools.go",
        &format!("//go:build tools\n\npackage build\n\n{imports}"),
    )?;
    quietly(go(work).args(["mod", "tidy"]))
}

/// Builds into a directory, or, of a single package, into a file.
fn build(work: &Path, output: &Path, flags: &str, packages: &[String]) -> Result<()> {
    let output = if packages.len() > 1 {
        format!("{}/", output.display())
    } else {
        output.display().to_string()
    };
    quietly(
        go(work)
            .args(["build", "-ldflags", flags, "-o", &output])
            .args(packages),
    )
}

fn go(work: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(work).env("CGO_ENABLED", "0");
    go
}

fn work_directory(machine: &Machine, name: &str) -> Result<PathBuf> {
    let work = machine.cache.join(format!("build-{name}"));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    Ok(work)
}

fn remove(work: &Path) -> Result<()> {
    fs::remove_dir_all(work).with_context(|| format!("cannot remove {}", work.display()))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_replaced_by_published_versions() {
        let theirs = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tx => y v1\n)\n";
        assert_eq!(
            replacements(theirs),
            "\nreplace (\n\tk8s.io/api => k8s.io/api v0.36.3\n)\n"
        );
    }
}
