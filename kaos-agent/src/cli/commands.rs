//! What each command does.

use std::io::{self, Write};
use std::process::ExitCode;

use super::arguments::{Command, DoctorArguments, ExplainArguments};
use super::exit::UsageError;
use super::running;
use crate::health::doctor::{Report, check_endpoint, check_machine};
use crate::health::explain::{self, NotExplained};
use crate::pipeline;
use crate::settings::Reload;

/// Runs the command to its end. `reload` is what SIGHUP asks for, where there is something to read
/// again.
///
/// # Errors
/// Whatever keeps it from its work; `exit` makes a line and a code of it.
pub fn run(command: Command, reload: Option<Reload>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => pipeline::run_live(arguments.check()?, reload)?,
        Command::Record(arguments) => pipeline::run_live(arguments.check()?, reload)?,
        Command::Replay(arguments) => pipeline::replay(arguments.check()?)?,
        Command::Doctor(arguments) => return doctor(&arguments),
        Command::Explain(arguments) => explain(&arguments)?,
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

fn explain(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let pid = arguments.pid;
    let explanation = explain::explain(pid, &running::agents()).map_err(|error| match error
        .downcast::<NotExplained>(
    ) {
        Ok(wrong) => UsageError::new(
            &format!("--pid {pid}"),
            &wrong.to_string(),
            "give the number of a running process as the host sees it",
        )
        .into(),
        Err(other) => other,
    })?;
    print(&if arguments.json {
        explanation.to_json()
    } else {
        explanation.to_text()
    })?;
    Ok(())
}

/// A closed standard output (`kaos-agent doctor | head -1`) is an error, not a panic.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
