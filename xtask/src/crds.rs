//! `cargo xtask crds`: the custom resource definitions, from the operator's types into the chart.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{command, paths, toolchain};

/// `cargo xtask crds`
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Change nothing; exit with 1 if the chart's definitions are not those of the types.
    #[arg(long)]
    check: bool,
}

/// Where the chart has them.
const DIRECTORY: &str = "charts/kaos/files/crds";

/// Writes the definitions, or compares.
///
/// # Errors
/// The operator does not build, or a file cannot be read or written.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.check {
        check()?;
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in generated()? {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares the chart's definitions with those of the types.
///
/// # Errors
/// They differ, or the operator does not build.
pub fn check() -> Result<()> {
    let directory = paths::root().join(DIRECTORY);
    let mut there = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {DIRECTORY}"))? {
        let path = entry?.path();
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        there.insert(path, text);
    }
    if there != generated()? {
        bail!("{DIRECTORY} is not what the operator's types say; type: cargo xtask crds");
    }
    Ok(())
}

/// Contents by path: one file per definition, called like it.
fn generated() -> Result<BTreeMap<PathBuf, String>> {
    let mut operator = toolchain::cargo(&["run", "--quiet", "--package=kaos-operator"])?;
    split(&command::output(operator.args(["--", "crds"]))?)
}

fn split(documents: &str) -> Result<BTreeMap<PathBuf, String>> {
    let documents = documents.strip_prefix("---\n").unwrap_or(documents);
    documents
        .trim_end()
        .split("\n---\n")
        .map(|document| {
            let name = document
                .lines()
                .find_map(|line| line.strip_prefix("  name: "))
                .context("a definition has no name")?;
            let path = paths::root().join(DIRECTORY).join(format!("{name}.yaml"));
            Ok((path, format!("---\n{}\n", document.trim_end())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_definition_gets_a_file() {
        let documents =
            "---\nmetadata:\n  name: a.x\nspec:\n    name: b\n---\nmetadata:\n  name: b.x\n";
        let files: Vec<_> = split(documents)
            .unwrap()
            .into_iter()
            .map(|(path, text)| (path.file_name().unwrap().to_owned(), text))
            .collect();
        assert_eq!(
            files,
            [
                (
                    "a.x.yaml".into(),
                    "---\nmetadata:\n  name: a.x\nspec:\n    name: b\n".to_owned()
                ),
                (
                    "b.x.yaml".into(),
                    "---\nmetadata:\n  name: b.x\n".to_owned()
                ),
            ]
        );
    }
}
