//! How a command ends: one line on standard error, and an exit code.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::capture::error::CannotTrace;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_TRACE: u8 = 3;

/// The arguments make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

impl UsageError {
    /// `what: why; remedy`.
    pub fn new(what: &str, why: &str, remedy: &str) -> Self {
        Self(format!("{what}: {why}; {remedy}"))
    }
}

/// Ends a command: whatever failed is told in one line.
pub fn after(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::from(code_of(&error))
        }
    }
}

/// Ends where the arguments could not be parsed, or asked for help.
pub fn after_parsing(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Nobody is left to tell where standard output is closed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    tell(&one_line(error));
    ExitCode::from(USAGE)
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() {
        USAGE
    } else if error.is::<CannotTrace>() {
        CANNOT_TRACE
    } else {
        FAILURE
    }
}

fn tell(message: &str) {
    // Messages of libraries may have several lines.
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("kaos-agent: {line}");
}

/// clap's message without its usage text, which is several lines long.
pub fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command is given: there is no default; see kaos-agent --help".to_owned();
    }
    let rendered = error.to_string();
    let paragraph = rendered.split("\n\n").next().unwrap_or_default();
    let message = paragraph.trim_start_matches("error: ");
    let suggestion = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .iter()
        .find_map(|kind| match error.get(*kind)? {
            ContextValue::String(name) => Some(name.clone()),
            ContextValue::Strings(names) => names.first().cloned(),
            _ => None,
        });
    match suggestion {
        Some(name) => format!("{message}; did you mean {name}?"),
        None => format!("{message}; see kaos-agent --help"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::Parser;

    use super::*;
    use crate::cli::arguments::Arguments;

    fn parse_error(line: &str) -> String {
        let arguments = std::iter::once("kaos-agent").chain(line.split(' '));
        one_line(&Arguments::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn parse_errors_are_one_sentence() {
        assert_eq!(
            parse_error("run --pids 5"),
            "unexpected argument '--pids' found; did you mean --pid?"
        );
        assert_eq!(
            parse_error("run --frobnicate"),
            "unexpected argument '--frobnicate' found; see kaos-agent --help"
        );
        assert_eq!(
            parse_error("rum"),
            "unrecognized subcommand 'rum'; did you mean run?"
        );
        assert_eq!(
            parse_error("run --ring-bytes 5TB"),
            "invalid value '5TB' for '--ring-bytes <BYTES>': no size; write 65536, 64KiB, 1MiB or \
             1GiB; see kaos-agent --help"
        );
    }

    #[test]
    fn causes_decide_the_exit_code() {
        let usage = UsageError::new("--all", "no", "yes");
        assert_eq!(code_of(&anyhow::Error::from(usage)), 2);
        let cannot = CannotTrace {
            what: "loading".to_owned(),
            why: "no BTF".to_owned(),
            remedy: "use another kernel".to_owned(),
        };
        let error = Err::<(), _>(cannot).context("run").unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "run: loading: no BTF; use another kernel"
        );
        assert_eq!(code_of(&error), 3);
        assert_eq!(code_of(&anyhow::anyhow!("disk full")), 1);
    }
}
