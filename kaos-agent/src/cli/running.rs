//! The agents that run on this machine, by their command lines.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use clap::Parser as _;

use super::arguments::{Arguments, Command, OutputArguments, SelectionArguments};
use super::config_file;
use crate::capture::event::Pid;
use crate::capture::processes;
use crate::health::explain::RunningAgent;

/// Name of the executable.
const NAME: &str = "kaos-agent";

/// All that `run` or `record`, in the order of their numbers.
pub fn agents() -> Vec<RunningAgent> {
    let mut agents: Vec<_> = processes::all().filter_map(agent).collect();
    agents.sort_unstable_by_key(|agent| agent.pid);
    agents
}

fn agent(pid: Pid) -> Option<RunningAgent> {
    let executable = processes::executable(pid)?;
    if executable.rsplit('/').next() != Some(NAME) {
        return None;
    }
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    understood(pid, &line)
}

/// What a command line, its arguments ended by NUL, asks for.
fn understood(pid: Pid, line: &[u8]) -> Option<RunningAgent> {
    let arguments = line
        .strip_suffix(b"\0")?
        .split(|byte| *byte == 0)
        .map(|argument| OsString::from_vec(argument.to_vec()));
    let arguments = config_file::expand(arguments).ok()?;
    let (mut selection, output): (SelectionArguments, Option<OutputArguments>) =
        match Arguments::try_parse_from(arguments).ok()?.command {
            Command::Run(run) => (run.selection, Some(run.output)),
            Command::Record(record) => (record.selection, None),
            _ => return None,
        };
    // In a cluster the name stands in the agent's environment, not in ours.
    selection
        .node_name
        .get_or_insert_with(|| "its own".to_owned());
    Some(RunningAgent {
        pid,
        selection: selection.of_running().ok()?,
        output: output.map(OutputArguments::check).transpose().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Selection;

    #[test]
    fn command_lines_are_understood() {
        let of = |line: &str| understood(7, line.as_bytes());
        let agent = of("kaos-agent\0run\0--pid\x004194305\0--exe\0python3*\0").expect("an agent");
        let Selection::Matching(selectors) = agent.selection else {
            panic!("it selects");
        };
        // Processes that it was started for may be gone.
        assert_eq!(selectors.pids, [4_194_305]);
        assert_eq!(selectors.executables.len(), 1);
        assert!(agent.output.is_some());
        let on_node = of("kaos-agent\0run\0--kubernetes\0").expect("an agent");
        let Selection::Matching(selectors) = on_node.selection else {
            panic!("it selects");
        };
        assert!(selectors.pods.is_some());
        let recorder = of("kaos-agent\0record\0--all\0-o\0x\0").expect("an agent");
        assert!(recorder.output.is_none());
        assert!(of("kaos-agent\0doctor\0").is_none());
        assert!(of("kaos-agent\0run\0--later-option\0").is_none());
        assert!(of("").is_none());
    }
}
