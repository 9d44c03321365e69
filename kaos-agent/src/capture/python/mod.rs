//! Python processes: how what runs in them is known.
//!
//! - **In:** processes that have an interpreter (the probe on [`finder::COPY_CURRENT`] says so), their
//!   memory, and the thread pointers of their threads, as the kernel has them.
//! - **Out:** a [`PythonLayout`] for the kernel for each of them, or why there is none.
//! - **Keeps:** what was found out of each.
//! - **Limits:** [`MOST_PROCESSES`]; reads of bounded size and number ([`layout`], [`memory`]); some
//!   [`TRIES`] with pauses between them that grow, while the interpreter starts.
//! - **Loses:** processes that cannot be followed (`python.not_followed`): what runs in them is unknown.

pub mod finder;
pub mod interpreter;
pub mod layout;
pub mod memory;
pub mod runtime;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kaos_ebpf::python::{
    PYTHON_NO_CONTEXTS, PYTHON_THREADS, PYTHON_THREADS_HAVE_CONTEXTS, PythonLayout, ThreadRecord,
};

use self::interpreter::{Interpreter, Mapped};
use self::memory::ProcessMemory;
use super::event::Pid;

/// Python processes that are known at a time.
pub const MOST_PROCESSES: usize = 8_192;
/// How often it is tried to find out how a process is to be followed.
const TRIES: u32 = 12;
/// Pause after the first try; each is twice as long as the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// An interpreter that starts slowly imports from a slow disk.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

crate::counters! {
    /// What became of Python processes.
    pub struct PythonCounters: "python" {
        /// Processes with an interpreter.
        processes,
        /// Of those, times that it was found out how to follow one.
        followed,
        /// Of those, how many cannot be followed.
        not_followed,
        /// Processes that were passed over because there are too many.
        over_limit,
    }
}

/// How a Python process is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// It has not been found out yet; what was in the way last time.
    Looking(String),
    /// By its contexts and threads.
    Contexts(Interpreter),
    /// By its threads: it has no contexts yet.
    Threads(Interpreter),
    /// Not at all, and why.
    Not(String),
}

/// The kernel's side of it.
pub trait Programs {
    /// Thread pointers of the threads of captured processes.
    ///
    /// # Errors
    /// The kernel does not tell, in words for a person.
    fn threads(&mut self) -> Result<Vec<ThreadRecord>, String>;

    /// Follows a process.
    ///
    /// # Errors
    /// There is no room.
    fn follow(&mut self, pid: Pid, layout: &PythonLayout) -> Result<(), String>;
}

#[derive(Debug)]
struct Process {
    path: PathBuf,
    following: Following,
    tries: u32,
    next: Option<Instant>,
}

/// All Python processes.
#[derive(Debug, Default)]
pub struct Pythons {
    processes: BTreeMap<Pid, Process>,
    /// The last epoch that was given to a process: each gets one of its own, so that nothing of
    /// before is taken for something of now. The kernel counts up from there.
    epoch: u32,
    counters: PythonCounters,
}

impl Pythons {
    /// What became of them.
    #[must_use]
    pub fn counters(&self) -> &PythonCounters {
        &self.counters
    }

    /// How a process is followed; `None` for one without an interpreter.
    #[must_use]
    pub fn following(&self, pid: Pid) -> Option<&Following> {
        Some(&self.processes.get(&pid)?.following)
    }

    /// A process has an interpreter.
    pub fn found(&mut self, pid: Pid, path: &Path, now: Instant) {
        if self
            .processes
            .get(&pid)
            .is_some_and(|known| known.path == path)
        {
            return;
        }
        if self.processes.len() >= MOST_PROCESSES {
            self.counters.over_limit += 1;
            return;
        }
        self.counters.processes += 1;
        self.processes.insert(
            pid,
            Process {
                path: path.to_owned(),
                following: Following::Looking("it was not looked at".to_owned()),
                tries: 0,
                next: Some(now),
            },
        );
    }

    /// A process was forked. The kernel follows it as its parent.
    pub fn forked(&mut self, parent: Pid, child: Pid, now: Instant) {
        let Some(known) = self.processes.get(&parent) else {
            return;
        };
        if self.processes.len() >= MOST_PROCESSES {
            self.counters.over_limit += 1;
            return;
        }
        self.counters.processes += 1;
        let next = matches!(known.following, Following::Looking(_)).then_some(now);
        let child_of = Process {
            path: known.path.clone(),
            following: known.following.clone(),
            tries: 0,
            next,
        };
        self.processes.insert(child, child_of);
    }

