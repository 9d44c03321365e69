//! `cargo xtask lint`: what a change must pass besides the tests.

mod files;
mod licences;

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{command, crds, paths, setup, toolchain};

type Check = fn() -> Result<()>;

/// Runs every check, also after one has failed, and says how each went.
///
/// # Errors
/// A check cannot be made at all.
pub fn run() -> Result<ExitCode> {
    let checks: [(&str, Check); 7] = [
        ("format", format),
        ("clippy", clippy),
        ("aarch64", aarch64),
        ("licences", licences::check),
        ("advisories", advisories),
        ("file lengths", files::check),
        ("custom resource definitions", crds::check),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        println!("lint: {name}");
        if let Err(error) = check() {
            println!("lint: {name} FAILED: {error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("lint: clean");
        return Ok(ExitCode::SUCCESS);
    }
    println!("lint: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn format() -> Result<()> {
    command::run(&mut toolchain::cargo(&["fmt", "--all", "--check"])?)
}

fn clippy() -> Result<()> {
    command::run(
        toolchain::cargo(&["clippy", "--quiet", "--workspace", "--all-targets"])?
            .args(["--", "--deny", "warnings"]),
    )
}

/// Whether what runs on nodes and in clusters builds for aarch64, which cannot be run here.
fn aarch64() -> Result<()> {
    if setup::other_target()?.is_none() || paths::find_command("aarch64-linux-gnu-gcc").is_none() {
        println!(
            "lint: aarch64 skipped: its libraries and C compiler are not here: cargo xtask setup"
        );
        return Ok(());
    }
    let check = ["check", "--quiet", "--target", setup::AARCH64];
    let packages = ["kaos-agent", "kaos-operator", "kaos-ebpf"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    command::run(
        toolchain::cargo(&check)?
            .args(packages)
            .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc"),
    )
}

/// Known vulnerabilities, where cargo-deny and a copy of its database are on the machine. The
/// database is a git repository outside the package registries, so we do not fetch it.
fn advisories() -> Result<()> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(Into::into)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let database = cargo_home.map(|home| home.join("advisory-dbs"));
    if paths::find_command("cargo-deny").is_none() {
        println!("lint: advisories skipped: cargo-deny is not installed");
        return Ok(());
    }
    if !database.is_some_and(|database| database.exists()) {
        println!("lint: advisories skipped: no database; get one with `cargo deny fetch`");
        return Ok(());
    }
    command::run(
        Command::new("cargo-deny")
            .args(["--offline", "check", "--disable-fetch", "advisories"])
            .current_dir(paths::root()),
    )
}
