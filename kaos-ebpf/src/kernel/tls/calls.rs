//! Calls that have begun and not returned yet.

use kaos_ebpf::counter::Counter;
use kaos_ebpf::record::DataHead;

use super::payload::Walk;
use crate::kernel::count::count;
use crate::kernel::maps::TLS_CALLS;
use crate::kernel::registers::argument;

/// A call of a function that moves bytes. It belongs to one thread, so it is also where its return
/// is worked on: a program on a function can be interrupted by another thread on its CPU, and must
/// not share memory with it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// The connection.
    pub ssl: u64,
    /// Which function: a `TlsFunction`.
    pub function: u64,
    /// The caller's buffer.
    pub buffer: u64,
    /// Its length.
    pub length: u64,
    /// Where the function writes how many bytes it moved, if it does.
    pub moved_at: u64,
    /// How far the capture is.
    pub walk: Walk,
    /// The record that is put together.
    pub head: DataHead,
}

/// Notes a call.
#[inline(always)]
pub fn begin(tid: u32, function: u64, ssl: u64, registers: u64) -> Option<()> {
    if TLS_CALLS.get_ptr(&tid).is_some() {
        count(Counter::TlsCallsLost, 1);
    }
    // SAFETY: a structure of integers, for which all bits zero is a value.
    let mut call: Call = unsafe { core::mem::zeroed() };
    call.ssl = ssl;
    call.function = function;
    call.buffer = argument(registers, 1)?;
    // An `int` or a `size_t`: what is above an `int` is not set where it is one, and the functions
    // that take a `size_t` are not given more than that in practice.
    call.length = argument(registers, 2)? & i32::MAX as u64;
    call.moved_at = argument(registers, 3)?;
    if TLS_CALLS.insert(&tid, &call, 0).is_err() {
        count(Counter::TlsCallsLost, 1);
    }
    Some(())
}

/// The call that this thread is in.
#[inline(always)]
pub fn find(tid: u32) -> Option<&'static mut Call> {
    let call = TLS_CALLS.get_ptr_mut(&tid)?;
    // SAFETY: entries stay valid for the run of a program, and only the running thread uses its own.
    Some(unsafe { &mut *call })
}

/// A thread is in no call any more.
#[inline(always)]
pub fn end(tid: u32) {
    // That there was none is as good.
    let _ = TLS_CALLS.remove(&tid);
}
