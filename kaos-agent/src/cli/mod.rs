//! The command line: arguments, what they mean, and what a command's end says.

mod arguments;
mod checked;
mod commands;
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
    let parsed = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return exit::after_parsing(&error),
    };
    logging::start();
    exit::after(commands::run(parsed.command))
}
