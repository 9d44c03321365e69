//! What runs in a Python process: the context (`contextvars.Context`) of the calling thread.
//!
//! User space has found out where the interpreter keeps it ([`PythonLayout`]); here it is read, at
//! most five reads of user memory, each of which may fail without harm.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_loop};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::python::{
    DIRECT, MOST_SEARCHED, PYTHON_NO_CONTEXTS, PYTHON_SEARCH, PYTHON_THREADS,
    PYTHON_THREADS_HAVE_CONTEXTS, PythonLayout, STATE_BYTES,
};
use kaos_ebpf::record::{ContextRecord, FLAG_FIRST_CONTEXT, FLAG_LABELLED, FLAG_THREADS_OWN, Kind};

use super::count::count;
use super::maps::{FLUSHING, PYTHON, STREAM_LABELS};
use super::payload::{GO_ON, STOP};
use super::processes::{Task, header};
use super::read::kernel;
use super::ring::output;
use super::settings::setting;

/// What ran.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Label {
    /// Name of the context, or 0 for the thread itself.
    pub context: u64,
    /// The process's.
    pub epoch: u32,
    /// 1: it is known what ran, 2: and it is the context that the thread began in.
    known: u32,
}

/// A stream of uvloop in a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Stream {
    /// Address of its object.
    pub object: u64,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub padding: u32,
}

impl Label {
    /// It is not known what ran.
    pub const UNKNOWN: Self = Self {
        context: 0,
        epoch: 0,
        known: 0,
    };

    /// Flags of a record with this label.
    #[inline(always)]
    pub fn flags(&self) -> u16 {
        match self.known {
            0 => 0,
            1 => FLAG_LABELLED,
            _ => FLAG_LABELLED | FLAG_THREADS_OWN,
        }
    }
}

/// What runs now.
#[inline(always)]
pub fn label(task: Task) -> Label {
    let Some(layout) = layout(task) else {
        return Label::UNKNOWN;
    };
    // SAFETY: the value is copied out; only this thread writes it.
    if let Some(flushed) = unsafe { FLUSHING.get(&task.tid) } {
        return *flushed;
    }
    running(task, layout)
}

/// How a process is followed. Words of it are written here, too: those that say where contexts are,
/// always the same for a process, and the epoch.
#[inline(always)]
fn layout(task: Task) -> Option<&'static mut PythonLayout> {
    let layout = PYTHON.get_ptr_mut(&task.pid)?;
    // SAFETY: entries stay valid for the run of a program; user space replaces them whole, with a new
    // epoch.
    Some(unsafe { &mut *layout })
}

/// What runs now, as the interpreter has it.
#[inline(always)]
fn running(task: Task, layout: &mut PythonLayout) -> Label {
    match find_running(layout) {
        Some(context) if context != 0 => Label {
            context: context ^ setting!(scramble),
            epoch: layout.epoch,
            known: 1 + u32::from(is_threads_own(task, layout, context)),
        },
        Some(_) if layout.flags & PYTHON_THREADS != 0 => Label {
            context: 0,
            epoch: layout.epoch,
            known: 1,
        },
        // Of a followed process all the same.
        _ => Label {
            epoch: layout.epoch,
            ..Label::UNKNOWN
        },
    }
}

/// Address of the context that the thread has entered, 0 for none; `None` where the pointers lead
/// elsewhere.
#[inline(always)]
fn find_running(layout: &mut PythonLayout) -> Option<u64> {
    if layout.flags & PYTHON_NO_CONTEXTS != 0 {
        return Some(0);
    }
    // SAFETY: the helper has no conditions.
    let task = unsafe { bpf_get_current_task() };
    let thread_pointer: u64 = kernel(task, setting!(registers.thread_pointer))?;
    let mut slot = thread_pointer.wrapping_add(layout.slot as i64 as u64);
    if layout.slot_behind != DIRECT {
        slot = user::<u64>(slot)?.wrapping_add(layout.slot_behind as i64 as u64);
    }
    let state: u64 = user(slot)?;
    if state == 0 {
        // A thread that Python knows nothing of.
        return Some(0);
    }
    if layout.flags & PYTHON_SEARCH != 0 && !search(layout, state) {
        return Some(0);
    }
    let context: u64 = user(state.wrapping_add(layout.context as u64))?;
    if context == 0 {
        return Some(0);
    }
    let context_type: u64 = user(context.wrapping_add(layout.object_type as u64))?;
    if context_type != layout.context_type {
        count(Counter::NoContext, 1);
        return None;
    }
    // A thread that needs a context and has none gets one without entering it. It is the thread's
    // own, and made without a copy, at an address that another one had before.
    let entered: u32 = user(context.wrapping_add(layout.entered as u64))?;
    Some(if entered == 0 { 0 } else { context })
}

/// Looks through a thread state for a context, and remembers where it is: all of the process are
/// there.
#[inline(always)]
fn search(layout: &mut PythonLayout, state: u64) -> bool {
    let mut search = Search {
        state,
        context_type: layout.context_type,
        object_type: layout.object_type as u64,
        entered: layout.entered as u64,
        found: 0,
    };
    // SAFETY: `search` outlives the call, and `look` takes what is passed.
    unsafe {
        bpf_loop(
            STATE_BYTES / 8,
            look as *mut c_void,
            (&raw mut search).cast(),
            0,
        )
    };
    if search.found == 0 {
        return false;
    }
    layout.context = search.found as u32;
    layout.flags &= !PYTHON_SEARCH;
    true
}

