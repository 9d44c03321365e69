//! Socket operations: which bytes moved, at which positions.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::position::{first, received_start, widen};
use kaos_ebpf::record::{
    CHUNK_BYTES, DataHead, DataRecord, FAMILY_UNIX, FLAG_END_OF_STREAM, FLAG_SENT,
    FLAG_STREAM_START, Kind,
};
use kaos_ebpf::sniff::{Carries, SNIFFED_BYTES, sniff};
use kaos_ebpf::window::{Window, window};

use super::budget::spend;
use super::buffer::{Pieces, user_buffer};
use super::connections::{
    Connection, MUTED, RECEIVED_SEEN, SENT_SEEN, cookie, enter, find, is_muted, is_settled,
    known_cookie,
};
use super::count::count;
use super::maps::{HTTP2_PORTS, SCRATCH};
use super::processes::{Task, captured, current, header};
use super::python::{Label, label};
use super::read::kernel;
use super::ring::output;
use super::settings::setting;
use super::states::{RCV_SHUTDOWN, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2};
use super::tls::carriers;

const MSG_PEEK: i32 = 0x2;
const MSG_TRUNC: i32 = 0x20;
const MSG_ERRQUEUE: i32 = 0x2000;

/// Records per operation. The largest budgets fill `2 * 1 MiB / 16 KiB` of them; the rest is for
/// buffers in many small pieces. What is left over is told as a gap.
const MOST_STEPS: u32 = 192;

/// One operation on a socket or a TLS connection.
pub struct Operation {
    /// Which way.
    pub sent: bool,
    /// Bytes that it moved.
    pub total: u32,
    /// Position of its first byte.
    pub position: u64,
    /// `FLAG_*` of its records; the flag of a stream's start holds for the first one.
    pub flags: u16,
    /// Who.
    pub task: Task,
    /// What ran.
    pub label: Label,
}

/// A send or a receive ended with `result` on `socket`.
#[inline(always)]
pub fn operation(socket: u64, result: i32, message_flags: i32, sent: bool) -> Option<()> {
    // Before all else: a socket that carries TLS costs nearly as many look-ups by its encrypted bytes as
    // by the plain text.
    if is_settled(known_cookie(socket)) {
        return None;
    }
    let task = current();
    let process = captured(task.pid)?;
    if result < 0 || (sent && result == 0) {
        return None;
    }
    if !sent && message_flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return None;
    }
    let key = cookie(socket);
    let connection = match find(key) {
        Some(connection) => connection,
        None => enter(socket, key, task.pid)?,
    };
    if connection.state & MUTED != 0 {
        return carriers::moved_encrypted(connection, task, sent, result as u32);
    }
    let mut operation = Operation {
        sent,
        total: result as u32,
        position: 0,
        flags: if sent { FLAG_SENT } else { 0 },
        task,
        label: Label::UNKNOWN,
    };
    connection.pid = task.pid;
    locate(&mut operation, connection, socket)?;
    if result == 0 {
        return end_of_stream(&operation, connection, socket);
    }
    count(Counter::Operations, 1);
    count(Counter::Bytes, result as u64);
    let turned = connection.turn != operation.flags & FLAG_SENT;
    let before = spend(connection, sent, operation.total);
    if turned && is_muted(connection) {
        return None;
    }
    operation.label = label(task, process);
    let window = window(
        operation.total,
        before,
        setting!(head_bytes),
        setting!(tail_bytes),
    );
    let readable = sent || message_flags & MSG_TRUNC == 0;
    capture(&operation, connection, window, readable)
}

