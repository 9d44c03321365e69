//! Why this machine cannot be observed.

/// The kernel or its configuration does not let us observe. Commands end with exit code 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}; {remedy}")]
pub struct CannotTrace {
    /// What was tried.
    pub what: String,
    /// Why it failed.
    pub why: String,
    /// What a person can do.
    pub remedy: String,
}
