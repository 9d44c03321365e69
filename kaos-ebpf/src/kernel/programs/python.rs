//! Probes in the interpreter and in uvloop, and the iterator by which user space learns where the
//! threads of a process keep what is their own.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_get_attach_cookie, bpf_seq_write};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use kaos_ebpf::python::{COPY, ThreadRecord};

use crate::kernel::processes::{captured, current, pid_of};
use crate::kernel::python;
use crate::kernel::read::kernel;
use crate::kernel::settings::setting;

/// Return of what makes contexts: `PyContext_CopyCurrent`, whose cookie is [`COPY`], and others.
#[uretprobe(multi)]
pub fn context_made(context: RetProbeContext) -> u32 {
    // SAFETY: the helper takes the program's own context.
    let is_copy = unsafe { bpf_get_attach_cookie(context.as_ptr()) } == COPY;
    let _ = python::made(current(), context.ret(), is_copy);
    0
}

/// `UVStream._buffer_write(self, …)`
#[uprobe(multi)]
pub fn stream_written(context: ProbeContext) -> u32 {
    if let Some(object) = context.arg(0) {
        let _ = python::stream_written(current(), object);
    }
    0
}

/// `UVStream._exec_write(self)`
#[uprobe(multi)]
pub fn stream_flush(context: ProbeContext) -> u32 {
    if let Some(object) = context.arg(0) {
        let _ = python::flush_began(current(), object);
    }
    0
}

/// Return of `UVStream._exec_write`.
#[uretprobe(multi)]
pub fn stream_flushed(_context: RetProbeContext) -> u32 {
    python::flush_ended(current());
    0
}

/// What an iterator over tasks is called with.
#[repr(C)]
struct TaskIteration {
    meta: *const IterationMeta,
    task: u64,
}

/// Beginning of `struct bpf_iter_meta`, which is an interface.
#[repr(C)]
struct IterationMeta {
    sequence: *mut c_void,
}

/// Tells each thread of a captured process.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn threads(context: *mut TaskIteration) -> i32 {
    let _ = try_thread(context);
    0
}

#[inline(always)]
fn try_thread(context: *mut TaskIteration) -> Option<()> {
    // SAFETY: the kernel calls iterators over tasks with this.
    let (meta, task) = unsafe { ((*context).meta, (*context).task) };
    if task == 0 {
        return None;
    }
    let pid = pid_of(task)?;
    captured(pid)?;
    let record = ThreadRecord {
        pid,
        padding: 0,
        thread_pointer: kernel(task, setting!(registers.thread_pointer))?,
    };
    // SAFETY: the record is ours, and so long. What does not fit the kernel asks for again.
    unsafe {
        bpf_seq_write(
            (*meta).sequence.cast(),
            (&raw const record).cast(),
            size_of::<ThreadRecord>() as u32,
        )
    };
    Some(())
}
