//! What the agent makes of one process: is it traced, what runs in it, where does its telemetry go?
//!
//! Everything is read from `/proc` and from the agents that run on this machine, at this moment.

mod causes;
mod files;
mod runtime;
mod sdk;
mod settings;
mod text;
mod tls;
mod traced;

use std::fs;
use std::io;

use serde::Serialize;
use thiserror::Error;

use crate::capture::error::CannotTrace;
use crate::capture::event::{Pid, ProcessInfo};
use crate::capture::processes;
use crate::identity::container::container_id;

pub use causes::{Causes, Probe, Python};
use files::MappedFiles;
pub use runtime::Runtime;
pub use sdk::{Beside, Sdk, SdkVerdict};
pub use settings::{Destination, Settings, Variable};
pub use tls::{TlsLibrary, TlsSite};
pub use traced::{RunningAgent, Traced, TracedVerdict, Tracer};

/// All that is said of one process. Its JSON is what scripts rely on: fields may be added, none
/// changes its meaning.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// What it is.
    pub process: Process,
    /// Is it traced, by whom, and why?
    pub traced: Traced,
    /// What runs its program.
    pub runtime: Runtime,
    /// How the causes of its calls are found.
    pub causes: Causes,
    /// Libraries of TLS that are mapped into it.
    pub tls: Vec<TlsLibrary>,
    /// Settings that were read, and what they come to.
    pub settings: Settings,
    /// Is an OpenTelemetry SDK in it?
    pub sdk: Sdk,
}

/// A process, as `/proc` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Process {
    /// Its number, as the host counts.
    pub pid: Pid,
    /// Its short name.
    pub name: String,
    /// Path of its executable, as it sees it.
    pub executable: String,
    /// Program, and script or module; never all arguments, which carry secrets.
    pub command: Vec<String>,
    /// Who started it.
    pub parent: Option<Pid>,
    /// Its cgroup in the v2 hierarchy.
    pub cgroup: String,
    /// Its container.
    pub container: Option<String>,
}

/// A number that names no process that could be explained.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotExplained {
    /// Nothing has this number.
    #[error("there is no such process")]
    Absent,
    /// A thread, and whose.
    #[error("this is a thread of process {0}")]
    Thread(Pid),
    /// A kernel thread, or one that has ended and is not reaped.
    #[error("it runs no program: it is a kernel thread, or has ended")]
    NoProgram,
}

/// Explains a process to whom these agents belong.
///
/// # Errors
/// [`NotExplained`] where the number is wrong, [`CannotTrace`] where the process may not be read.
pub fn explain(pid: Pid, agents: &[RunningAgent]) -> anyhow::Result<Explanation> {
    check(pid)?;
    let info = processes::describe(pid, None);
    let files = MappedFiles::of(pid).map_err(|error| not_readable(pid, &error))?;
    let traced = Traced::by(agents, pid);
    let tracer = traced.first_agent(agents);
    let settings = Settings::of(pid, &info, tracer)?;
    let runtime = Runtime::of(&info, &files);
    let sdk = Sdk::of(pid, &info, &files, &runtime, &settings);
    Ok(Explanation {
        causes: Causes::of(pid, &traced),
        tls: tls::libraries(pid),
        process: process(pid, info),
        traced,
        runtime,
        settings,
        sdk,
    })
}

impl Explanation {
    /// One JSON object, indented.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings in structs are JSON") + "\n"
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::render(self)
    }
}

fn process(pid: Pid, info: ProcessInfo) -> Process {
    Process {
        pid,
        parent: processes::parent(pid).filter(|parent| *parent != 0),
        container: container_id(&info.cgroup).map(str::to_owned),
        name: info.name,
        executable: info.executable,
        command: info.command,
        cgroup: info.cgroup,
    }
}

/// There is such a process, it has a program, and we may look into it.
fn check(pid: Pid) -> anyhow::Result<()> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
        return Err(NotExplained::Absent.into());
    };
    let field = |name: &str| {
        let mut lines = status.lines();
        Some(lines.find_map(|line| line.strip_prefix(name))?.trim())
    };
    let group = field("Tgid:").and_then(|text| text.parse().ok());
    if let Some(group) = group.filter(|group| *group != pid) {
        return Err(NotExplained::Thread(group).into());
    }
    let is_zombie = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    // Kernel threads have no memory of their own.
    if is_zombie || field("VmSize:").is_none() {
        return Err(NotExplained::NoProgram.into());
    }
    for file in ["exe", "environ"] {
        let path = format!("/proc/{pid}/{file}");
        let read = match file {
            "exe" => fs::read_link(&path).map(|_| ()),
            _ => fs::File::open(&path).map(|_| ()),
        };
        read.map_err(|error| not_readable(pid, &error))?;
    }
    Ok(())
}

fn not_readable(pid: Pid, error: &io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::NotFound => NotExplained::Absent.into(),
        _ => CannotTrace {
            what: format!("cannot look into process {pid}"),
            why: error.to_string(),
            remedy: "run as root, or grant CAP_SYS_PTRACE".to_owned(),
        }
        .into(),
    }
}
