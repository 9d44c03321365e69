//! What the kernel side of a running agent says of a process: the table that decides, seen from
//! another agent's process.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, anyhow};
use aya::maps::{HashMap, Map, MapData, MapError};
use kaos_ebpf::process::{CANDIDATE, EXCLUDED, Process, SELECTED};
use kaos_ebpf::python::PythonLayout;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::event::Pid;
use super::kernel::Entry;

/// What the kernel side does with a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// It is captured.
    Selected,
    /// It is captured until its executable has been matched.
    Candidate,
    /// It is left out whatever is selected: the agent itself.
    Excluded,
    /// It is not in the table.
    No,
}

/// Looks a process up in the table of the agent that runs as `agent`.
///
/// # Errors
/// The agent is gone or attaches still, or this process may not look into it (CAP_SYS_PTRACE,
/// CAP_BPF).
pub fn following(agent: Pid, pid: Pid) -> anyhow::Result<Following> {
    let selection = known(agent, pid)?.map_or(0, |process| process.selection);
    Ok(match selection {
        SELECTED => Following::Selected,
        CANDIDATE => Following::Candidate,
        EXCLUDED => Following::Excluded,
        _ => Following::No,
    })
}

/// How the agent that runs as `agent` follows what runs in a Python process; `None` where it does
/// not.
///
/// # Errors
/// As [`following`].
pub fn python_layout(agent: Pid, pid: Pid) -> anyhow::Result<Option<PythonLayout>> {
    let process = known(agent, pid)?.filter(|process| process.is_python != 0);
    Ok(process.map(|process| process.python))
}

/// What the table has of a process.
fn known(agent: Pid, pid: Pid) -> anyhow::Result<Option<Process>> {
    match processes(agent)?.get(&pid, 0) {
        Ok(entry) => Ok(Some(entry.0)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error).context("cannot read its table"),
    }
}

/// The table of an agent, by way of the agent's own descriptor: nothing is pinned, and to look maps up
/// by their number takes CAP_SYS_ADMIN.
fn processes(agent: Pid) -> anyhow::Result<HashMap<MapData, u32, Entry>> {
    const NAME: &str = "PROCESSES";
    let directory = format!("/proc/{agent}/fd");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {directory}"))?;
    for entry in entries.flatten() {
        let is_map = fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str() == "anon_inode:bpf-map");
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let (true, Some(number)) = (is_map, number) else {
            continue;
        };
        let descriptor = duplicate(agent, number).context("cannot look into it")?;
        let map = MapData::from_fd(descriptor).context("cannot read its maps")?;
        if map.info().is_ok_and(|info| info.name() == NAME.as_bytes()) {
            return HashMap::try_from(Map::from_map_data(map)?).context("its table is another one");
        }
    }
    Err(anyhow!("it has no table {NAME} (yet)"))
}

/// A descriptor of another process as our own.
fn duplicate(pid: Pid, descriptor: i32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty())?)
}
