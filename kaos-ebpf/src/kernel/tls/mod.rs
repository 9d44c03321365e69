//! TLS connections: what a process reads and writes through its TLS library, in plain text.
//!
//! A connection is a library's object (`SSL *`) in a process, and the stream of its plain text has
//! positions of its own, counted from its first byte: both ends of a TLS connection count alike.

mod calls;
pub mod carriers;
mod payload;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::{
    bpf_get_attach_cookie, bpf_get_smp_processor_id, bpf_ktime_get_ns,
};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::position::first;
use kaos_ebpf::record::{Change, FAMILY_UNKNOWN, FLAG_SENT, FLAG_STREAM_START, Socket, TLS_STREAM};
use kaos_ebpf::settings::{TLS_KEY_BYTES, TlsFunction};
use kaos_ebpf::window::window;

pub use self::calls::Call;
use super::budget::spend;
use super::connections::{Connection, MUTED, RECEIVED_SEEN, SENT_SEEN, is_muted, tell};
use super::count::count;
use super::maps::TLS_CONNECTIONS;
use super::payload::{Operation, end_of_stream_record};
use super::processes::{Task, captured, current, find as find_process, thread};
use super::python::label;
use super::read::again;
use super::registers::{arguments, result};
use super::settings::setting;

/// A TLS library's object in a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TlsKey {
    /// Its address.
    ssl: u64,
    /// The process.
    pid: u32,
    /// Zero: a key's every byte counts.
    padding: u32,
}

const _: () = assert!(size_of::<TlsKey>() == TLS_KEY_BYTES);

impl TlsKey {
    #[inline(always)]
    fn new(ssl: u64, pid: u32) -> Self {
        Self {
            ssl,
            pid,
            padding: 0,
        }
    }
}

/// A function of a TLS library is entered.
#[inline(always)]
pub fn entered(context: &impl EbpfContext) -> Option<()> {
    let task = current();
    captured(task.pid)?;
    // SAFETY: the context is the program's own.
    let function = unsafe { bpf_get_attach_cookie(context.as_ptr()) };
    let arguments = arguments(context.as_ptr() as u64)?;
    let [ssl, ..] = arguments;
    if function == TlsFunction::Free as u64 {
        forget(&TlsKey::new(ssl, task.pid));
        return Some(());
    }
    if function == TlsFunction::Clear as u64 {
        // Who clears one that was never used has nothing to forget, and a new one begins either way.
        let key = TlsKey::new(ssl, task.pid);
        forget(&key);
        enter(&key, true)?;
        return Some(());
    }
    calls::begin(task, function, arguments)
}

/// A function of a TLS library returns.
#[inline(always)]
pub fn returned(context: &impl EbpfContext) -> Option<()> {
    let registers = context.as_ptr() as u64;
    // SAFETY: the context is the program's own.
    let function = unsafe { bpf_get_attach_cookie(context.as_ptr()) };
    if function == TlsFunction::New as u64 {
        let task = current();
        let ssl = result(registers)?;
        if ssl != 0 && captured(task.pid).is_some() {
            enter(&TlsKey::new(ssl, task.pid), true)?;
        }
        return Some(());
    }
    let tid = thread();
    let call = calls::find(tid)?;
    let is_early = function == TlsFunction::Early as u64;
    if is_early || call.function == TlsFunction::Early as u64 {
        // A client may have to send it again, so it is left out at both ends.
        if is_early && call.function == function {
            calls::end(call);
        }
        return None;
    }
    call.moved = moved(call, result(registers)? as i32);
    let pid = call.pid;
    operation(call, Task { pid, tid });
    calls::end(call);
    Some(())
}

/// What [`moved`] says of a call that did nothing. Not an `Option`: the verifier wants the value that
/// `None` does not have.
const NOTHING: i64 = -1;

/// How many bytes a call moved; 0 for the end of the stream.
#[inline(always)]
fn moved(call: &Call, result: i32) -> i64 {
    let function = call.function;
    let is_plain = function == TlsFunction::Read as u64 || function == TlsFunction::Write as u64;
    let tells_end =
        function == TlsFunction::Read as u64 || function == TlsFunction::ReadInner as u64;
    if result < 0 || (result == 0 && !tells_end) {
        return NOTHING;
    }
    if result == 0 {
        // Nothing was asked for, or the other end will send no more.
        return if call.length > 0 { 0 } else { NOTHING };
    }
    let moved = if is_plain {
        result as u64
    } else {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_user(call.moved_at as *const u64) }.unwrap_or(0)
    };
    // More than there was room for is not true; nothing at all is not the end here.
    if moved == 0 || moved > call.length {
        return NOTHING;
    }
    moved as i64
}

