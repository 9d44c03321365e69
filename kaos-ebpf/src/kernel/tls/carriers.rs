//! Which socket carries a TLS connection.
//!
//! Certain are two things. A socket operation inside of a call of the TLS library, on its thread,
//! carries that call's connection. And where the library works in memory (Python's asyncio, node), the
//! encrypted record that a thread sends right after a write, or received right before a read, is that
//! call's, if its length is the one that encryption gives, and if no other connection of the thread
//! waits for its own: else it could be that one's. What is not certain stays unknown.

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use kaos_ebpf::record::{Change, FAMILY_UNKNOWN, Socket};
use kaos_ebpf::tls::{
    MOST_RECORDS, RECORD_HEADER, carries, ends_handshake_next, next_record, note, record_length,
};

use super::{TlsKey, calls, enter, find};
use crate::kernel::buffer::user_buffer;
use crate::kernel::connections::{Connection, settle, tell};
use crate::kernel::maps::TLS_NEIGHBOURS;
use crate::kernel::processes::Task;

/// `Connection::state` of a socket: it is known what it carries, or given up.
const SETTLED: u16 = 64;
/// Operations after which that is given up: handshakes take some, and after that each request is
/// another chance.
const MOST_ATTEMPTS: u32 = 64;
/// What waits longer is over: it belonged to a connection that ended, ns.
const MOST_AGE: u64 = 1_000_000_000;

/// What a thread did last in one direction, and whose other half was not seen yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Waiting {
    /// When the last of them began to wait.
    at: u64,
    /// Which waits: an `SSL *`, or the cookie of a socket.
    who: u64,
    /// Length of its plain text, or lengths of its records.
    lengths: [u32; MOST_RECORDS],
    /// How many connections wait. Only one that waits alone can be told.
    count: u16,
    /// 1: more than one waited since none did.
    mixed: u16,
}

/// What a thread did last on connections whose other half is not known.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Neighbours {
    /// Written in plain text, and not seen encrypted.
    written: Waiting,
    /// Received encrypted, and not seen in plain text.
    received: Waiting,
}

impl Waiting {
    /// Another one waits; false where it does already.
    #[inline(always)]
    fn add(&mut self, who: u64, lengths: [u32; MOST_RECORDS]) -> bool {
        let now = now();
        if self.count == 0 || now - self.at > MOST_AGE {
            self.count = 0;
            self.mixed = 0;
        }
        if self.count > 0 && self.who == who {
            return false;
        }
        self.mixed |= (self.count > 0) as u16;
        self.count = self.count.saturating_add(1);
        self.at = now;
        self.who = who;
        self.lengths = lengths;
        true
    }

    /// There is more of the last that waits. What came before may be over: the end of a handshake is not
    /// read as plain text, and a library's user may not ask before there is more.
    #[inline(always)]
    fn add_more(&mut self, lengths: [u32; MOST_RECORDS]) {
        self.at = now();
        for length in lengths {
            note(&mut self.lengths, length);
        }
    }

    /// The other half of this one is known, if it is this one that waits.
    #[inline(always)]
    fn forget(&mut self, who: u64) {
        if self.count == 1 && self.who == who {
            self.count = 0;
        }
    }

    /// The other half of one of them was seen. Returns which, if there is no doubt.
    #[inline(always)]
    fn take(&mut self, is_its: impl Fn(&[u32; MOST_RECORDS]) -> bool) -> Option<u64> {
        if self.count == 0 || now() - self.at > MOST_AGE {
            self.count = 0;
            return None;
        }
        let alone = self.count == 1 && self.mixed == 0;
        self.count -= 1;
        if alone && is_its(&self.lengths) {
            Some(self.who)
        } else {
            None
        }
    }
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no conditions.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn neighbours(tid: u32) -> Option<&'static mut Neighbours> {
    let found = TLS_NEIGHBOURS.get_ptr_mut(&tid).or_else(|| {
        // SAFETY: a structure of integers, for which all bits zero is a value.
        let empty: Neighbours = unsafe { core::mem::zeroed() };
        // That there is no room is as if nothing was seen.
        let _ = TLS_NEIGHBOURS.insert(&tid, &empty, 0);
        TLS_NEIGHBOURS.get_ptr_mut(&tid)
    })?;
    // SAFETY: entries stay valid for the run of a program, and each thread uses its own.
    Some(unsafe { &mut *found })
}

