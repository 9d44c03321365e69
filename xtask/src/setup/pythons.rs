//! `cargo xtask setup --pythons`: interpreters of other releases of Debian, each in a root file system
//! of its own, for the tests of what caused what.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::root::Words;
use super::steps::{Action, Step};
use crate::paths;

/// Releases, and what they are here for.
const RELEASES: [&str; 2] = ["trixie", "sid"];
/// Where they come from.
const MIRROR: &str = "http://deb.debian.org/debian";
/// What `causes.py` imports.
const PACKAGES: &str = "python3 python3-uvicorn python3-uvloop python3-httptools python3-h11 \
                        python3-starlette";
/// Made in a root when it is complete.
const COMPLETE: &str = "complete";

/// The step. It takes minutes.
pub const STEPS: &[Step] = &[Step {
    name: "other pythons",
    what: "Debian's Python 3.13 and 3.14 in root file systems of their own",
    missing: |machine| {
        let roots = RELEASES.iter().map(|release| root(&machine.cache, release));
        let missing = roots.filter(|root| !root.join(COMPLETE).exists());
        missing.map(|root| root.display().to_string()).collect()
    },
    action: Action::Root(|_, missing| Ok(missing.iter().flat_map(|root| commands(root)).collect())),
}];

/// The root file systems that are there.
///
/// # Errors
/// No home directory.
pub fn built() -> Result<Option<PathBuf>> {
    let cache = paths::cache()?;
    let roots = RELEASES.iter().map(|release| root(&cache, release));
    let complete: Vec<PathBuf> = roots.filter(|root| root.join(COMPLETE).exists()).collect();
    if complete.is_empty() {
        return Ok(None);
    }
    Ok(Some(std::env::join_paths(complete)?.into()))
}

fn root(cache: &Path, release: &str) -> PathBuf {
    cache.join("pythons").join(release)
}

/// The packages are installed after the base: what debootstrap itself is asked to add it configures in
/// no order.
fn commands(root: &str) -> Vec<Words> {
    let release = root.rsplit('/').next().unwrap_or_default();
    let inside = format!(
        "apt-get update -qq && apt-get install -qq --no-install-recommends {PACKAGES} \
         && python3 -c 'import uvicorn, uvloop, httptools, h11, starlette' && apt-get clean"
    );
    let words = |line: &[&str]| line.iter().map(|word| (*word).to_owned()).collect();
    vec![
        words(&["apt-get", "install", "-qq", "debootstrap"]),
        // An interrupted one is made again.
        words(&["rm", "-rf", root]),
        words(&["debootstrap", "--variant=minbase", release, root, MIRROR]),
        words(&[
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "chroot",
            root,
            "sh",
            "-ec",
            &inside,
        ]),
        words(&["touch", &format!("{root}/{COMPLETE}")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_complete_last() {
        let commands = commands("/cache/pythons/sid");
        assert_eq!(commands[1], ["rm", "-rf", "/cache/pythons/sid"]);
        assert_eq!(commands[2][2..4], ["sid", "/cache/pythons/sid"]);
        let last = commands.last().expect("there are some");
        assert_eq!(last[..], ["touch", "/cache/pythons/sid/complete"]);
    }
}
