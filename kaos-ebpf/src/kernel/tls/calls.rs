//! Calls that have begun and not returned yet.

use kaos_ebpf::counter::Counter;
use kaos_ebpf::record::DataHead;
use kaos_ebpf::settings::TlsFunction;

use super::payload::Walk;
use crate::kernel::count::count;
use crate::kernel::maps::TLS_CALLS;
use crate::kernel::processes::Task;
use crate::kernel::python::Label;

/// A call of a function that moves bytes. It belongs to one thread, so it is also where its return
/// is worked on: a program on a function can be interrupted by another thread on its CPU, and must
/// not share memory with it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// The connection.
    pub ssl: u64,
    /// Which function: a `TlsFunction`, or [`NONE`].
    pub function: u64,
    /// The caller's buffer.
    pub buffer: u64,
    /// Its length.
    pub length: u64,
    /// Where the function writes how many bytes it moved, if it does.
    pub moved_at: u64,
    /// The process.
    pub pid: u32,
    /// Zero.
    pub padding: u32,
    /// How many bytes it moved; 0 for the end of the stream, negative where it did nothing.
    pub moved: i64,
    /// What ran as it returned.
    pub label: Label,
    /// How far the capture is.
    pub walk: Walk,
    /// The record that is put together.
    pub head: DataHead,
}

/// `Call::function` of a thread that is in no call. A thread keeps its entry for the next one: to take
/// it out and put it in again would cost as much as all the rest of a call that moves nothing.
const NONE: u64 = 0;

/// Notes a call.
#[inline(always)]
pub fn begin(task: Task, function: u64, arguments: [u64; 4]) -> Option<()> {
    let [ssl, buffer, length, moved_at] = arguments;
    let tid = task.tid;
    let Some(call) = TLS_CALLS.get_ptr_mut(&tid).or_else(|| enter(tid)) else {
        count(Counter::TlsCallsLost, 1);
        return None;
    };
    // SAFETY: entries stay valid for the run of a program, and only the running thread uses its own.
    let call = unsafe { &mut *call };
    if call.function == TlsFunction::Early as u64
        && function != TlsFunction::Early as u64
        && call.ssl == ssl
    {
        // What it calls moves early data, too.
        return None;
    }
    if call.function != NONE {
        count(Counter::TlsCallsLost, 1);
    }
    call.ssl = ssl;
    call.pid = task.pid;
    call.buffer = buffer;
    // An `int` or a `size_t`: what is above an `int` is not set where it is one, and the functions
    // that take a `size_t` are not given more than that in practice.
    call.length = length & i32::MAX as u64;
    call.moved_at = moved_at;
    call.function = function;
    Some(())
}

/// A thread's first call.
#[inline(always)]
fn enter(tid: u32) -> Option<*mut Call> {
    // SAFETY: a structure of integers, for which all bits zero is a value.
    let empty: Call = unsafe { core::mem::zeroed() };
    TLS_CALLS.insert(&tid, &empty, 0).ok()?;
    TLS_CALLS.get_ptr_mut(&tid)
}

/// The call that this thread is in.
#[inline(always)]
pub fn find(tid: u32) -> Option<&'static mut Call> {
    let call = TLS_CALLS.get_ptr_mut(&tid)?;
    // SAFETY: entries stay valid for the run of a program, and only the running thread uses its own.
    let call = unsafe { &mut *call };
    (call.function != NONE).then_some(call)
}

/// A thread has come back from its call.
#[inline(always)]
pub fn end(call: &mut Call) {
    call.function = NONE;
}

/// A thread is no more.
#[inline(always)]
pub fn forget(tid: u32) {
    // That there was none is as good.
    let _ = TLS_CALLS.remove(&tid);
}