    /// A process is gone, or executes another program.
    pub fn ended(&mut self, pid: Pid) {
        self.processes.remove(&pid);
    }

    /// A process that had no context has one now. The kernel looks itself where: until we had, what
    /// the process does would be unknown, and from then on all that it did.
    pub fn first_context(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(&pid)
            && let Following::Threads(interpreter) = &process.following
        {
            process.following = Following::Contexts(interpreter.clone());
        }
    }

    /// A process has mapped something that may change how it is followed.
    pub fn mapped(&mut self, pid: Pid, now: Instant) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.tries = 0;
            process.next = Some(now);
        }
    }

    /// Finds out how processes are to be followed whose time has come. What is followed from now on
    /// is told to the kernel.
    pub fn look(&mut self, programs: &mut impl Programs, now: Instant) {
        let due = |process: &Process| process.next.is_some_and(|next| next <= now);
        if !self.processes.values().any(due) {
            return;
        }
        let threads = programs.threads();
        let pids: Vec<Pid> = self
            .processes
            .iter()
            .filter(|(_, process)| due(process))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in pids {
            let found = match &threads {
                Ok(threads) => self.look_at(pid, threads, programs),
                Err(failure) => Err(Failure::For(failure.clone())),
            };
            self.note(pid, found, now);
        }
    }

    fn look_at(
        &mut self,
        pid: Pid,
        threads: &[ThreadRecord],
        programs: &mut impl Programs,
    ) -> Result<Following, Failure> {
        let path = self.processes[&pid].path.clone();
        let pointers: Vec<u64> = threads
            .iter()
            .filter(|thread| thread.pid == pid)
            .map(|thread| thread.thread_pointer)
            .collect();
        let (interpreter, mut layout) = examine(pid, &path, Some(&pointers))?;
        self.epoch = self.epoch.wrapping_add(1 << 16);
        layout.epoch = self.epoch;
        programs.follow(pid, &layout).map_err(Failure::For)?;
        Ok(if layout.flags & PYTHON_NO_CONTEXTS == 0 {
            Following::Contexts(interpreter)
        } else {
            Following::Threads(interpreter)
        })
    }

    fn note(&mut self, pid: Pid, found: Result<Following, Failure>, now: Instant) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        process.next = None;
        match found {
            Ok(following) => {
                self.counters.followed += 1;
                process.following = following;
            }
            Err(Failure::Now(why)) if process.tries < TRIES => {
                let pause = FIRST_PAUSE * 2_u32.pow(process.tries);
                process.tries += 1;
                process.next = Some(now + pause.min(LONGEST_PAUSE));
                process.following = Following::Looking(why);
            }
            Err(Failure::Now(why) | Failure::For(why)) => {
                self.counters.not_followed += 1;
                tracing::debug!("process {pid} is not followed: {why}");
                process.following = Following::Not(why);
            }
        }
    }
}

/// Finds out how a process with an interpreter in this file can be followed, from the thread
/// pointers of its threads; where those are not given, from the one that the interpreter knows.
///
/// # Errors
/// Why it cannot be followed.
pub fn examine(
    pid: Pid,
    path: &Path,
    threads: Option<&[u64]>,
) -> Result<(Interpreter, PythonLayout), Failure> {
    let mapped = Mapped::of(pid);
    if mapped.has("/gevent/") {
        return Err(Failure::For(
            "gevent switches between requests inside of a thread, in no context".to_owned(),
        ));
    }
    let interpreter = mapped.interpreter(pid, path).map_err(Failure::Now)?;
    let memory = ProcessMemory(pid);
    let threads = match (threads, interpreter.runtime) {
        (Some(threads), _) => threads.to_vec(),
        (None, Some((address, length))) => runtime::thread_pointers(&memory, address, length),
        (None, None) => Vec::new(),
    };
    let context_type = &interpreter.context_type;
    let found = layout::find(&memory, context_type, &threads);
    let mut layout = found.map_err(|error| Failure::Now(error.to_string()))?;
    // uvloop reads in no context, and its thread is everybody's.
    if mapped.has("/uvloop/") {
        layout.flags &= !PYTHON_THREADS;
    }
    if interpreter.threads_have_contexts {
        layout.flags |= PYTHON_THREADS_HAVE_CONTEXTS;
    }
    Ok((interpreter, layout))
}

/// Why it was not found out how to follow a process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may be possible later.
    #[error("{0}")]
    Now(String),
    /// It will not be possible.
    #[error("{0}")]
    For(String),
}
