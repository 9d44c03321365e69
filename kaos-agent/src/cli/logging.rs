//! The agent's own log, on standard error.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Changes what is logged.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging at this level, or the one that `LOG_LEVEL` names. Libraries tell warnings and
/// errors only: their details, such as headers of requests, do not belong into a log. Warnings of aya
/// repeat what the agent tells as an error of its own.
pub fn start(wanted: Option<&str>) {
    let (filter, handle) = reload::Layer::new(EnvFilter::default());
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    // Logging starts once.
    let _ = FILTER.set(handle);
    set_level(wanted);
}

/// Logs at this level from now on, or at the one that `LOG_LEVEL` names.
pub fn set_level(wanted: Option<&str>) {
    let by_environment = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = level(wanted.unwrap_or(&by_environment));
    let filter = EnvFilter::new(format!(
        "warn,aya=error,kaos_agent={}",
        level.unwrap_or("info")
    ));
    if let Some(handle) = FILTER.get() {
        // Fails where nothing is logged any more.
        let _ = handle.reload(filter);
    }
    if level.is_none() {
        tracing::warn!("the level is none of TRACE, DEBUG, INFO, WARNING, ERROR: using INFO");
    }
}

/// The filter's name of a level as KAOS writes it; an empty value is an unset one.
fn level(name: &str) -> Option<&'static str> {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => Some("trace"),
        "DEBUG" => Some("debug"),
        "INFO" | "" => Some("info"),
        "WARNING" | "WARN" => Some("warn"),
        "ERROR" | "CRITICAL" => Some("error"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        assert_eq!(level("WARNING"), Some("warn"));
        assert_eq!(level("debug"), Some("debug"));
        assert_eq!(level(""), Some("info"));
        assert_eq!(level("LOUD"), None);
    }
}
