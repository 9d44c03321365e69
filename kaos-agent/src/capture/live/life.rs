//! What becomes of processes: what is told of them, and followed in them.

use std::path::Path;
use std::time::{Duration, Instant};

use kaos_ebpf::record::Life;

use super::Live;
use crate::capture::clock::monotonic;
use crate::capture::event::{ContextChange, ContextEvent, Event, Pid, ProcessChange, ProcessEvent};
use crate::capture::processes::{self, Program};
use crate::capture::python::finder::CONTEXT_MADE;
use crate::capture::records::{ContextNews, Epoch, ProcessNews};
use crate::capture::selection;
use crate::settings::Selection;
use crate::time::Nanos;

/// How often it is looked for processes that ended unseen: one look-up for each that is known.
const SWEEP: Duration = Duration::from_secs(60);

impl Live {
    /// Tells the end of processes that are gone and whose end was not told, so that nobody keeps
    /// them. To be called with nothing in the ring, where the record of an end might wait.
    pub(super) fn sweep(&mut self, events: &mut Vec<Event>) {
        if self.last_sweep.elapsed() < SWEEP {
            return;
        }
        self.last_sweep = Instant::now();
        let is_gone = |pid: &Pid| !Path::new(&format!("/proc/{pid}")).exists();
        let mut gone: Vec<Pid> = self.alive.iter().copied().filter(is_gone).collect();
        gone.sort_unstable();
        for pid in gone {
            self.counters.ended_unseen += 1;
            self.alive.remove(&pid);
            self.described.remove(&pid);
            self.epochs.remove(&pid);
            self.kernel.reject(pid);
            self.uprobes.ended(pid);
            self.pythons.ended(pid);
            events.push(Event::Process(ProcessEvent {
                at: monotonic(),
                pid,
                change: ProcessChange::Exited,
            }));
        }
    }

    pub(super) fn process_news(
        &mut self,
        news: ProcessNews,
        program: Option<&Program>,
        events: &mut Vec<Event>,
    ) {
        if news.candidate && !self.decide(news, program) {
            self.described.remove(&news.pid);
            self.uprobes.ended(news.pid);
            self.pythons.ended(news.pid);
            return;
        }
        match news.life {
            Life::Forked => {
                self.uprobes.forked(news.parent, news.pid);
                self.pythons.forked(news.parent, news.pid, Instant::now());
            }
            Life::Executed | Life::Selected => {
                self.pythons.ended(news.pid);
                self.uprobes.started(news.pid, &mut self.kernel);
                self.notice_interpreter(news.pid);
            }
            Life::Exited => {
                self.uprobes.ended(news.pid);
                self.pythons.ended(news.pid);
            }
        }
        let change = match news.life {
            Life::Forked => ProcessChange::Forked {
                parent: news.parent,
            },
            Life::Executed => ProcessChange::Executed,
            Life::Exited => ProcessChange::Exited,
            Life::Selected => {
                self.describe(news.pid, program, news.at, events);
                return;
            }
        };
        self.described.remove(&news.pid);
        self.epochs.remove(&news.pid);
        match news.life {
            Life::Exited => self.alive.remove(&news.pid),
            _ => self.alive.insert(news.pid),
        };
        events.push(Event::Process(ProcessEvent {
            at: news.at,
            pid: news.pid,
            change,
        }));
        // At once: a short-lived program may be gone when its first data is read.
        if news.life == Life::Executed {
            self.describe(news.pid, program, news.at, events);
        }
    }

    /// Matches a candidate's executable; false where it does not match.
    fn decide(&mut self, news: ProcessNews, program: Option<&Program>) -> bool {
        if news.life == Life::Exited {
            return !self.rejected.contains(&news.pid);
        }
        let Selection::Matching(selectors) = &self.selection else {
            return true;
        };
        let matches = processes::executable_or_path(news.pid, program)
            .is_some_and(|path| selection::matches_executable(&selectors.executables, &path));
        if matches {
            self.rejected.remove(&news.pid);
            self.kernel.confirm(news.pid);
        } else {
            self.rejected.insert(news.pid);
            self.kernel.reject(news.pid);
        }
        matches
    }

    /// Follows a process that has an interpreter.
    pub(super) fn notice_interpreter(&mut self, pid: Pid) {
        let file = self.uprobes.files_of(pid).find(|file| {
            let mut sites = file.sites.iter();
            sites.any(|site| site.program == CONTEXT_MADE)
        });
        if let Some(file) = file {
            self.pythons.found(pid, &file.path, Instant::now());
        }
    }

    pub(super) fn context_news(&mut self, news: ContextNews, events: &mut Vec<Event>) {
        let ContextNews { at, pid, tid, .. } = news;
        if news.first {
            self.pythons.first_context(pid);
        }
        self.epoch(pid, at, news.epoch, events);
        events.push(Event::Context(ContextEvent {
            at,
            pid,
            tid,
            change: ContextChange::Made {
                context: news.context,
                origin: news.origin,
            },
        }));
    }

    /// A record of a Python process has this epoch: tells where it is a new one.
    pub(super) fn epoch(&mut self, pid: Pid, at: Nanos, epoch: Epoch, events: &mut Vec<Event>) {
        let before = self.epochs.insert(pid, epoch);
        if before.is_some_and(|before| before != epoch) {
            self.counters.unseen_contexts += 1;
            events.push(Event::Context(ContextEvent {
                at,
                pid,
                tid: 0,
                change: ContextChange::Unseen,
            }));
        }
    }

    /// Follows a process no more that turned out not to be wanted.
    fn leave_out(&mut self, pid: Pid, at: Nanos, events: &mut Vec<Event>) {
        self.kernel.reject(pid);
        self.uprobes.ended(pid);
        self.pythons.ended(pid);
        self.rejected.insert(pid);
        // It is looked at again where it is selected again.
        self.described.remove(&pid);
        // What ran in it before its container was known was told: its end will not be.
        if self.alive.remove(&pid) {
            events.push(Event::Process(ProcessEvent {
                at,
                pid,
                change: ProcessChange::Exited,
            }));
        }
    }

    /// Tells what a process is, unless that was told; false where it is not wanted.
    pub(super) fn describe(
        &mut self,
        pid: Pid,
        program: Option<&Program>,
        at: Nanos,
        events: &mut Vec<Event>,
    ) -> bool {
        if self.described.insert(pid) {
            let info = processes::describe(pid, program);
            let is_excluded = self
                .pods
                .as_mut()
                .is_some_and(|pods| pods.exclude(&info, &mut self.kernel));
            if is_excluded {
                self.leave_out(pid, at, events);
                return false;
            }
            self.counters.described_processes += 1;
            self.alive.insert(pid);
            events.push(Event::Process(ProcessEvent {
                at,
                pid,
                change: ProcessChange::Described(Box::new(info)),
            }));
        }
        true
    }
}
