//! The running kernel's version.

use std::fs;

use super::error::CannotTrace;
use super::programs::oldest_kernel;

/// Major and minor number of a kernel release such as `6.1.0-32-cloud-amd64`.
#[must_use]
pub fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The running kernel's release, as `uname -r` says it.
#[must_use]
pub fn running() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

/// Whether a kernel is new enough for the socket tracepoints.
///
/// # Errors
/// It is older than all needed programs.
pub fn check(release: &str) -> Result<(), CannotTrace> {
    let oldest = oldest_kernel();
    match parse(release) {
        Some(version) if version < oldest => Err(CannotTrace {
            what: format!("cannot trace on kernel {release}"),
            why: format!(
                "the socket tracepoints came with {}.{}, and nothing else is supported yet",
                oldest.0, oldest.1
            ),
            remedy: format!("use a kernel from {}.{} on", oldest.0, oldest.1),
        }),
        // A release that is no version: attaching will tell.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        assert_eq!(parse("6.1.0-32-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(parse("6.3-rc1"), Some((6, 3)));
        assert_eq!(parse("custom"), None);
    }

    #[test]
    fn old_kernels_are_told_what_to_do() {
        assert!(check("6.3.0").is_ok());
        let error = check("5.15.0-1-amd64").expect_err("too old").to_string();
        assert!(error.contains("use a kernel from 6.3 on"), "{error}");
    }
}