/// Whether the socket of a TLS connection is not known yet.
#[inline(always)]
fn is_alone(connection: &Connection) -> bool {
    connection.socket.family == FAMILY_UNKNOWN
}

/// It is `socket` that carries it.
#[inline(always)]
fn marry(connection: &mut Connection, socket: &mut Connection) {
    connection.socket = Socket {
        cookie: connection.socket.cookie,
        ..socket.socket
    };
    settled(socket);
}

/// It is known what a socket carries, or given up. Its operations end after a look into a table from now
/// on: look-ups are most of what one would cost.
#[inline(always)]
fn settled(socket: &mut Connection) {
    socket.state |= SETTLED;
    settle(socket.socket.cookie);
}

/// An operation of `total` bytes on a socket that nothing is captured of.
#[inline(always)]
pub fn moved_encrypted(socket: &mut Connection, task: Task, sent: bool, total: u32) -> Option<()> {
    socket.attempts = socket.attempts.saturating_add(1);
    // One that is settled is here because another one has taken its place over.
    if socket.state & SETTLED != 0 || socket.attempts > MOST_ATTEMPTS {
        settled(socket);
        return None;
    }
    if let Some(call) = calls::find(task.tid) {
        let key = TlsKey::new(call.ssl, task.pid);
        let connection = match find(&key) {
            Some(connection) => connection,
            None => enter(&key, false)?,
        };
        if is_alone(connection) {
            marry(connection, socket);
        }
        return Some(());
    }
    let lengths = record_lengths(total)?;
    let neighbours = neighbours(task.tid)?;
    if !sent {
        if !neighbours.received.add(socket.socket.cookie, lengths) {
            neighbours.received.add_more(lengths);
        }
        return Some(());
    }
    // A client that works in memory may send the end of its handshake with its first request.
    let ssl = neighbours
        .written
        .take(|[written, ..]| any_carries(&lengths, *written))?;
    let connection = find(&TlsKey::new(ssl, task.pid))?;
    if is_alone(connection) {
        marry(connection, socket);
        neighbours.received.forget(socket.socket.cookie);
        // What was written before went out without its address.
        tell(connection, Change::Connected, 0);
    }
    Some(())
}

/// Lengths of the application data records that the running syscall moved, where it begins with one
/// or with the last of a handshake.
#[inline(always)]
fn record_lengths(total: u32) -> Option<[u32; MOST_RECORDS]> {
    let mut buffer = user_buffer()?;
    if buffer.length == 0 && !buffer.next() {
        return None;
    }
    let available = if buffer.length < total {
        buffer.length
    } else {
        total
    };
    let mut lengths = [0; MOST_RECORDS];
    let mut offset = 0;
    let mut ends_handshake = false;
    for _ in 0..MOST_RECORDS {
        if offset + RECORD_HEADER > available {
            break;
        }
        // SAFETY: the helper checks the address.
        let header: [u8; RECORD_HEADER as usize] =
            unsafe { bpf_probe_read_user((buffer.base + offset as u64) as *const _) }.ok()?;
        // Not every user of a library asks for plain text then, and what is waited for in vain keeps
        // others from being told apart.
        if !ends_handshake {
            note(&mut lengths, record_length(header));
        }
        ends_handshake = ends_handshake_next(header);
        offset = next_record(header, offset)?;
    }
    if lengths == [0; MOST_RECORDS] {
        return None;
    }
    Some(lengths)
}

/// Whether one of these records may carry what was moved in plain text.
#[inline(always)]
fn any_carries(records: &[u32; MOST_RECORDS], plain: u32) -> bool {
    let [first, second, third] = *records;
    carries(first, plain) || carries(second, plain) || carries(third, plain)
}

/// `length` bytes of plain text were written.
#[inline(always)]
pub fn wrote(connection: &Connection, ssl: u64, task: Task, length: u32) -> Option<()> {
    if is_alone(connection) {
        neighbours(task.tid)?.written.add(ssl, [length, 0, 0]);
    }
    Some(())
}

/// A read gave `length` bytes of plain text, or none.
#[inline(always)]
pub fn read(connection: &mut Connection, task: Task, length: u32) -> Option<()> {
    if !is_alone(connection) {
        return None;
    }
    let cookie = neighbours(task.tid)?
        .received
        .take(|lengths| length > 0 && any_carries(lengths, length))?;
    let socket = crate::kernel::connections::find(cookie)?;
    marry(connection, socket);
    Some(())
}
