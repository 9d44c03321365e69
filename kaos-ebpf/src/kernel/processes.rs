//! Which processes are captured.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_ktime_get_ns};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::process::{CANDIDATE, EXCLUDED, Process, SELECTED};
use kaos_ebpf::record::{FLAG_CANDIDATE, Header, Kind, Life, ProcessRecord};

use super::count::count;
use super::maps::PROCESSES;
use super::read::kernel;
use super::ring::{emit, emit_urgent};
use super::settings::setting;

/// Process and thread that run now.
#[derive(Clone, Copy)]
pub struct Task {
    /// Process, as [`pid_of`] names it.
    pub pid: u32,
    /// Thread, by its number in the initial pid namespace: no number of two threads is the same.
    pub tid: u32,
}

/// The running thread, as [`Task`] names it.
#[inline(always)]
pub fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The running task.
#[inline(always)]
pub fn current() -> Task {
    let both = bpf_get_current_pid_tgid();
    let pid = if setting!(pid_namespace) == 0 {
        (both >> 32) as u32
    } else {
        // SAFETY: the helper has no conditions.
        number(unsafe { bpf_get_current_task() }).unwrap_or(0)
    };
    Task {
        pid,
        tid: both as u32,
    }
}

/// The number by which the agent finds a task's process in `/proc`; `None` where it cannot.
#[inline(always)]
pub fn pid_of(task: u64) -> Option<u32> {
    if setting!(pid_namespace) == 0 {
        kernel(task, setting!(offsets.task_tgid))
    } else {
        number(task)
    }
}

/// The same where the agent is in a pid namespace of its own, as in a node that is a container: the
/// second, or the third or fourth where that runs in containers itself. No loop: the verifier would
/// walk it as often as it can be left.
#[inline(always)]
fn number(task: u64) -> Option<u32> {
    let leader: u64 = kernel(task, setting!(offsets.task_leader))?;
    let numbers: u64 = kernel(leader, setting!(offsets.task_numbers))?;
    let level: u32 = kernel(numbers, setting!(offsets.numbers_level))?;
    let list = numbers + setting!(offsets.numbers_list) as u64;
    let at = |depth: u32| {
        let number = list + depth as u64 * setting!(offsets.number_bytes) as u64;
        let namespace: u64 = kernel(number, setting!(offsets.number_namespace))?;
        let inode: u32 = kernel(namespace, setting!(offsets.pid_namespace_inode))?;
        if inode != setting!(pid_namespace) {
            return None;
        }
        kernel(number, setting!(offsets.number_value))
    };
    if level >= 1
        && let Some(pid) = at(1)
    {
        return Some(pid);
    }
    if level >= 2
        && let Some(pid) = at(2)
    {
        return Some(pid);
    }
    if level >= 3 { at(3) } else { None }
}

/// What is known of a process.
#[inline(always)]
pub fn find(pid: u32) -> Option<&'static mut Process> {
    let process = PROCESSES.get_ptr_mut(&pid)?;
    // SAFETY: entries stay valid for the run of a program; what changes changes by whole words, and
    // user space replaces entries whole.
    Some(unsafe { &mut *process })
}

/// What the map says of a process, 0 for nothing.
#[inline(always)]
pub fn selection(pid: u32) -> u32 {
    match find(pid) {
        Some(process) => process.selection,
        None => 0,
    }
}

/// A process if it is captured: the one lookup that everything unselected costs. With
/// `select_all` a process is entered into the map when it is first met, so that its exec and exit
/// are told, and user space is told at once: it must look for its TLS library.
#[inline(always)]
pub fn captured(pid: u32) -> Option<&'static mut Process> {
    let process = match find(pid) {
        Some(process) => process,
        None => {
            if setting!(select_all) == 0 || !select(pid, &Process::new(SELECTED)) {
                return None;
            }
            tell(pid, Life::Selected, 0, SELECTED);
            find(pid)?
        }
    };
    if process.selection & (SELECTED | CANDIDATE) != 0 {
        Some(process)
    } else {
        None
    }
}

/// Enters a process; false for one that the agent cannot find, and, counted, where the map is full.
#[inline(always)]
pub fn select(pid: u32, process: &Process) -> bool {
    if pid == 0 {
        return false;
    }
    if PROCESSES.insert(&pid, process, 0).is_err() {
        count(Counter::ProcessMapFull, 1);
        return false;
    }
    true
}

/// Tells user space of a change in the life of a process.
#[inline(always)]
pub fn tell(pid: u32, change: Life, parent: u32, selection: u32) {
    let record = ProcessRecord {
        header: header(Kind::Process, candidate_flag(selection), pid),
        change: change as u32,
        parent,
    };
    if change as u32 == Life::Selected as u32 {
        // What it is must be read while it runs, and some programs do not run long.
        emit_urgent(&record);
    } else {
        emit(&record);
    }
}

/// `FLAG_CANDIDATE` for a candidate.
#[inline(always)]
pub fn candidate_flag(selection: u32) -> u16 {
    if selection & CANDIDATE != 0 {
        FLAG_CANDIDATE
    } else {
        0
    }
}

/// Selects the running process because of what it does, unless it is already.
#[inline(always)]
pub fn select_by_deed(pid: u32) {
    match find(pid) {
        Some(process) if process.selection & (SELECTED | EXCLUDED) != 0 => return,
        Some(process) => process.selection = SELECTED,
        None => {
            if !select(pid, &Process::new(SELECTED)) {
                return;
            }
        }
    }
    tell(pid, Life::Selected, 0, SELECTED);
}

/// The beginning of a record.
#[inline(always)]
pub fn header(kind: Kind, flags: u16, pid: u32) -> Header {
    Header {
        kind: kind as u16,
        flags,
        pid,
        // SAFETY: the helper has no conditions.
        at: unsafe { bpf_ktime_get_ns() },
    }
}

/// An argument of a BTF tracepoint that points to a kernel structure.
#[inline(always)]
pub fn pointer(context: &impl EbpfContext, index: usize) -> u64 {
    // SAFETY: the verifier knows how many arguments the tracepoint has.
    unsafe { *context.as_ptr().cast::<u64>().add(index) }
}
