//! The bytes of a call, into the ring.
//!
//! They are read from the caller's buffer right into the ring. The ring hands out room only in sizes
//! that the verifier knows, so there are a few; what a record does not use of its room is not read.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user as read_user};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::record::{CHUNK_BYTES, DataHead, FLAG_STREAM_START};
use kaos_ebpf::sniff::sniff;
use kaos_ebpf::window::Window;

use super::calls::{self, Call};
use crate::kernel::connections::{Connection, MUTED};
use crate::kernel::count::count;
use crate::kernel::maps::RING;
use crate::kernel::payload::{GO_ON, Operation, STOP, foreign, head, smaller};
use crate::kernel::read::again;
use crate::kernel::ring::{output, wake};

/// Records per call: the largest budgets fill `2 * 1 MiB / 16 KiB` of them, and one is the gap.
const MOST_STEPS: u32 = 129;

/// Room for requests without a body and their answers.
const SMALL: usize = 1024;
/// Room for most messages of agents.
const MIDDLE: usize = 4096;

/// A walk through the buffer of a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Walk {
    /// Position of the first byte.
    position: u64,
    /// Bytes of the operation.
    total: u32,
    /// End of its captured head.
    head_end: u32,
    /// Start of its captured tail.
    tail_start: u32,
    /// How far the walk is.
    offset: u32,
}

/// Sends the bytes of a call to user space, in chunks, and what is passed over as a gap.
#[inline(always)]
pub fn capture(
    call: &mut Call,
    operation: &Operation,
    connection: &mut Connection,
    captured: Window,
) {
    if operation.flags & FLAG_STREAM_START != 0 {
        // SAFETY: the helper checks the address.
        let first = unsafe { bpf_probe_read_user(call.buffer as *const u64) };
        if foreign(sniff(first.unwrap_or(0), operation.total)) {
            connection.state |= MUTED;
            return;
        }
    }
    let over_budget = captured.tail_start - captured.head_end;
    if over_budget > 0 {
        count(Counter::OverBudgetBytes, over_budget as u64);
    }
    call.head = head(operation, connection);
    call.walk = Walk {
        position: operation.position,
        total: operation.total,
        head_end: captured.head_end,
        tail_start: captured.tail_start,
        offset: 0,
    };
    // Nearly all calls move one chunk. The loop is the helper's, and looks the call up at every step.
    if chunk(call) == GO_ON && again(&call.walk.offset) < operation.total {
        let mut tid = operation.task.tid;
        // SAFETY: `tid` outlives the call, and `step` takes what is passed.
        unsafe { bpf_loop(MOST_STEPS, step as *mut c_void, (&raw mut tid).cast(), 0) };
    }
    // Read again: `step` has changed it behind the reference that we hold.
    let offset = again(&call.walk.offset);
    if offset < operation.total {
        gap(call, operation.total - offset);
    }
}

/// One step of the walk of a thread.
extern "C" fn step(_number: u64, tid: *mut c_void) -> i64 {
    // SAFETY: `capture` passes its thread.
    match calls::find(unsafe { *tid.cast::<u32>() }) {
        Some(call) => chunk(call),
        None => STOP,
    }
}

/// Sends one chunk, or passes over the middle.
#[inline(always)]
fn chunk(call: &mut Call) -> i64 {
    let Walk {
        total,
        head_end,
        tail_start,
        offset,
        ..
    } = call.walk;
    if offset >= total {
        return STOP;
    }
    if offset >= head_end && offset < tail_start {
        gap(call, tail_start - offset);
        return GO_ON;
    }
    let end = if offset < head_end { head_end } else { total };
    let length = smaller(end - offset, CHUNK_BYTES as u32);
    call.head.position = call.walk.position + offset as u64;
    call.head.captured = length;
    call.head.skipped = 0;
    let from = call.buffer + offset as u64;
    let fate = if length <= SMALL as u32 {
        put::<SMALL>(&call.head, from)
    } else if length <= MIDDLE as u32 {
        put::<MIDDLE>(&call.head, from)
    } else {
        put::<CHUNK_BYTES>(&call.head, from)
    };
    let counter = match fate {
        Fate::Told => Counter::CapturedBytes,
        Fate::NoRoom => Counter::RingFullBytes,
        Fate::Unreadable => {
            count(Counter::UnreadableBytes, (total - offset) as u64);
            return STOP;
        }
    };
    count(counter, length as u64);
    call.head.header.flags &= !FLAG_STREAM_START;
    call.walk.offset = offset + length;
    GO_ON
}

/// Tells that the next `length` bytes moved and are not captured.
#[inline(always)]
fn gap(call: &mut Call, length: u32) {
    call.head.position = call.walk.position + call.walk.offset as u64;
    call.head.captured = 0;
    call.head.skipped = length;
    output(&raw const call.head, size_of::<DataHead>() as u64);
    call.head.header.flags &= !FLAG_STREAM_START;
    call.walk.offset += length;
}

/// A data record with room of its own size.
#[repr(C)]
struct Sized<const ROOM: usize> {
    head: DataHead,
    payload: [u8; ROOM],
}

/// What became of a chunk.
enum Fate {
    Told,
    NoRoom,
    Unreadable,
}

/// Whether a byte of each page of a buffer can be read.
#[inline(always)]
fn is_there<const ROOM: usize>(from: u64, length: u32) -> bool {
    /// The smallest that there are.
    const PAGE: usize = 4096;
    // SAFETY: the helper checks the address.
    let is_readable = |at: u64| unsafe { bpf_probe_read_user(at as *const u8) }.is_ok();
    // Always as many rounds: verifiers before 6.8 see no end in one that depends on the length.
    for page in 0..ROOM.div_ceil(PAGE) {
        let offset = (page * PAGE) as u32;
        if offset < length && !is_readable(from + offset as u64) {
            return false;
        }
    }
    is_readable(from + length as u64 - 1)
}

#[inline(always)]
fn put<const ROOM: usize>(head: &DataHead, from: u64) -> Fate {
    // Read again and masked wider than any length here, so that the verifier sees the bound on the
    // very register that the helper gets; the compiler would show it on a copy.
    // SAFETY: a reference can be read.
    let length = unsafe { (&raw const head.captured).read_volatile() } & (2 * ROOM as u32 - 1);
    if length > ROOM as u32 {
        return Fate::Unreadable;
    }
    // What is reserved takes its room even if it is given back: a process that points to nowhere must
    // not fill the ring.
    if !is_there::<ROOM>(from, length) {
        return Fate::Unreadable;
    }
    let Some(mut entry) = RING.reserve::<Sized<ROOM>>(0) else {
        count(Counter::RingFull, 1);
        return Fate::NoRoom;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the room is ours until it is submitted; the helper checks the address.
    let result = unsafe {
        (&raw mut (*record).head).write(*head);
        read_user(
            (&raw mut (*record).payload).cast(),
            length,
            from as *const c_void,
        )
    };
    if result != 0 {
        entry.discard(BPF_RB_NO_WAKEUP as u64);
        return Fate::Unreadable;
    }
    entry.submit(wake());
    count(Counter::Records, 1);
    Fate::Told
}