/// Finds the position of an operation's first byte, and whether a stream starts with it.
#[inline(always)]
fn locate(operation: &mut Operation, connection: &mut Connection, socket: u64) -> Option<()> {
    let seen = if operation.sent {
        SENT_SEEN
    } else {
        RECEIVED_SEEN
    };
    let is_first = connection.state & seen == 0;
    connection.state |= seen;
    let end = if operation.sent {
        connection.sent_end
    } else {
        connection.received_end
    };
    if connection.socket.family == FAMILY_UNIX {
        // No positions there: count.
        operation.position = end;
    } else {
        let expected = if is_first { None } else { Some(end as u32) };
        let (sequence, starts) = if operation.sent {
            sent_sequence(socket, operation.total)?
        } else {
            received_sequence(socket, operation.total, expected)?
        };
        operation.position = if is_first {
            first(sequence)
        } else {
            widen(end, sequence)
        };
        if is_first && starts && operation.total > 0 {
            operation.flags |= FLAG_STREAM_START;
        }
    }
    let new_end = operation.position + operation.total as u64;
    if operation.sent {
        connection.sent_end = new_end;
    } else {
        connection.received_end = new_end;
    }
    Some(())
}

/// Sequence of the first of the last `total` bytes written, and whether nothing was written
/// before them.
#[inline(always)]
fn sent_sequence(socket: u64, total: u32) -> Option<(u32, bool)> {
    let written: u32 = kernel(socket, setting!(offsets.tcp_write_seq))?;
    let acknowledged: u32 = kernel(socket, setting!(offsets.tcp_snd_una))?;
    let acknowledged_bytes: u64 = kernel(socket, setting!(offsets.tcp_bytes_acked))?;
    let bytes = (acknowledged_bytes as u32).wrapping_add(written.wrapping_sub(acknowledged));
    // The kernel counts the SYN of a client as an acknowledged byte.
    let starts = bytes == total || bytes == total.wrapping_add(1);
    Some((written.wrapping_sub(total), starts))
}

/// Sequence of the first of the last `total` bytes read, and whether nothing was read before them.
#[inline(always)]
fn received_sequence(socket: u64, total: u32, expected: Option<u32>) -> Option<(u32, bool)> {
    let copied: u32 = kernel(socket, setting!(offsets.tcp_copied_seq))?;
    let received: u32 = kernel(socket, setting!(offsets.tcp_rcv_nxt))?;
    let received_bytes: u64 = kernel(socket, setting!(offsets.tcp_bytes_received))?;
    let fin_read = copied == received && peer_finished(socket);
    let start = received_start(copied, total, expected, fin_read);
    let bytes =
        (received_bytes as u32).wrapping_sub(received.wrapping_sub(start.wrapping_add(total)));
    Some((start, bytes == total))
}

/// Whether the FIN of the other end has been received.
#[inline(always)]
fn peer_finished(socket: u64) -> bool {
    let shutdown: u8 = kernel(socket, setting!(offsets.sock_shutdown)).unwrap_or(0);
    let state: u8 = kernel(socket, setting!(offsets.sock_state)).unwrap_or_default();
    // In these it was not, and the flag is our own wish.
    let still_open = [TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2];
    shutdown & RCV_SHUTDOWN != 0 && !still_open.contains(&(state as i32))
}

/// A receive of nothing: the end of the stream, unless it asked for nothing.
#[inline(always)]
fn end_of_stream(operation: &Operation, connection: &Connection, socket: u64) -> Option<()> {
    let shutdown: u8 = kernel(socket, setting!(offsets.sock_shutdown))?;
    if shutdown & RCV_SHUTDOWN == 0 {
        return None;
    }
    end_of_stream_record(operation, connection);
    Some(())
}

/// Tells the end of a stream.
#[inline(always)]
pub fn end_of_stream_record(operation: &Operation, connection: &Connection) {
    let mut head = head(operation, connection);
    head.header.flags |= FLAG_END_OF_STREAM;
    output(&raw const head, size_of::<DataHead>() as u64);
}

