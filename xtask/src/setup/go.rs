//! Programs of Go modules, built into the cache: what has no package in the distribution, and is
//! otherwise downloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::machine::Machine;
use super::root::quietly;
use crate::command;

/// The language version that the modules around them declare.
const LANGUAGE: &str = "1.26.0";
/// The module that replaces its own parts by folders which its archive lacks, and whose programs must
/// be told their version.
const KUBERNETES: &str = "k8s.io/kubernetes";

/// Programs of one module.
pub struct Programs {
    /// Its path.
    pub module: &'static str,
    /// Its version, without the `v`.
    pub version: &'static str,
    /// They are kept in a folder of the cache of this name, with the version behind it.
    pub folder: &'static str,
    /// Each program with its package, below the module.
    pub programs: &'static [(&'static str, &'static str)],
}

impl Programs {
    /// Where they are, or will be.
    pub fn paths(&self, cache: &Path) -> impl Iterator<Item = PathBuf> {
        let folder = self.folder(cache);
        let names = self.programs.iter().map(|(name, _)| name);
        names.map(move |name| folder.join(name))
    }

    /// Those that are not there.
    pub fn missing(&self, cache: &Path) -> Vec<String> {
        absent(self.paths(cache))
    }

    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(format!("{}-{}", self.folder, self.version))
    }

    /// Builds them.
    ///
    /// # Errors
    /// The module is not to be had, or does not build.
    pub fn build(&self, machine: &Machine) -> Result<()> {
        let Self {
            module,
            version,
            folder,
            programs,
        } = self;
        let work = work_folder(&machine.cache, folder)?;
        let mut go_mod = format!("module build\n\ngo {LANGUAGE}\n\nrequire {module} v{version}\n");
        let mut flags = "-s -w".to_owned();
        write(&work, "go.mod", &go_mod)?;
        if *module == KUBERNETES {
            let download = format!("{module}@v{version}");
            let text = command::output(go(&work).args(["mod", "download", "-json", &download]))?;
            let download: Download = serde_json::from_str(&text).context("go says no JSON")?;
            let theirs = fs::read_to_string(download.dir.join("go.mod"))
                .context("the module of Kubernetes has no go.mod")?;
            go_mod += &replacements(&theirs, version);
            write(&work, "go.mod", &go_mod)?;
            flags += &version_flags(version)?;
        }
        let packages: Vec<String> = programs
            .iter()
            .map(|(_, package)| format!("{module}{package}"))
            .collect();
        // A file that is never built imports them, so that `go mod tidy` keeps them.
        let imports: String = packages
            .iter()
            .map(|package| format!("import _ {package:?}\n"))
            .collect();
        let imports = format!("//go:build tools\n\npackage build\n\n{imports}");
        write(&work, "tools.go", &imports)?;
        quietly(go(&work).args(["mod", "tidy"]))?;
        fs::create_dir_all(self.folder(&machine.cache))?;
        for (package, program) in packages.iter().zip(self.paths(&machine.cache)) {
            let made = work.join("made");
            compile(&work, &made, &flags, package)?;
            // What is there is whole.
            fs::rename(&made, &program)
                .with_context(|| format!("cannot make {}", program.display()))?;
        }
        remove(&work)
    }
}

/// Builds a program without dependencies from its source.
pub fn build_source(work: &Path, source: &str, program: &Path) -> Result<()> {
    write(work, "go.mod", &format!("module build\n\ngo {LANGUAGE}\n"))?;
    write(work, "main.go", source)?;
    compile(work, program, "-s -w", ".")
}

/// Those of these files that are not there.
pub fn absent(paths: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
    paths
        .into_iter()
        .filter(|path| !path.exists())
        .map(|path| path.display().to_string())
        .collect()
}

/// A folder to build something in.
pub fn work_folder(cache: &Path, name: &str) -> Result<PathBuf> {
    let work = cache.join(format!("build-{name}"));
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    Ok(work)
}

/// Removes it.
pub fn remove(work: &Path) -> Result<()> {
    fs::remove_dir_all(work).with_context(|| format!("cannot remove {}", work.display()))
}

/// `go mod download -json`, as far as we read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    dir: PathBuf,
}

/// Kubernetes' own parts are published as v0 with the same minor version.
fn replacements(go_mod: &str, version: &str) -> String {
    let (_, version) = version.split_once('.').unwrap_or_default();
    let parts = go_mod
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"));
    let lines = parts.map(|(part, _)| format!("\t{part} => {part} v0.{version}\n"));
    format!("\nreplace (\n{})\n", lines.collect::<String>())
}

/// Without a version of its own, an API server refuses to start.
fn version_flags(version: &str) -> Result<String> {
    let mut numbers = version.split('.');
    let (major, minor) = numbers
        .next()
        .zip(numbers.next())
        .context("an odd version")?;
    let at = "k8s.io/component-base/version";
    Ok(format!(
        " -X {at}.gitVersion=v{version} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"
    ))
}

fn compile(work: &Path, program: &Path, flags: &str, package: &str) -> Result<()> {
    quietly(
        go(work)
            .args(["build", "-ldflags", flags, "-o"])
            .arg(program)
            .arg(package),
    )
}

fn go(work: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(work).env("CGO_ENABLED", "0");
    go
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_replaced_by_published_versions() {
        let theirs = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tx => y v1\n)\n";
        assert_eq!(
            replacements(theirs, "1.36.3"),
            "\nreplace (\n\tk8s.io/api => k8s.io/api v0.36.3\n)\n"
        );
    }

    #[test]
    fn programs_are_told_their_version() {
        let at = "k8s.io/component-base/version";
        assert_eq!(
            version_flags("1.36.3").expect("it has both numbers"),
            format!(" -X {at}.gitVersion=v1.36.3 -X {at}.gitMajor=1 -X {at}.gitMinor=36")
        );
    }

    #[test]
    fn programs_are_missing_one_by_one() {
        let programs = Programs {
            module: "example.org/tools",
            version: "1.2.3",
            folder: "tools",
            programs: &[("one", "/cmd/one"), ("two", "")],
        };
        let cache = std::env::temp_dir().join(format!("kaos-xtask-{}", std::process::id()));
        let folder = cache.join("tools-1.2.3");
        fs::create_dir_all(&folder).expect("it can be made");
        fs::write(folder.join("one"), "").expect("it can be written");
        let missing = programs.missing(&cache);
        fs::remove_dir_all(&cache).expect("it is there");
        assert_eq!(missing, [folder.join("two").display().to_string()]);
    }
}
