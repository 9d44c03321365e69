//! What the steps need to know of the machine.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{command, paths, toolchain};

/// The machine that is being set up.
pub struct Machine {
    /// Its distribution, as it calls itself.
    distribution: String,
    /// Debian or one of its children, so that our package names hold and `apt-get` is there.
    pub debian: bool,
    /// `rustc -vV`.
    pub rustc: String,
    /// Major version of the LLVM that `rustc` was built with; bpf-linker must read its bitcode.
    pub llvm: String,
    /// Where results are kept.
    pub cache: PathBuf,
}

impl Machine {
    /// Looks at the machine.
    ///
    /// # Errors
    /// `rustc` does not run, or there is no home directory.
    pub fn look() -> Result<Self> {
        let rustc = command::output(Command::new("rustc").arg("-vV"))?;
        let llvm = llvm_major(&rustc)
            .context("rustc does not say which LLVM it was built with (rustc -vV)")?
            .to_owned();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(Self {
            distribution: os_release(&release, "PRETTY_NAME")
                .unwrap_or("unknown distribution")
                .to_owned(),
            debian: is_debian(&release),
            rustc,
            llvm,
            cache: paths::cache()?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} (LLVM {}), results in {}",
            self.distribution,
            self.rustc.lines().next().unwrap_or_default(),
            self.llvm,
            self.cache.display()
        )
    }
}

/// Major version of the LLVM of a `rustc -vV`.
pub fn llvm_major(rustc: &str) -> Option<&str> {
    toolchain::version_field(rustc, "LLVM version")?
        .split('.')
        .next()
}

fn os_release<'a>(release: &'a str, key: &str) -> Option<&'a str> {
    release
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches('"'))
}

fn is_debian(release: &str) -> bool {
    ["ID", "ID_LIKE"]
        .iter()
        .filter_map(|key| os_release(release, key))
        .flat_map(str::split_whitespace)
        .any(|id| id == "debian" || id == "ubuntu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_told_apart() {
        assert!(is_debian("NAME=\"x\"\nID=debian\n"));
        assert!(is_debian("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nVERSION_ID=44\n"));
        assert!(!is_debian(""));
    }

    #[test]
    fn the_llvm_of_the_compiler_is_read() {
        assert_eq!(
            llvm_major("release: 1.95.0\nLLVM version: 22.1.2\n"),
            Some("22")
        );
        assert_eq!(llvm_major("release: 1.95.0\n"), None);
    }
}
