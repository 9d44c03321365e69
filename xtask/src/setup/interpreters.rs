//! Environments of the interpreters that pyenv has on this machine, with what `causes.py` needs, for the
//! test of what caused what in other versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::machine::Machine;
use super::root::quietly;
use super::steps::{COMPLETE, How, Step, version_of};
use crate::paths;

/// Pinned versions of what is in them.
const REQUIREMENTS: &str = "tests/workloads/requirements-interpreters.txt";
/// Minor versions of Python 3 whose contexts are followed, and for which the packages are published.
const FOLLOWED: std::ops::RangeInclusive<u32> = 10..=14;

/// The step. Where there is no pyenv nothing is missing.
pub const STEP: Step = Step {
    name: "other interpreters",
    what: "uvicorn and what it needs for each Python of pyenv, for the table of causes",
    how: How::User {
        missing: |_| match environments() {
            Ok(all) => all
                .iter()
                .filter(|one| !one.is_complete())
                .map(|one| one.interpreter.display().to_string())
                .collect(),
            Err(error) => vec![format!("{REQUIREMENTS} ({error:#})")],
        },
        bring,
    },
};

/// One interpreter, and where its environment is.
struct Environment {
    interpreter: PathBuf,
    place: PathBuf,
}

impl Environment {
    fn is_complete(&self) -> bool {
        self.place.join(COMPLETE).exists()
    }

    fn python(&self) -> PathBuf {
        self.place.join("bin/python")
    }
}

/// The interpreters of the environments, as far as they are there, as in `PATH`.
///
/// # Errors
/// No home directory, or the list of requirements cannot be read.
pub fn built() -> Result<Option<PathBuf>> {
    let all = environments()?;
    let complete = all.iter().filter(|one| one.is_complete());
    let pythons: Vec<PathBuf> = complete.map(Environment::python).collect();
    if pythons.is_empty() {
        return Ok(None);
    }
    Ok(Some(std::env::join_paths(pythons)?.into()))
}

fn environments() -> Result<Vec<Environment>> {
    let path = paths::root().join(REQUIREMENTS);
    let requirements =
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let place = paths::cache()?.join(format!("interpreters-{}", version_of(&requirements)));
    let versions = pyenv().join("versions");
    // A machine without pyenv has none.
    let names = fs::read_dir(&versions).into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_followed(name))
        .collect();
    names.sort();
    let environments = names.iter().map(|name| Environment {
        interpreter: versions.join(name).join("bin/python3"),
        place: place.join(name),
    });
    Ok(environments
        .filter(|one| one.interpreter.exists())
        .collect())
}

fn pyenv() -> PathBuf {
    let named = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = || Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".pyenv");
    named.unwrap_or_else(home)
}

/// Whether pyenv's name is that of a release of CPython that is followed: `3.12.1`.
fn is_followed(name: &str) -> bool {
    let mut numbers = name.split('.').map(str::parse::<u32>);
    let is_third = matches!(numbers.next(), Some(Ok(3)));
    let is_known = matches!(numbers.next(), Some(Ok(minor)) if FOLLOWED.contains(&minor));
    is_third && is_known && matches!(numbers.next(), Some(Ok(_))) && numbers.next().is_none()
}

fn bring(_: &Machine) -> Result<()> {
    for one in environments()?.iter().filter(|one| !one.is_complete()) {
        quietly(
            Command::new(&one.interpreter)
                .args(["-m", "venv", "--clear"])
                .arg(&one.place),
        )?;
        quietly(
            Command::new(one.python())
                .args(["-m", "pip", "install", "--quiet", "--no-deps"])
                .arg("--requirement")
                .arg(paths::root().join(REQUIREMENTS)),
        )?;
        fs::write(one.place.join(COMPLETE), "")
            .with_context(|| format!("cannot write to {}", one.place.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_are_followed_are_told_from_others() {
        let names = [
            "3.10.13",
            "3.14.0",
            "3.9.18",
            "2.7.18",
            "3.13.0t",
            "pypy3.10-7.3",
            "3.12",
        ];
        let followed: Vec<_> = names.into_iter().filter(|name| is_followed(name)).collect();
        assert_eq!(followed, ["3.10.13", "3.14.0"]);
    }
}
