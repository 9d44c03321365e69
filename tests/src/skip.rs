//! Tests that find that they cannot run here. Other crates' tests take this file as a module.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;

/// Says that the running test cannot run on this machine, and why. The test returns after it.
///
/// # Panics
/// The file in which `cargo xtask test` collects these cannot be written.
pub fn skip(reason: &str) {
    let thread = thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped {line}");
    if let Some(file) = env::var_os("KAOS_TEST_SKIPS") {
        fs::OpenOptions::new()
            .append(true)
            .open(file)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the list of skipped tests is writable");
    }
}

/// Why a program cannot be used here, if it cannot.
#[must_use]
pub fn why_not(program: &str) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|directory| directory.join(program).is_file());
    (!found).then(|| format!("{program} is not installed"))
}
