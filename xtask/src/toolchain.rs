//! What the compiler needs to build this workspace, and `cargo xtask cargo …`.
//!
//! The aya family declares Rust 1.98 and needs one library feature of it. An older compiler has
//! the feature behind a gate: we open the gate and have cargo ignore the declared version. Newer
//! compilers get nothing of this, so `cargo build` alone works there.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{command, paths, setup};

/// First minor version of Rust 1 that builds the workspace without help.
const FIRST_SUFFICIENT_MINOR: u32 = 98;
/// Turns on the library feature that aya uses, in every crate.
const FEATURE_FLAG: &str = "-Zcrate-attr=feature(result_option_map_or_default)";
/// The cargo commands that compile, and so check declared versions.
const COMPILING: [&str; 12] = [
    "b", "bench", "build", "c", "check", "clippy", "d", "doc", "r", "run", "t", "test",
];

/// `cargo xtask cargo …`
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// Arguments of cargo.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

/// Runs cargo with the given arguments.
///
/// # Errors
/// Cargo cannot be started.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut cargo = cargo(&options.arguments)?;
    let status = cargo
        .status()
        .with_context(|| format!("cannot start {}", command::line(&cargo)))?;
    Ok(status
        .code()
        .map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)))
}

/// Builds all programs of the workspace, for debugging.
///
/// # Errors
/// The build fails.
pub fn build_programs() -> Result<()> {
    command::run(&mut cargo(&["build", "--quiet", "--workspace", "--bins"])?)
}

/// A cargo command in the workspace that builds with this compiler and finds our bpf-linker.
///
/// # Errors
/// `rustc` does not run.
pub fn cargo<A: Into<OsString> + Clone>(arguments: &[A]) -> Result<Command> {
    let version = command::output(Command::new("rustc").arg("-vV"))?;
    let mut arguments: Vec<OsString> = arguments.iter().cloned().map(Into::into).collect();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    if minor_version(&version).is_some_and(|minor| minor < FIRST_SUFFICIENT_MINOR) {
        cargo.env("RUSTC_BOOTSTRAP", "1");
        cargo.env("RUSTFLAGS", with_feature(env::var("RUSTFLAGS").ok()));
        if arguments
            .first()
            .is_some_and(|name| COMPILING.iter().any(|compiling| name == compiling))
        {
            arguments.insert(1, "--ignore-rust-version".into());
        }
    }
    if let Some(linker) = setup::bpf_linker(&version)?
        && let Some(directory) = linker.parent()
    {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(directory.to_path_buf()).chain(env::split_paths(&path));
        cargo.env(
            "PATH",
            env::join_paths(path).context("PATH holds an odd directory")?,
        );
    }
    cargo.args(arguments);
    Ok(cargo)
}

/// Value of a `key: value` line of `rustc -vV`.
pub fn version_field<'a>(version: &'a str, key: &str) -> Option<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

fn minor_version(version: &str) -> Option<u32> {
    let mut parts = version_field(version, "release")?.split('.');
    (parts.next()? == "1").then(|| parts.next()?.parse().ok())?
}

fn with_feature(flags: Option<String>) -> String {
    match flags.filter(|flags| !flags.is_empty()) {
        Some(flags) if flags.contains(FEATURE_FLAG) => flags,
        Some(flags) => format!("{flags} {FEATURE_FLAG}"),
        None => FEATURE_FLAG.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn the_version_is_read() {
        assert_eq!(minor_version(VERSION), Some(95));
        assert_eq!(minor_version("release: 1.99.0-nightly\n"), Some(99));
        assert_eq!(minor_version("release: 2.0.0\n"), None);
        assert_eq!(version_field(VERSION, "LLVM version"), Some("22.1.2"));
    }

    #[test]
    fn flags_of_the_user_stay() {
        assert_eq!(with_feature(None), FEATURE_FLAG);
        assert_eq!(with_feature(Some(String::new())), FEATURE_FLAG);
        assert_eq!(
            with_feature(Some("-Cx".into())),
            format!("-Cx {FEATURE_FLAG}")
        );
        assert_eq!(with_feature(Some(FEATURE_FLAG.into())), FEATURE_FLAG);
    }
}
