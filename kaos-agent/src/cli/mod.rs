//! The command line: arguments, what they mean, and what a command's end says.

mod arguments;
mod checked;
mod commands;
mod config_file;
mod exit;
mod logging;
mod quantity;
mod running;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use self::arguments::Arguments;

/// Runs the agent with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let expanded = match config_file::expand(arguments.iter().cloned()) {
        Ok(expanded) => expanded,
        Err(error) => return exit::after(Err(error.into())),
    };
    let parsed = match Arguments::try_parse_from(expanded) {
        Ok(parsed) => parsed,
        Err(error) => return exit::after_parsing(&error),
    };
    logging::start(parsed.command.log_level());
    exit::after(commands::run(
        parsed.command,
        config_file::reloader(arguments),
    ))
}
