//! How it is found which request of a process caused which of its calls.
//!
//! The process is looked at by the functions that the agent itself uses; only its threads are asked of
//! the interpreter instead of the kernel.

use kaos_ebpf::python::{DIRECT, PYTHON_NO_CONTEXTS, PYTHON_THREADS, PythonLayout};
use serde::Serialize;

use super::traced::Traced;
use crate::capture::event::Pid;
use crate::capture::python;
use crate::capture::python::finder::{self, CONTEXT_MADE, STREAM_FLUSH};
use crate::capture::python::interpreter::{Interpreter, Mapped};
use crate::capture::running::python_layout;
use crate::capture::uprobes::{InspectedFile, inspect};

/// How it is found which request caused a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Causes {
    /// `contexts`, `threads`, or `one request in flight`.
    pub method: &'static str,
    /// What that comes to, and why it is nothing better.
    pub why: String,
    /// What was found in an interpreter of Python, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<Python>,
}

/// What was found in an interpreter of Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Python {
    /// The file that has it.
    pub file: String,
    /// Its version, as it says itself.
    pub version: Option<String>,
    /// From the thread pointer to the thread state, or to what leads there.
    pub slot: Option<i32>,
    /// From where the slot points to, to the thread state's own slot, where the C library has it
    /// behind a pointer.
    pub slot_behind: Option<i32>,
    /// From the thread state to the running context.
    pub context: Option<u32>,
    /// A thread that runs in no context of its own does one thing at a time.
    pub threads_count: bool,
    /// What is probed, or would be where nobody follows it (`followed_by`).
    pub probes: Vec<Probe>,
    /// Agents that follow what runs in the process.
    pub followed_by: Vec<Pid>,
    /// Why it cannot be followed, if so.
    pub problem: Option<String>,
}

/// A place that is probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The function.
    pub function: &'static str,
    /// The program that runs there.
    pub program: &'static str,
    /// The file that has it.
    pub file: String,
    /// Offset of the instruction in the file.
    pub offset: u64,
    /// The kernel emulates the instruction, which costs a tenth of stepping over it.
    pub emulated: bool,
}

/// What holds where nothing better does.
const ONE_IN_FLIGHT: &str = "a call belongs to the one request that its process serves, whatever made \
                             it, but for a GET that is repeated while none is served; with several at \
                             once only a traceparent tells";

/// Part of the path of uvloop's code.
const UVLOOP: &str = "/uvloop/loop.";
/// What holds where its functions were not found.
const UVLOOP_UNKNOWN: &str = ". The functions with which uvloop sends were not found in its file, neither \
                              by name nor by what they call themselves in tracebacks: what it sends \
                              later than it is written (always, with uvloop 0.21) is of unknown cause";

impl Causes {
    pub(super) fn of(pid: Pid, traced: &Traced) -> Self {
        let files = inspect(pid);
        let has_interpreter = |file: &&InspectedFile| {
            let mut sites = file.sites.iter();
            sites.any(|site| site.program == CONTEXT_MADE)
        };
        let Some(file) = files.iter().find(has_interpreter) else {
            return Self {
                method: "one request in flight",
                why: ONE_IN_FLIGHT.to_owned(),
                python: None,
            };
        };
        let examined = python::examine(pid, &file.path, None);
        let mut python = Python {
            file: file.path.to_string_lossy().into_owned(),
            version: None,
            slot: None,
            slot_behind: None,
            context: None,
            threads_count: false,
            probes: files.iter().flat_map(probes).collect(),
            followed_by: followed_by(pid, traced),
            problem: None,
        };
        let (method, mut why) = match examined {
            Ok((interpreter, layout)) => python.found(interpreter, &layout),
            Err(failure) => {
                python.problem = Some(failure.to_string());
                let why = format!("{ONE_IN_FLIGHT}. Its contexts cannot be followed: {failure}");
                ("one request in flight", why)
            }
        };
        let is_flush = |probe: &Probe| probe.program == STREAM_FLUSH;
        if Mapped::of(pid).has(UVLOOP) && !python.probes.iter().any(is_flush) {
            why += UVLOOP_UNKNOWN;
        }
        Self {
            method,
            why,
            python: Some(python),
        }
    }
}

impl Python {
    fn found(&mut self, interpreter: Interpreter, layout: &PythonLayout) -> (&'static str, String) {
        let has_contexts = layout.flags & PYTHON_NO_CONTEXTS == 0;
        self.version = interpreter.version;
        self.slot = Some(layout.slot);
        self.slot_behind = (layout.slot_behind != DIRECT).then_some(layout.slot_behind);
        self.context = has_contexts.then_some(layout.context);
        self.threads_count = layout.flags & PYTHON_THREADS != 0;
        if has_contexts {
            let why =
                "a call belongs to the request for which the context was made that it runs in";
            ("contexts", why.to_owned())
        } else {
            let why = "its main thread runs in no context now: until one does, a call belongs to the \
                       request that its thread serves";
            ("threads", why.to_owned())
        }
    }
}

/// What is probed in a file to know what runs.
fn probes(file: &InspectedFile) -> impl Iterator<Item = Probe> {
    let sites = file.sites.iter();
    let ours = sites.filter(|site| finder::PROGRAMS.contains(&site.program));
    ours.map(|site| Probe {
        function: site.function,
        program: site.program,
        file: file.path.to_string_lossy().into_owned(),
        offset: site.offset,
        emulated: site.place.emulated,
    })
}

/// Agents in whose tables the process is with how it is followed. Where one may not be looked into,
/// [`Traced`] says so.
fn followed_by(pid: Pid, traced: &Traced) -> Vec<Pid> {
    let agents = traced.agents.iter().map(|tracer| tracer.pid);
    let follows = |agent: &Pid| python_layout(*agent, pid).is_ok_and(|layout| layout.is_some());
    agents.filter(follows).collect()
}
