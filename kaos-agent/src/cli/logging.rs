//! The agent's own log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging at the level that `LOG_LEVEL` names. Libraries tell warnings and errors only:
/// their details, such as headers of requests, do not belong into a log. Warnings of aya repeat what
/// the agent tells as an error of its own.
pub fn start() {
    let wanted = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = level(&wanted);
    let filter = EnvFilter::new(format!(
        "warn,aya=error,kaos_agent={}",
        level.unwrap_or("info")
    ));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    if level.is_none() {
        tracing::warn!("LOG_LEVEL is none of TRACE, DEBUG, INFO, WARNING, ERROR: using INFO");
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
