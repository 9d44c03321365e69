//! `cargo xtask setup --pythons`: interpreters and TLS libraries of other releases of Debian, each in a
//! root file system of its own, for the tests of what caused what and of TLS; and one more with
//! interpreters that are in no archive, built from source.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::root::Words;
use super::steps::{self, How, Step};
use crate::paths;

/// Where they come from.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Made in a root when it is complete.
const COMPLETE: &str = "complete";

/// A release of Debian, and what it is here for.
struct Release {
    name: &'static str,
    packages: &'static str,
    /// What must run in it, so that nothing of it is missing.
    check: &'static str,
}

/// Those whose interpreters are followed. What `causes.py` imports.
const FOLLOWED: [Release; 2] = [followed("trixie"), followed("sid")];

/// The last release with OpenSSL 1.1, whose interpreter is older than what is followed.
const OPENSSL_1_1: Release = Release {
    name: "bullseye",
    packages: "python3 curl",
    check: "curl --version | grep OpenSSL/1.1. && python3 -c 'import ssl'",
};

/// Where interpreters are built from source, for as long as that takes and after.
const FROM_SOURCE: Release = Release {
    name: "trixie",
    packages: "ca-certificates",
    check: include_str!("pythons_from_source.sh"),
};
/// Directory of that root file system: it is not the release as it comes.
const BUILT: &str = "built";
/// Of what is published for musl: not for builds without the global lock.
const MUSL_WHEELS: [&str; 2] = ["uvloop==0.23.0", "httptools==0.9.0"];

const fn followed(name: &'static str) -> Release {
    Release {
        name,
        packages: "python3 python3-uvicorn python3-uvloop python3-httptools python3-h11 \
                   python3-starlette",
        check: "python3 -c 'import uvicorn, uvloop, httptools, h11, starlette'",
    }
}

/// The step. It takes minutes.
pub const STEPS: &[Step] = &[OTHERS, BUILT_HERE];

const OTHERS: Step = Step {
    name: "other pythons",
    what: "Debian's Python 3.13 and 3.14, and OpenSSL 1.1, in root file systems of their own",
    how: How::Root {
        missing: |machine| {
            let roots = releases().map(|release| root(&machine.cache, release));
            let missing = roots.filter(|root| !root.join(COMPLETE).exists());
            missing.map(|root| root.display().to_string()).collect()
        },
        bring: |machine, missing| {
            let is_missing = |release: &&Release| {
                let root = root(&machine.cache, release);
                missing.contains(&root.display().to_string())
            };
            let releases = releases().filter(is_missing);
            let roots = releases.map(|release| (release, root(&machine.cache, release)));
            Ok(roots
                .flat_map(|(release, root)| commands(release, &root.to_string_lossy()))
                .collect())
        },
    },
};

const BUILT_HERE: Step = Step {
    name: "built pythons",
    what: "CPython without the global lock, and CPython and OpenSSL for musl, from source",
    how: How::Root {
        missing: |machine| {
            let complete = directory(&machine.cache, BUILT).join(COMPLETE);
            let missing = (!complete.exists()).then(|| complete.display().to_string());
            missing.into_iter().collect()
        },
        bring: |machine, _| {
            let root = directory(&machine.cache, BUILT);
            let root = root.to_string_lossy();
            let mut commands = commands(&FROM_SOURCE, &root);
            let complete = commands.pop();
            let python = steps::python()?.context("no Python environment, an earlier step")?;
            commands.push(wheels(&python.to_string_lossy(), &root));
            commands.extend(complete);
            Ok(commands)
        },
    },
};

/// Installs wheels for musl beside the interpreter for it.
fn wheels(python: &str, root: &str) -> Words {
    let target = format!("{root}/opt/python-3.13-musl/lib/python3.13/site-packages");
    let platform = format!("musllinux_1_2_{}", std::env::consts::ARCH);
    let options = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--implementation=cp",
        "--python-version=3.13",
        "--abi=cp313",
        "--platform",
        &platform,
        "--target",
        &target,
    ];
    let words = [python].into_iter().chain(options).chain(MUSL_WHEELS);
    words.map(str::to_owned).collect()
}

fn releases() -> impl Iterator<Item = &'static Release> {
    FOLLOWED.iter().chain([&OPENSSL_1_1])
}

/// The root file systems with interpreters that are followed, as far as they are there.
///
/// # Errors
/// No home directory.
pub fn followed_roots() -> Result<Option<PathBuf>> {
    let cache = paths::cache()?;
    let complete: Vec<PathBuf> = FOLLOWED
        .iter()
        .filter_map(|release| complete(&cache, release))
        .collect();
    if complete.is_empty() {
        return Ok(None);
    }
    Ok(Some(std::env::join_paths(complete)?.into()))
}

/// The root file system with interpreters that were built from source, if it is there.
///
/// # Errors
/// No home directory.
pub fn from_source() -> Result<Option<PathBuf>> {
    let root = directory(&paths::cache()?, BUILT);
    Ok(root.join(COMPLETE).exists().then_some(root))
}

/// The root file system with OpenSSL 1.1, if it is there.
///
/// # Errors
/// No home directory.
pub fn with_openssl_1_1() -> Result<Option<PathBuf>> {
    Ok(complete(&paths::cache()?, &OPENSSL_1_1))
}

fn complete(cache: &Path, release: &Release) -> Option<PathBuf> {
    let root = root(cache, release);
    root.join(COMPLETE).exists().then_some(root)
}

fn root(cache: &Path, release: &Release) -> PathBuf {
    directory(cache, release.name)
}

fn directory(cache: &Path, name: &str) -> PathBuf {
    cache.join("pythons").join(name)
}

/// The packages are installed after the base: what debootstrap itself is asked to add it configures in
/// no order. How old the mirror's lists are does not matter here, as for debootstrap; that they are
/// signed does.
fn commands(release: &Release, root: &str) -> Vec<Words> {
    let Release {
        name,
        packages,
        check,
    } = release;
    let inside = format!(
        "apt-get update -qq -o Acquire::Check-Valid-Until=false \
         && apt-get install -qq --no-install-recommends {packages}\n{check}\napt-get clean"
    );
    let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect();
    vec![
        words(&["apt-get", "install", "-qq", "debootstrap"]),
        // An interrupted one is made again.
        words(&["rm", "-rf", root]),
        words(&["debootstrap", "--variant=minbase", name, root, MIRROR]),
        words(&[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "chroot",
            root,
            "sh",
            "-ec",
            &inside,
            name,
            MIRROR,
        ]),
        words(&["touch", &format!("{root}/{COMPLETE}")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_complete_last() {
        let commands = commands(&OPENSSL_1_1, "/cache/pythons/bullseye");
        assert_eq!(commands[1], ["rm", "-rf", "/cache/pythons/bullseye"]);
        assert_eq!(commands[2][2..4], ["bullseye", "/cache/pythons/bullseye"]);
        let last = commands.last().expect("there are some");
        assert_eq!(last[..], ["touch", "/cache/pythons/bullseye/complete"]);
    }

    #[test]
    fn a_script_ends_at_its_first_failure() {
        for release in releases().chain([&FROM_SOURCE]) {
            let commands = commands(release, "/root");
            let inside = &commands[3];
            assert_eq!(inside[2..6], ["chroot", "/root", "sh", "-ec"]);
            assert!(inside[6].ends_with(&format!("\n{}\napt-get clean", release.check)));
            let checked = std::process::Command::new("sh")
                .args(["-n", "-ec", &inside[6]])
                .status();
            assert!(checked.expect("sh starts").success(), "{}", release.name);
        }
    }
}