/// A call moved so many bytes, or saw the end of the stream, or did nothing.
#[inline(always)]
fn operation(call: &mut Call, task: Task) -> Option<()> {
    let moved = again(&call.moved);
    let sent = call.function >= TlsFunction::Write as u64;
    let key = TlsKey::new(call.ssl, task.pid);
    let connection = match find(&key) {
        Some(connection) => connection,
        // In use before we came: where its streams are is not known.
        None => enter(&key, false)?,
    };
    if connection.state & MUTED != 0 {
        return None;
    }
    let total = if moved > 0 { moved as u32 } else { 0 };
    if !sent {
        carriers::read(connection, task, total);
    } else if total > 0 {
        carriers::wrote(connection, call.ssl, task, total);
    }
    if moved == NOTHING {
        return None;
    }
    tell_moved(call, connection, task)
}

/// Tells of a call that moved bytes or saw the end of the stream.
#[inline(always)]
fn tell_moved(call: &mut Call, connection: &mut Connection, task: Task) -> Option<()> {
    let sent = again(&call.function) >= TlsFunction::Write as u64;
    let total = again(&call.moved) as u32;
    connection.pid = task.pid;
    call.label = label(task, find_process(task.pid)?);
    let (seen, end) = if sent {
        (SENT_SEEN, connection.sent_end)
    } else {
        (RECEIVED_SEEN, connection.received_end)
    };
    let mut operation = Operation {
        sent,
        total,
        position: end,
        flags: if sent { FLAG_SENT } else { 0 },
        task,
        label: again(&call.label),
    };
    if total == 0 {
        end_of_stream_record(&operation, connection);
        return Some(());
    }
    if connection.state & (seen | FROM_START) == FROM_START {
        operation.flags |= FLAG_STREAM_START;
    }
    connection.state |= seen;
    if sent {
        connection.sent_end = end + total as u64;
    } else {
        connection.received_end = end + total as u64;
    }
    count(Counter::TlsOperations, 1);
    count(Counter::Bytes, total as u64);
    let turned = connection.turn != operation.flags & FLAG_SENT;
    let before = spend(connection, sent, total);
    if turned && is_muted(connection) {
        return None;
    }
    let captured = window(total, before, setting!(head_bytes), setting!(tail_bytes));
    payload::capture(call, &operation, connection, captured);
    Some(())
}

/// `Connection::state`: nothing moved before we saw it.
const FROM_START: u16 = 32;

/// A connection by its object.
#[inline(always)]
fn find(key: &TlsKey) -> Option<&'static mut Connection> {
    let connection = TLS_CONNECTIONS.get_ptr_mut(key)?;
    // SAFETY: entries stay valid for the run of a program. Two threads that use one at a time can
    // cost a budget or a position its exactness and nothing else.
    Some(unsafe { &mut *connection })
}

/// Enters a connection, of which nothing is known yet but whether it is a new one.
#[inline(always)]
fn enter(key: &TlsKey, is_new: bool) -> Option<&'static mut Connection> {
    let start = first(0);
    let connection = Connection {
        socket: Socket {
            cookie: new_id(),
            family: FAMILY_UNKNOWN,
            ..Socket::default()
        },
        sent_end: start,
        received_end: start,
        pid: key.pid,
        spent: 0,
        turn: u16::MAX,
        state: if is_new { FROM_START } else { 0 },
        attempts: 0,
        mutes: 0,
        padding: 0,
    };
    if TLS_CONNECTIONS.insert(key, &connection, 0).is_err() {
        count(Counter::ConnectionMapFull, 1);
        return None;
    }
    find(key)
}

/// A number that no other connection of this machine had or will have: the time on this CPU, which
/// wraps after a hundred days.
#[inline(always)]
fn new_id() -> u64 {
    // SAFETY: the helpers have no conditions.
    let (time, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    TLS_STREAM | (time << 10 & (TLS_STREAM - 1)) | (cpu as u64 & 0x3ff)
}

/// A connection is no more, and its address may be used for another.
#[inline(always)]
fn forget(key: &TlsKey) {
    if let Some(connection) = find(key) {
        if connection.state & MUTED == 0 {
            tell(connection, Change::Closed, 0);
        }
        let _ = TLS_CONNECTIONS.remove(key);
    }
}

/// A thread ended, perhaps inside of a call.
#[inline(always)]
pub fn thread_ended(tid: u32) {
    calls::forget(tid);
}