/// The beginning of an operation's records.
#[inline(always)]
pub fn head(operation: &Operation, connection: &Connection) -> DataHead {
    DataHead {
        header: header(
            Kind::Data,
            operation.flags | operation.label.flags(),
            operation.task.pid,
        ),
        socket: connection.socket,
        position: operation.position,
        tid: operation.task.tid,
        captured: 0,
        skipped: 0,
        epoch: operation.label.epoch,
        label: operation.label.context,
    }
}

/// Sends the bytes of an operation to user space, in chunks, and what is passed over as gaps.
#[inline(always)]
fn capture(
    operation: &Operation,
    connection: &mut Connection,
    captured: Window,
    readable: bool,
) -> Option<()> {
    let mut index = operation.sent as u32;
    let scratch = scratch(index)?;
    scratch.record.head = head(operation, connection);

    let buffer = if readable { user_buffer() } else { None };
    let Some(pieces) = buffer else {
        count(Counter::NoBufferBytes, operation.total as u64);
        gap(&mut scratch.record, operation.position, operation.total);
        return Some(());
    };
    let over_budget = captured.tail_start - captured.head_end;
    if over_budget > 0 {
        count(Counter::OverBudgetBytes, over_budget as u64);
    }
    scratch.walk = Walk {
        pieces,
        position: operation.position,
        total: operation.total,
        head_end: captured.head_end,
        tail_start: captured.tail_start,
        offset: 0,
        foreign: 0,
        padding: 0,
    };
    // A helper's loop, since the verifier would unroll one of ours beyond its limit.
    // SAFETY: `index` outlives the call, and `step` takes what is passed.
    unsafe { bpf_loop(MOST_STEPS, step as *mut c_void, (&raw mut index).cast(), 0) };
    let walk = &scratch.walk;
    if walk.foreign != 0 {
        connection.state |= MUTED;
    } else if walk.offset < walk.total {
        let (position, rest) = (walk.position + walk.offset as u64, walk.total - walk.offset);
        gap(&mut scratch.record, position, rest);
    }
    Some(())
}

/// Where an operation is worked on: larger than a program's stack. That the walk is in here too
/// and not on the stack has a reason of its own: what the verifier knows of numbers on the stack
/// makes each step of the loop a new case for it, and it walked 800 000 instructions.
#[repr(C)]
pub struct Scratch {
    /// How far it is. First, so that most operations touch one page of this.
    walk: Walk,
    /// The record that is put together.
    record: DataRecord,
}

/// A walk through the buffer of an operation.
#[repr(C)]
struct Walk {
    /// What is left of the buffer.
    pieces: Pieces,
    /// Position of the operation's first byte.
    position: u64,
    /// Bytes of the operation.
    total: u32,
    /// End of its captured head.
    head_end: u32,
    /// Start of its captured tail.
    tail_start: u32,
    /// How far the walk is.
    offset: u32,
    /// 1: a stream starts here that is not HTTP/1, so that nobody wants its connection.
    foreign: u32,
    /// Zero.
    padding: u32,
}

/// Result of a step: there may be another.
pub const GO_ON: i64 = 0;
/// Result of a step: there is none.
pub const STOP: i64 = 1;

/// Sends one chunk, or passes over bytes, or goes to the next piece of the buffer.
extern "C" fn step(_number: u64, index: *mut c_void) -> i64 {
    // SAFETY: `capture` passes its index.
    let Some(Scratch { record, walk }) = scratch(unsafe { *index.cast::<u32>() }) else {
        return STOP;
    };
    let offset = walk.offset;
    if offset >= walk.total {
        return STOP;
    }
    if walk.pieces.length == 0 {
        return if walk.pieces.next() { GO_ON } else { STOP };
    }
    let position = walk.position + offset as u64;
    if offset >= walk.head_end && offset < walk.tail_start {
        // Told once, when the head is over; after that the pieces are only stepped over.
        if offset == walk.head_end {
            gap(record, position, walk.tail_start - offset);
        }
        walk.offset += walk.pieces.advance(walk.tail_start - offset);
        return GO_ON;
    }
    let end = if offset < walk.head_end {
        walk.head_end
    } else {
        walk.total
    };
    let length = smaller(
        smaller(end - offset, walk.pieces.length),
        CHUNK_BYTES as u32,
    );
    if !read(record, walk.pieces.base, length) {
        count(Counter::UnreadableBytes, (walk.total - offset) as u64);
        return STOP;
    }
    if offset == 0 && is_foreign(record, length) {
        walk.foreign = 1;
        return STOP;
    }
    send(record, position, length);
    walk.pieces.advance(length);
    walk.offset += length;
    GO_ON
}

