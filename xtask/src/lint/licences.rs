//! Licences of the dependencies, as their manifests declare them.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::{command, paths};

/// Licences under which a dependency may be linked into an Apache-2.0 program and shipped with it.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0", // certificates of webpki-roots: data
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// `cargo metadata`, as far as we read it.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Where it comes from; nothing for our own.
    source: Option<String>,
}

/// Checks every package of the dependency graph.
///
/// # Errors
/// Names the packages whose licence is not allowed.
pub fn check() -> Result<()> {
    let text = command::output(
        Command::new("cargo")
            .args(["metadata", "--format-version=1", "--locked", "--quiet"])
            .current_dir(paths::root()),
    )?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let foreign = || {
        metadata
            .packages
            .iter()
            .filter(|package| package.source.is_some())
    };
    let refused: Vec<String> = foreign()
        .filter(|package| !package.license.as_deref().is_some_and(is_allowed))
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("no licence");
            format!("{} {} ({licence})", package.name, package.version)
        })
        .collect();
    if !refused.is_empty() {
        bail!(
            "licence not in the list of xtask/src/lint/licences.rs: {}",
            refused.join(", ")
        );
    }
    println!(
        "lint: licences of {} dependencies are allowed",
        foreign().count()
    );
    Ok(())
}

/// Whether an SPDX expression can be satisfied with allowed licences. Exceptions only add
/// permissions, so a licence with one counts as the licence.
fn is_allowed(licence: &str) -> bool {
    // Lax: older manifests write `MIT/Apache-2.0` for `MIT OR Apache-2.0`.
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|requirement| {
            requirement
                .license
                .id()
                .is_some_and(|id| ALLOWED.contains(&id.name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        assert!(is_allowed("MIT"));
        assert!(is_allowed("MIT/Apache-2.0"));
        assert!(is_allowed("MIT OR GPL-2.0-only"));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(is_allowed("Apache-2.0 WITH LLVM-exception"));
        assert!(!is_allowed("GPL-3.0-only"));
        assert!(!is_allowed("MIT AND GPL-3.0-only"));
        assert!(!is_allowed("something else"));
    }
}
