//! `cargo xtask build-ebpf`: the eBPF object by itself.
//!
//! There is one build path: the build script of `kaos-ebpf` with its feature `object`, which the
//! agent's build runs too. This command only copies what that script made, so the bytes are the
//! ones that the agent embeds.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{command, paths, toolchain};

/// `cargo xtask build-ebpf`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to put the object (default: target/kaos-ebpf.o).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A message of `cargo build --message-format=json`, as far as we read it.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    out_dir: PathBuf,
}

/// Builds the object, copies it out and prints its path, size and SHA-256.
///
/// # Errors
/// The build fails, or the build script left no object.
pub fn run(options: &Options) -> Result<ExitCode> {
    let messages = command::output(
        toolchain::cargo(&[
            "build",
            "--package=kaos-ebpf",
            "--features=object",
            "--message-format=json-render-diagnostics",
        ])?
        .stdin(Stdio::null()),
    )?;
    let built = out_dir(&messages)
        .context("cargo ran no build script of kaos-ebpf")?
        .join("kaos-ebpf");
    let bytes = fs::read(&built)
        .with_context(|| format!("the build script left no object at {}", built.display()))?;
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| paths::target().join("kaos-ebpf.o"));
    fs::write(&out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "{}  {} bytes  sha256 {}",
        out.display(),
        bytes.len(),
        paths::sha256(&bytes)
    );
    Ok(ExitCode::SUCCESS)
}

/// OUT_DIR of the build script of `kaos-ebpf`.
fn out_dir(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .find(|message| {
            message.reason == "build-script-executed" && message.package_id.contains("/kaos-ebpf#")
        })
        .map(|message| message.out_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_script_of_the_programs_is_found() {
        let messages = r#"
{"reason":"build-script-executed","package_id":"registry+https://x#aya@0.16.0","out_dir":"/aya"}
{"reason":"compiler-artifact","package_id":"path+file:///w/kaos-ebpf#0.1.0"}
{"reason":"build-script-executed","package_id":"path+file:///w/kaos-ebpf#0.1.0","out_dir":"/ours"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(out_dir(messages), Some(PathBuf::from("/ours")));
    }
}
