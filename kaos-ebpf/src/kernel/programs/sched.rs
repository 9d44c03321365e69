//! The life of processes.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kaos_ebpf::process::{CANDIDATE, EXCLUDED, Process, SELECTED};
use kaos_ebpf::record::Life;

use crate::kernel::cgroups;
use crate::kernel::maps::PROCESSES;
use crate::kernel::processes::{current, find, pid_of, pointer, select, selection, tell};
use crate::kernel::program;
use crate::kernel::read::kernel;
use crate::kernel::settings::setting;
use crate::kernel::tls;

/// `sched_process_fork(parent, child)`, for threads too.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(context: BtfTracePointContext) -> i32 {
    let _ = try_fork(pointer(&context, 0), pointer(&context, 1));
    0
}

#[inline(always)]
fn try_fork(parent: u64, child: u64) -> Option<()> {
    let parent_pid = pid_of(parent)?;
    let pid = pid_of(child)?;
    if pid == parent_pid {
        return None;
    }
    if let Some(process) = find(parent_pid)
        && process.selection & (SELECTED | CANDIDATE) != 0
    {
        // A child has the memory of its parent, so what runs in it is found in the same place. None
        // of its threads is in anything yet.
        let mut inherited = *process;
        inherited.selection &= SELECTED | CANDIDATE;
        inherited.python.flushing = 0;
        if select(pid, &inherited) {
            tell(pid, Life::Forked, parent_pid, inherited.selection);
        }
    } else if setting!(match_cgroups) != 0
        && cgroups::holds(child)
        && select(pid, &Process::new(SELECTED))
    {
        // Forked right into a selected cgroup (`CLONE_INTO_CGROUP`).
        tell(pid, Life::Selected, 0, SELECTED);
    }
    Some(())
}

/// `sched_process_exec(task, old_pid, bprm)`
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(context: BtfTracePointContext) -> i32 {
    let _ = try_exec(pointer(&context, 0), pointer(&context, 2));
    0
}

#[inline(always)]
fn try_exec(task: u64, executed: u64) -> Option<()> {
    let pid = pid_of(task)?;
    let mut now = selection(pid);
    if now & EXCLUDED != 0 {
        return None;
    }
    if now & SELECTED == 0 && setting!(match_executables) != 0 {
        // Captured from its first byte, until user space has matched its path.
        now = CANDIDATE;
    }
    // What was known of it is true no more.
    if now != 0 && select(pid, &Process::new(now)) {
        program::tell(task, executed, pid, now)?;
    }
    Some(())
}

/// `sched_process_exit(task, …)`, for every thread.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(context: BtfTracePointContext) -> i32 {
    let _ = try_exit(pointer(&context, 0));
    0
}

#[inline(always)]
fn try_exit(task: u64) -> Option<()> {
    let pid = pid_of(task)?;
    let known = selection(pid);
    if known == 0 {
        return None;
    }
    tls::thread_ended(current().tid);
    let signal: u64 = kernel(task, setting!(offsets.task_signal))?;
    let threads_alive: i32 = kernel(signal, setting!(offsets.signal_live))?;
    if threads_alive == 0 {
        let _ = PROCESSES.remove(&pid);
        tell(pid, Life::Exited, 0, known);
    }
    Some(())
}
