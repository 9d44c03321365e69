//! What runs in a Python process: the context (`contextvars.Context`) of the calling thread.
//!
//! User space has found out where the interpreter keeps it ([`PythonLayout`]); here it is read, at
//! most four reads of user memory, each of which may fail without harm.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_loop, bpf_probe_read_user as read_user,
};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::process::Process;
use kaos_ebpf::python::{
    ContextWords, DIRECT, MANY_THREADS, MOST_SEARCHED, PYTHON_NO_CONTEXTS, PYTHON_SEARCH,
    PYTHON_THREADS, PYTHON_THREADS_HAVE_CONTEXTS, PythonLayout, STATE_BYTES,
};
use kaos_ebpf::record::{ContextRecord, FLAG_FIRST_CONTEXT, FLAG_LABELLED, FLAG_THREADS_OWN, Kind};

use super::count::count;
use super::maps::STREAM_LABELS;
use super::payload::{GO_ON, STOP};
use super::processes::{Task, find, header};
use super::read::kernel;
use super::ring::output_quietly;
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

/// What runs now in a process that is captured.
#[inline(always)]
pub fn label(task: Task, process: &mut Process) -> Label {
    if process.is_python == 0 {
        return Label::UNKNOWN;
    }
    let layout = &mut process.python;
    if layout.flushing == task.tid {
        return Label {
            context: layout.flushed_context,
            epoch: layout.epoch,
            known: layout.flushed_known,
        };
    }
    let label = running(task, layout);
    if layout.flushing == MANY_THREADS && label.context == 0 {
        return Label {
            epoch: label.epoch,
            ..Label::UNKNOWN
        };
    }
    label
}

/// How a process is followed. Words of it are written here, too: those that say where contexts are,
/// always the same for a process, the epoch, and what is flushed.
#[inline(always)]
fn layout(task: Task) -> Option<&'static mut PythonLayout> {
    let process = find(task.pid)?;
    if process.is_python == 0 {
        return None;
    }
    Some(&mut process.python)
}

/// What runs now, as the interpreter has it.
#[inline(always)]
fn running(task: Task, layout: &mut PythonLayout) -> Label {
    match find_running(layout) {
        Some(entered) if entered.context != 0 => Label {
            context: entered.context ^ setting!(scramble),
            epoch: layout.epoch,
            known: 1 + u32::from(is_threads_own(task, layout, entered.left)),
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

/// The context that a thread has entered.
struct Entered {
    /// Its address, 0 for none.
    context: u64,
    /// Address of the one that was left for it, 0 for none.
    left: u64,
}

impl Entered {
    const NONE: Self = Self {
        context: 0,
        left: 0,
    };
}

/// What the thread has entered; `None` where the pointers lead elsewhere.
#[inline(always)]
fn find_running(layout: &mut PythonLayout) -> Option<Entered> {
    if layout.flags & PYTHON_NO_CONTEXTS != 0 {
        return Some(Entered::NONE);
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
        return Some(Entered::NONE);
    }
    if layout.flags & PYTHON_SEARCH != 0 && !search(layout, state) {
        return Some(Entered::NONE);
    }
    let context: u64 = user(state.wrapping_add(layout.context as u64))?;
    if context == 0 {
        return Some(Entered::NONE);
    }
    let words = words(layout, context)?;
    if words.context_type != layout.context_type {
        count(Counter::NoContext, 1);
        return None;
    }
    // A thread that needs a context and has none gets one without entering it. It is the thread's
    // own, and made without a copy, at an address that another one had before.
    if words.entered == 0 {
        return Some(Entered::NONE);
    }
    Some(Entered {
        context,
        left: words.left,
    })
}

/// What is of interest of a context, in one read: each costs more than the bytes that it reads.
#[inline(always)]
fn words(layout: &PythonLayout, context: u64) -> Option<ContextWords> {
    let mut words = ContextWords {
        context_type: 0,
        left: 0,
        others: [0; 2],
        entered: 0,
        padding: 0,
    };
    let from = context.wrapping_add(layout.object_type as u64);
    // SAFETY: the helper checks the address; so many bytes fit.
    let result = unsafe {
        read_user(
            (&raw mut words).cast(),
            ContextWords::BYTES,
            from as *const c_void,
        )
    };
    if result == 0 { Some(words) } else { None }
}

/// Looks through a thread state for a context, and remembers where it is: all of the process are
/// there.
#[inline(always)]
fn search(layout: &mut PythonLayout, state: u64) -> bool {
    let mut search = Search {
        state,
        context_type: layout.context_type,
        object_type: layout.object_type as u64,
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
        let from = object.wrapping_add(search.object_type);
        let object_type: u64 = user(from)?;
        let entered: u32 = user(from.wrapping_add(ContextWords::ENTERED as u64))?;
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
fn is_threads_own(task: Task, layout: &PythonLayout, left: u64) -> bool {
    // Both in the initial pid namespace, which that of `task.pid` need not be.
    let is_main = bpf_get_current_pid_tgid() >> 32 == task.tid as u64;
    if layout.flags & PYTHON_THREADS_HAVE_CONTEXTS == 0 || is_main {
        return false;
    }
    // One that nobody entered is what the thread got when it needed one.
    let entered = u64::from(layout.object_type + ContextWords::ENTERED);
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
    if !output_quietly(&raw const record, size_of::<ContextRecord>() as u64) {
        layout.epoch = layout.epoch.wrapping_add(1);
    }
    Some(())
}

/// Something writes to a stream of uvloop, which is flushed later, in no context.
#[inline(always)]
pub fn stream_written(task: Task, object: u64) -> Option<()> {
    let label = running(task, layout(task)?);
    let stream = stream(task, object);
    // In place, as for nearly all: to replace an entry of a map costs several times as much.
    if let Some(entry) = STREAM_LABELS.get_ptr_mut(&stream) {
        // SAFETY: entries stay valid for the run of a program, and the thread that runs the loop is the
        // only one that uses this one.
        unsafe { *entry = label };
        return Some(());
    }
    STREAM_LABELS.insert(&stream, &label, 0).ok()
}

/// A stream of uvloop is flushed from now on.
#[inline(always)]
pub fn flush_began(task: Task, object: u64) -> Option<()> {
    let layout = layout(task)?;
    // One of its own whose end was not seen is over.
    if layout.flushing != 0 && layout.flushing != task.tid {
        layout.flushing = MANY_THREADS;
        return None;
    }
    // SAFETY: the value is copied out, and written by the thread that runs the loop alone.
    let label = unsafe { STREAM_LABELS.get(&stream(task, object)) };
    // What was written before its epoch says nothing of now.
    let label = label.copied().unwrap_or(Label::UNKNOWN);
    layout.flushed_context = label.context;
    layout.flushed_known = if label.epoch == layout.epoch {
        label.known
    } else {
        0
    };
    layout.flushing = task.tid;
    Some(())
}

/// No stream of uvloop is flushed any more.
#[inline(always)]
pub fn flush_ended(task: Task) {
    if let Some(layout) = layout(task)
        && layout.flushing == task.tid
    {
        layout.flushing = 0;
    }
}

#[inline(always)]
fn stream(task: Task, object: u64) -> Stream {
    Stream {
        object,
        pid: task.pid,
        padding: 0,
    }
}

#[inline(always)]
fn user<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}
