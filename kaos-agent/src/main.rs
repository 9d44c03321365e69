//! The node agent's executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    kaos_agent::cli::run(std::env::args_os())
}
