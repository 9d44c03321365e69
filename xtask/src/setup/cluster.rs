//! `cargo xtask setup --cluster`: a Kubernetes control plane and helm for the operator's tests,
//! built from their Go modules, since those need no registry of images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::machine::Machine;
use super::root::quietly;
use super::steps::{Action, Step};
use crate::{command, paths};

const KUBERNETES: &str = "1.36.3";
const ETCD: &str = "3.6.8";
const HELM: &str = "4.3.1";
/// The language version that the modules around them declare.
const GO: &str = "1.26.0";
/// What is built of Kubernetes.
const PROGRAMS: [&str; 2] = ["kube-apiserver", "kube-controller-manager"];

/// The steps. The first takes minutes.
pub const STEPS: &[Step] = &[
    Step {
        name: "kubernetes",
        what: "kube-apiserver, kube-controller-manager",
        missing: |machine| {
            let directory = kubernetes(&machine.cache);
            absent(PROGRAMS.map(|program| directory.join(program)))
        },
        action: Action::User(build_kubernetes),
    },
    Step {
        name: "etcd",
        what: "the store of the API server",
        missing: |machine| absent([etcd(&machine.cache)]),
        action: Action::User(build_etcd),
    },
    Step {
        name: "helm",
        what: "installs the chart",
        missing: |machine| absent([helm(&machine.cache)]),
        action: Action::User(build_helm),
    },
];

/// Whether all of it is there.
///
/// # Errors
/// No home directory.
pub fn is_there() -> Result<bool> {
    let cache = paths::cache()?;
    let programs = PROGRAMS.map(|program| kubernetes(&cache).join(program));
    let all = programs.into_iter().chain([etcd(&cache), helm(&cache)]);
    Ok(absent(all).is_empty())
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

fn absent(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
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

fn build_kubernetes(machine: &Machine) -> Result<()> {
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
    let packages = PROGRAMS.map(|program| format!("{module}/cmd/{program}"));
    import(&work, &packages)?;
    // Without a version of its own, an API server refuses to start.
    let (major_minor, _) = KUBERNETES.rsplit_once('.').context("an odd version")?;
    let (major, minor) = major_minor.split_once('.').context("an odd version")?;
    let version = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    );
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

fn build_etcd(machine: &Machine) -> Result<()> {
    let package = "go.etcd.io/etcd/server/v3";
    let work = work_directory(machine, "etcd")?;
    let requirement = format!("module build\n\ngo {GO}\n\nrequire {package} v{ETCD}\n");
    write(&work, "go.mod", &requirement)?;
    import(&work, &[package.to_owned()])?;
    // Named as a file: the package's own name would be `v3`.
    build(&work, &etcd(&machine.cache), "-s -w", &[package.to_owned()])?;
    remove(&work)
}

fn build_helm(machine: &Machine) -> Result<()> {
    let work = work_directory(machine, "helm")?;
    let program = helm(&machine.cache);
    let directory = program.parent().context("helm has a directory")?;
    let package = format!("helm.sh/helm/v4/cmd/helm@v{HELM}");
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
