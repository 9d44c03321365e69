//! What the process may use, and what is given up when it comes close to that.
//!
//! Everything that is kept has a bound of its own; together they may be more than a small container
//! has. What is given up, in this order, is the least that helps: see [`Pressure`]. The limit is the
//! container's where none is given; what is left above the last step is for the kernel's maps, which
//! count as the container's memory and not as the process's.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::Current as _;
use procfs::process::Process;

use crate::health::counters::Counters;
use crate::health::heap;
use crate::time::Nanos;

/// How often memory that was freed is looked at. The first time is right after the start, which needs
/// several times what is needed later: the kernel's types are read, and programs of other processes.
const TIDY_EVERY: Nanos = 60_000_000_000;

/// Freed memory that may stay with the allocator: giving it back and getting it again costs more than
/// so little is worth.
const MOST_FREE: u64 = 8 << 20;

/// How often the process's memory is looked at.
const EVERY: Nanos = 1_000_000_000;

/// How close to its limit the process is, and so what is given up; each step includes those before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pressure {
    /// Nothing.
    #[default]
    None,
    /// New connections: they are never followed (`streams.refused`). From 70 % on.
    Connections,
    /// What waits for the rest of a head or of an event (`protocols.buffers_exhausted`). From 80 % on.
    Messages,
    /// Spans that wait for a collector (`export.spans_dropped_memory`). From 90 % on.
    Spans,
}

impl Pressure {
    fn of(resident: u64, limit: u64) -> Self {
        let percent = u128::from(resident) * 100 / u128::from(limit.max(1));
        match percent {
            0..70 => Self::None,
            70..80 => Self::Connections,
            80..90 => Self::Messages,
            90.. => Self::Spans,
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::None => "nothing is given up any more",
            Self::Connections => "new connections are not followed",
            Self::Messages => "new connections are not followed, messages that wait are given up",
            Self::Spans => {
                "new connections are not followed, messages and spans that wait are given up"
            }
        }
    }
}

/// Looks at the process's memory from time to time.
#[derive(Debug)]
pub(super) struct Memory {
    limit: Option<u64>,
    looked_at: Nanos,
    pressure: Pressure,
    /// Looks at which something was given up.
    short: u64,
    tidied_at: Nanos,
}

impl Memory {
    /// Within this limit, in bytes, or the container's; nothing is ever given up where it is 0, or
    /// there is none.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            limit: effective(limit),
            looked_at: 0,
            pressure: Pressure::None,
            short: 0,
            tidied_at: 0,
        }
    }

    /// Gives back what was freed, now and then and where it is much.
    pub(super) fn tidy(&mut self, now: Nanos) {
        if now < self.tidied_at + TIDY_EVERY {
            return;
        }
        self.tidied_at = now;
        if heap::look().is_some_and(|heap| heap.free > MOST_FREE) {
            heap::give_back();
        }
    }

    /// The limit is another from now on.
    pub(super) fn set_limit(&mut self, limit: Option<u64>) {
        self.limit = effective(limit);
    }

    /// What is to be given up, once a second and where there is a limit; `None` in between.
    pub(super) fn look(&mut self, now: Nanos) -> Option<Pressure> {
        // Once more after a limit was taken away, so that what is held back is let in again.
        if self.limit.is_none() && self.pressure == Pressure::None {
            return None;
        }
        if now < self.looked_at + EVERY {
            return None;
        }
        self.looked_at = now;
        let (resident, limit) = (resident()?, self.limit.unwrap_or(u64::MAX));
        let pressure = Pressure::of(resident, limit);
        if pressure != self.pressure {
            let consequence = pressure.consequence();
            let of = self
                .limit
                .map_or_else(String::new, |limit| format!(" of {limit}"));
            tracing::warn!("memory is at {resident}{of} bytes: {consequence}");
        }
        self.pressure = pressure;
        self.short += u64::from(pressure > Pressure::None);
        Some(pressure)
    }
}

impl Counters for Memory {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("memory.short", self.short);
    }

    fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("memory.limit_bytes", self.limit.unwrap_or_default());
        visit("memory.pressure", self.pressure as u64);
    }
}

fn effective(limit: Option<u64>) -> Option<u64> {
    limit.or_else(container_limit).filter(|limit| *limit > 0)
}

fn resident() -> Option<u64> {
    let pages = Process::myself().ok()?.statm().ok()?.resident;
    Some(pages * procfs::page_size())
}

/// What the control group of this process, or one above it, may use; `None` where that is no less
/// than the machine has.
fn container_limit() -> Option<u64> {
    let process = Process::myself().ok()?;
    let mounts = process.mountinfo().ok()?;
    let machine = procfs::Meminfo::current().ok()?.mem_total;
    let limits = process.cgroups().ok()?.into_iter().filter_map(|group| {
        let is_v1 = group.controllers.iter().any(|name| name == "memory");
        let mount = mounts.0.iter().find(|mount| match is_v1 {
            true => mount.fs_type == "cgroup" && mount.super_options.contains_key("memory"),
            false => mount.fs_type == "cgroup2",
        })?;
        let file = match (is_v1, group.hierarchy) {
            (true, _) => "memory.limit_in_bytes",
            (false, 0) => "memory.max",
            (false, _) => return None,
        };
        smallest(&mount.mount_point, Path::new(&group.pathname), file)
    });
    limits.min().filter(|limit| *limit < machine)
}

/// The smallest limit of a control group and those above it.
fn smallest(hierarchy: &Path, group: &Path, file: &str) -> Option<u64> {
    let group = hierarchy.join(group.strip_prefix("/").unwrap_or(group));
    let up: Vec<PathBuf> = group
        .ancestors()
        .take_while(|directory| directory.starts_with(hierarchy))
        .map(|directory| directory.join(file))
        .collect();
    up.iter()
        // `max` is no number: no limit.
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_grows_with_what_is_used() {
        let at = |percent: u64| Pressure::of(percent * 10, 1000);
        assert_eq!(at(69), Pressure::None);
        assert_eq!(at(70), Pressure::Connections);
        assert_eq!(at(80), Pressure::Messages);
        assert_eq!(at(90), Pressure::Spans);
        assert_eq!(at(200), Pressure::Spans);
    }

    #[test]
    fn it_looks_once_a_second_and_counts_when_memory_is_short() {
        let mut memory = Memory::new(Some(1));
        assert_eq!(memory.look(EVERY), Some(Pressure::Spans));
        assert_eq!(memory.look(2 * EVERY - 1), None);
        assert_eq!(memory.look(2 * EVERY), Some(Pressure::Spans));
        assert_eq!(memory.short, 2);
        // All is let in again where the limit is taken away, and then it does not look any more.
        memory.set_limit(Some(0));
        assert_eq!(memory.look(3 * EVERY), Some(Pressure::None));
        assert_eq!(memory.look(4 * EVERY), None);
        assert_eq!(Memory::new(Some(0)).look(EVERY), None);
        let enough = Memory::new(Some(u64::MAX)).look(EVERY);
        assert_eq!(enough, Some(Pressure::None));
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let container = root.path().join("pods/one");
        fs::create_dir_all(&container).expect("directories");
        let set = |directory: &str, text: &str| {
            fs::write(root.path().join(directory).join("memory.max"), text).expect("a file");
        };
        let found = || smallest(root.path(), Path::new("/pods/one"), "memory.max");
        assert_eq!(found(), None);
        set("pods/one", "max\n");
        assert_eq!(found(), None);
        set("pods", "3000\n");
        assert_eq!(found(), Some(3000));
        set("pods/one", "2000\n");
        assert_eq!(found(), Some(2000));
    }
}