/// A search through a thread state.
#[repr(C)]
struct Search {
    state: u64,
    context_type: u64,
    object_type: u64,
    entered: u64,
    /// Offset of the pointer to a context; 0 for none, where a thread state has something else.
    found: u64,
}

/// Looks at one word of a thread state.
extern "C" fn look(number: u64, search: *mut c_void) -> i64 {
    // SAFETY: `search` passes its own.
    let search = unsafe { &mut *search.cast::<Search>() };
    let offset = number * 8;
    let is_context = || {
        let object: u64 = user(search.state.wrapping_add(offset))?;
        if object == 0 || object % 8 != 0 {
            return None;
        }
        let object_type: u64 = user(object.wrapping_add(search.object_type))?;
        let entered: u32 = user(object.wrapping_add(search.entered))?;
        Some(object_type == search.context_type && entered <= 1)
    };
    if is_context() != Some(true) {
        return GO_ON;
    }
    search.found = offset;
    STOP
}

/// Whether a context that a thread has entered is the one that the thread began in: it was entered
/// from none.
#[inline(always)]
fn is_threads_own(task: Task, layout: &PythonLayout, context: u64) -> bool {
    /// From the number of those who entered a context back to the context that was left for it.
    const LEFT: u64 = 24;
    // Both in the initial pid namespace, which that of `task.pid` need not be.
    let is_main = bpf_get_current_pid_tgid() >> 32 == task.tid as u64;
    if layout.flags & PYTHON_THREADS_HAVE_CONTEXTS == 0 || is_main {
        return false;
    }
    let entered = u64::from(layout.entered);
    let left = user::<u64>(context.wrapping_add(entered).wrapping_sub(LEFT)).unwrap_or(0);
    // One that nobody entered is what the thread got when it needed one.
    left == 0 || user::<u32>(left.wrapping_add(entered)).unwrap_or(0) == 0
}

/// A context was made, a copy of the running one where `is_copy`.
#[inline(always)]
pub fn made(task: Task, context: u64, is_copy: bool) -> Option<()> {
    let layout = layout(task)?;
    if context == 0 {
        return None;
    }
    count(Counter::Contexts, 1);
    let first = layout.flags & PYTHON_NO_CONTEXTS != 0;
    if first {
        layout.flags = layout.flags & !PYTHON_NO_CONTEXTS | PYTHON_SEARCH;
        layout.searched = 0;
    }
    if layout.flags & PYTHON_SEARCH != 0 {
        layout.searched += 1;
        if layout.searched > MOST_SEARCHED {
            layout.flags &= !PYTHON_THREADS;
        }
    }
    let origin = if is_copy {
        running(task, layout)
    } else {
        Label::UNKNOWN
    };
    let mut flags = origin.flags();
    if first {
        flags |= FLAG_FIRST_CONTEXT;
    }
    let record = ContextRecord {
        header: header(Kind::Context, flags, task.pid),
        context: context ^ setting!(scramble),
        origin: origin.context,
        tid: task.tid,
        epoch: layout.epoch,
    };
    if !output(&raw const record, size_of::<ContextRecord>() as u64) {
        layout.epoch = layout.epoch.wrapping_add(1);
    }
    Some(())
}

/// Something writes to a stream of uvloop, which is flushed later, in no context.
#[inline(always)]
pub fn stream_written(task: Task, object: u64) -> Option<()> {
    let label = running(task, layout(task)?);
    STREAM_LABELS.insert(&stream(task, object), &label, 0).ok()
}

/// A stream of uvloop is flushed from now on.
#[inline(always)]
pub fn flush_began(task: Task, object: u64) -> Option<()> {
    // SAFETY: only the presence of the entry is looked at.
    unsafe { PYTHON.get(&task.pid) }?;
    // SAFETY: the value is copied out, and written by the thread that runs the loop alone.
    let label = unsafe { STREAM_LABELS.get(&stream(task, object)) };
    let label = label.copied().unwrap_or(Label::UNKNOWN);
    FLUSHING.insert(&task.tid, &label, 0).ok()
}

/// No stream of uvloop is flushed any more.
#[inline(always)]
pub fn flush_ended(task: Task) {
    // There is nothing to remove where the process is not followed.
    let _ = FLUSHING.remove(&task.tid);
}

#[inline(always)]
fn stream(task: Task, object: u64) -> Stream {
    Stream {
        object,
        pid: task.pid,
        padding: 0,
    }
}

/// A child has the memory of its parent, and so the same layout.
#[inline(always)]
pub fn forked(parent: u32, child: u32) {
    // SAFETY: the value is copied out; user space replaces it whole.
    if let Some(layout) = unsafe { PYTHON.get(&parent) } {
        // Where the map is full, the child is not followed.
        let _ = PYTHON.insert(&child, layout, 0);
    }
}

/// A process is gone, or executes another program.
#[inline(always)]
pub fn forget(pid: u32) {
    // Most processes are not in it.
    let _ = PYTHON.remove(&pid);
}

#[inline(always)]
fn user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}
