//! What each command does.

use std::io::{self, Write};
use std::process::ExitCode;

use super::arguments::{Command, DoctorArguments};
use crate::health::doctor::{Report, check_endpoint, check_machine};
use crate::pipeline;

/// Runs the command to its end.
///
/// # Errors
/// Whatever keeps it from its work; `exit` makes a line and a code of it.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => pipeline::run_live(arguments.check()?)?,
        Command::Record(arguments) => pipeline::run_live(arguments.check()?)?,
        Command::Replay(arguments) => pipeline::replay(arguments.check()?)?,
        Command::Doctor(arguments) => return doctor(&arguments),
        Command::Version => print(concat!("kaos-agent ", env!("CARGO_PKG_VERSION"), "\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn doctor(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let mut checks = check_machine();
    checks.extend(pipeline::check_programs());
    checks.push(check_endpoint(arguments.otlp_endpoint.as_deref()));
    let report = Report::new(checks);
    print(&if arguments.json {
        report.to_json()
    } else {
        report.to_text()
    })?;
    Ok(ExitCode::from(report.exit_code()))
}

/// A closed standard output (`kaos-agent doctor | head -1`) is an error, not a panic.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
