//! Lengths of source files: a file is about one thing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// Above this many lines a file is named in the report.
const LONG: usize = 500;
/// Above this many lines the check fails.
const TOO_LONG: usize = 600;
/// Directories that hold our sources.
const DIRECTORIES: [&str; 5] = ["kaos-agent", "kaos-ebpf", "kaos-operator", "tests", "xtask"];
/// Endings of source files.
const SOURCES: [&str; 4] = ["go", "js", "py", "rs"];

/// Reports how long the files are.
///
/// # Errors
/// A file is too long, or cannot be read.
pub fn check() -> Result<()> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        collect(&paths::root().join(directory), &mut files)?;
    }
    let mut lengths = files
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Ok((text.lines().count(), path))
        })
        .collect::<Result<Vec<_>>>()?;
    lengths.sort();
    let median = lengths
        .get(lengths.len() / 2)
        .map_or(0, |(lines, _)| *lines);
    println!(
        "lint: {} source files, median {median} lines",
        lengths.len()
    );
    for (lines, path) in lengths.iter().rev().take_while(|(lines, _)| *lines > LONG) {
        println!("lint: {lines} lines: {}", path.display());
    }
    match lengths.last() {
        Some((lines, path)) if *lines > TOO_LONG => {
            bail!(
                "{} has {lines} lines, more than {TOO_LONG}: split it",
                path.display()
            )
        }
        _ => Ok(()),
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| SOURCES.contains(&extension))
        {
            files.push(path);
        }
    }
    Ok(())
}