/// What this CPU works on.
#[inline(always)]
fn scratch(index: u32) -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(index)?;
    // SAFETY: this CPU's slot of this program, which cannot interrupt itself.
    Some(unsafe { &mut *scratch })
}

/// Sends `length` bytes that are in the record.
#[inline(always)]
fn send(record: &mut DataRecord, position: u64, length: u32) {
    record.head.position = position;
    record.head.captured = length;
    record.head.skipped = 0;
    // The mask is wider than any length here; it is for the verifier.
    let payload = length as u64 & (2 * CHUNK_BYTES as u64 - 1);
    if payload > CHUNK_BYTES as u64 {
        return;
    }
    let sent = output(&raw const *record, size_of::<DataHead>() as u64 + payload);
    let counter = if sent {
        Counter::CapturedBytes
    } else {
        Counter::RingFullBytes
    };
    count(counter, length as u64);
    record.head.header.flags &= !FLAG_STREAM_START;
}

/// Tells that `length` bytes moved and are not captured.
#[inline(always)]
fn gap(record: &mut DataRecord, position: u64, length: u32) {
    record.head.position = position;
    record.head.captured = 0;
    record.head.skipped = length;
    output(&raw const *record, size_of::<DataHead>() as u64);
    record.head.header.flags &= !FLAG_STREAM_START;
}

/// Copies `length` bytes of user memory into the record.
#[inline(always)]
fn read(record: &mut DataRecord, from: u64, length: u32) -> bool {
    if length as usize > CHUNK_BYTES {
        return false;
    }
    // SAFETY: the helper checks the address; the verifier, that they fit.
    unsafe {
        bpf_probe_read_user(record.payload.as_mut_ptr().cast(), length, from as *const _) == 0
    }
}

/// Whether a stream that starts in this record is not HTTP/1, nor HTTP/2 on the way to a collector, so
/// that nobody wants its connection.
#[inline(always)]
fn is_foreign(record: &DataRecord, length: u32) -> bool {
    if record.head.header.flags & FLAG_STREAM_START == 0 {
        return false;
    }
    let mut first_bytes = [0; SNIFFED_BYTES];
    first_bytes.copy_from_slice(&record.payload[..SNIFFED_BYTES]);
    match sniff(u64::from_le_bytes(first_bytes), length) {
        // The other end may begin, with what looks like nothing.
        Carries::Http2 | Carries::Other if is_collectors(record.head.socket.remote_port) => false,
        carries => foreign(carries),
    }
}

/// Whether HTTP/2 to this port is captured.
#[inline(always)]
fn is_collectors(port: u16) -> bool {
    // SAFETY: only the presence of the entry is looked at.
    unsafe { HTTP2_PORTS.get(&port) }.is_some()
}

/// Whether a stream that carries this is not HTTP/1; counts what it is.
#[inline(always)]
pub fn foreign(carries: Carries) -> bool {
    let counter = match carries {
        Carries::Http1 => return false,
        Carries::Http2 => Counter::MutedHttp2,
        Carries::Tls => Counter::MutedTls,
        Carries::Other => Counter::MutedOther,
    };
    count(counter, 1);
    true
}

/// The smaller one.
#[inline(always)]
pub fn smaller(left: u32, right: u32) -> u32 {
    if left < right { left } else { right }
}
