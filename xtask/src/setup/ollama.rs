//! `cargo xtask setup --ollama`: Ollama for the test of a real model server, built from its Go
//! module, since that needs no registry of models.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::machine::Machine;
use super::root::quietly;
use super::steps::{How, Step};
use crate::paths;

/// Later modules lack the headers of llama.cpp.
const VERSION: &str = "0.6.8";

/// The step. It takes minutes.
pub const STEPS: &[Step] = &[Step {
    name: "ollama",
    what: "a real model server",
    how: How::User {
        missing: |machine| {
            let program = program(&machine.cache);
            let is_missing = !program.exists();
            is_missing
                .then(|| program.display().to_string())
                .into_iter()
                .collect()
        },
        bring: build,
    },
}];

/// The built program, where it is there.
///
/// # Errors
/// No home directory.
pub fn built() -> Result<Option<PathBuf>> {
    Ok(Some(program(&paths::cache()?)).filter(|path| path.exists()))
}

fn program(cache: &Path) -> PathBuf {
    cache.join(format!("ollama-{VERSION}/ollama"))
}

fn build(machine: &Machine) -> Result<()> {
    let program = program(&machine.cache);
    let directory = program.parent().context("ollama has a directory")?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    quietly(
        Command::new("go")
            .args(["install", "-trimpath", "-ldflags=-s -w"])
            .arg(format!("github.com/ollama/ollama@v{VERSION}"))
            .env("GOBIN", directory)
            // Away from the workspace, whose settings are not its.
            .current_dir(directory),
    )
}
