//! What the agent's programs in the kernel use, by the kernel's own account. They run in the time of
//! the processes that they observe, whose own need varies by more from window to window.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Switches the account of the run time of BPF programs.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// `BPF_PROG_TYPE_KPROBE` of `linux/bpf.h`, which the programs of uprobes have.
const UPROBES: &str = "2";

/// While it lives, the kernel keeps account of the run time of BPF programs. That itself takes some
/// nanoseconds of each run, which are not in the account.
pub struct Account {
    before: String,
}

impl Account {
    /// Switches it on.
    ///
    /// # Panics
    /// It cannot be: root is needed.
    #[must_use]
    pub fn open() -> Self {
        let before = fs::read_to_string(SWITCH).expect("the kernel has BPF");
        fs::write(SWITCH, "1").expect("root may switch it");
        Self { before }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, self.before.trim());
    }
}

/// What the programs of a process used since they were loaded, while an [`Account`] was open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Time in them. That of the traps that lead to uprobes is not in it.
    pub time: Duration,
    /// Times that one at a uprobe ran.
    pub traps: u64,
}

impl Used {
    /// By the programs of this process.
    ///
    /// # Panics
    /// The process does not run.
    #[must_use]
    pub fn by(pid: u32) -> Self {
        let directory = format!("/proc/{pid}/fdinfo");
        let descriptors = fs::read_dir(Path::new(&directory)).expect("the process runs");
        let mut used = Self::default();
        let mut seen = Vec::new();
        for descriptor in descriptors.flatten() {
            // Those that are closed meanwhile are no programs.
            let text = fs::read_to_string(descriptor.path()).unwrap_or_default();
            let Some(program) = Program::of(&text) else {
                continue;
            };
            if !seen.contains(&program.id) {
                seen.push(program.id);
                used.time += program.time;
                used.traps += program.traps;
            }
        }
        used
    }

    /// What was used since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            time: self.time.saturating_sub(before.time),
            traps: self.traps.saturating_sub(before.traps),
        }
    }
}

/// What `/proc/PID/fdinfo/FD` tells of a program.
struct Program {
    id: u64,
    time: Duration,
    traps: u64,
}

impl Program {
    fn of(fdinfo: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = fdinfo.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim()))
        };
        let number = |name: &str| field(name)?.parse::<u64>().ok();
        // Links have a `prog_id` too, and no account.
        let time = Duration::from_nanos(number("run_time_ns:")?);
        let is_uprobe = field("prog_type:") == Some(UPROBES);
        Some(Self {
            id: number("prog_id:")?,
            time,
            traps: if is_uprobe { number("run_cnt:")? } else { 0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_links() {
        let text = "pos:\t0\nprog_type:\t2\nprog_id:\t7\nrun_time_ns:\t1500\nrun_cnt:\t3\n";
        let program = Program::of(text).expect("a program");
        assert_eq!(
            (program.id, program.time, program.traps),
            (7, Duration::from_nanos(1500), 3)
        );
        let hook = Program::of(&text.replace("prog_type:\t2", "prog_type:\t26"));
        assert_eq!(hook.map(|hook| hook.traps), Some(0));
        assert!(Program::of("link_type:\ttracing\nprog_id:\t7\n").is_none());
    }
}
