//! Connections of selected processes.

use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use kaos_ebpf::counter::Counter;
use kaos_ebpf::process::Process;
use kaos_ebpf::record::{
    Change, ConnectionRecord, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, Kind, Socket,
};
use kaos_ebpf::settings::{CONNECTION_BYTES, SETTLED_SOCKETS as SETTLED_PLACES};

use super::count::count;
use super::maps::{self, CONNECTIONS, MUTES, SETTLED_SOCKETS};
use super::processes::{Task, header};
use super::python::{Label, label};
use super::read::{again, kernel};
use super::ring::emit;
use super::settings::setting;

const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;

/// `Connection::state`: nothing of it is captured any more.
pub const MUTED: u16 = 1;
/// `Connection::state`: its first sent bytes were seen.
pub const SENT_SEEN: u16 = 2;
/// `Connection::state`: its first received bytes were seen.
pub const RECEIVED_SEEN: u16 = 4;
/// `Connection::state`: user space was told how it failed.
pub const FAILURE_TOLD: u16 = 8;
/// `Connection::state`: user space was told that this end is closed.
pub const CLOSE_TOLD: u16 = 16;

/// What is kept of a connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Connection {
    /// Its socket, as records carry it.
    pub socket: Socket,
    /// End of what was sent, so far as seen.
    pub sent_end: u64,
    /// End of what was received, so far as seen.
    pub received_end: u64,
    /// Process that used it last.
    pub pid: u32,
    /// Bytes of the current message that moved.
    pub spent: u32,
    /// Which way the last bytes moved: `FLAG_SENT` or 0.
    pub turn: u16,
    /// `MUTED`, `SENT_SEEN`, …
    pub state: u16,
    /// How often it was tried to find out what it carries.
    pub attempts: u32,
    /// What `MUTES` was when it was last looked for in `MUTED`.
    pub mutes: u32,
    /// Zero.
    pub padding: u32,
}

const _: () = assert!(size_of::<Connection>() == CONNECTION_BYTES);

/// A socket's cookie, 0 where nobody asked for it yet: those are none of ours.
#[inline(always)]
pub fn known_cookie(socket: u64) -> u64 {
    kernel(socket, setting!(offsets.sock_cookie)).unwrap_or(0)
}

/// A socket's cookie. `socket` must be the tracepoint's own argument: the verifier asks for it.
#[inline(always)]
pub fn cookie(socket: u64) -> u64 {
    // SAFETY: the verifier checks the argument.
    unsafe { bpf_get_socket_cookie(socket as *mut _) }
}

/// A connection by its cookie.
#[inline(always)]
pub fn find(cookie: u64) -> Option<&'static mut Connection> {
    let connection = CONNECTIONS.get_ptr_mut(&cookie)?;
    // SAFETY: entries stay valid for the run of a program. Two CPUs may write one at a time, which
    // can cost a budget or a turn its exactness and nothing else.
    Some(unsafe { &mut *connection })
}

/// Whether user space wants nothing more of a connection; it then gets nothing. Looked at where bytes
/// begin to move the other way.
#[inline(always)]
pub fn is_muted(connection: &mut Connection) -> bool {
    let Some(mutes) = MUTES.get(0) else {
        return false;
    };
    // SAFETY: a reference can be read; user space may write it meanwhile.
    let mutes = unsafe { core::ptr::from_ref(mutes).read_volatile() };
    if connection.mutes == mutes {
        return false;
    }
    connection.mutes = mutes;
    // SAFETY: only the presence of the entry is looked at.
    if unsafe { maps::MUTED.get(&connection.socket.cookie) }.is_none() {
        return false;
    }
    connection.state |= MUTED;
    true
}

/// Nothing of a muted connection is looked at any more.
#[inline(always)]
pub fn settle(cookie: u64) {
    write_place(cookie, cookie);
}

/// Whether that is so, as far as it is known: another one may have taken the place over. No two sockets
/// have the same cookie.
#[inline(always)]
pub fn is_settled(cookie: u64) -> bool {
    let place = SETTLED_SOCKETS.get(place(cookie));
    cookie != 0 && place.is_some_and(|found| again(found) == cookie)
}

#[inline(always)]
fn write_place(cookie: u64, value: u64) {
    if let Some(found) = SETTLED_SOCKETS.get_ptr_mut(place(cookie)) {
        // SAFETY: a word of the map, written whole.
        unsafe { found.write_volatile(value) }
    }
}

#[inline(always)]
fn place(cookie: u64) -> u32 {
    cookie as u32 % SETTLED_PLACES
}

/// Enters a connection. `None` for sockets that are neither TCP nor `AF_UNIX` streams.
#[inline(always)]
pub fn enter(socket: u64, cookie: u64, pid: u32) -> Option<&'static mut Connection> {
    let connection = Connection {
        socket: describe(socket, cookie)?,
        sent_end: 0,
        received_end: 0,
        pid,
        spent: 0,
        turn: u16::MAX,
        state: 0,
        attempts: 0,
        mutes: 0,
        padding: 0,
    };
    // It may have been connected to somebody else before.
    if is_settled(cookie) {
        write_place(cookie, 0);
    }
    if CONNECTIONS.insert(&cookie, &connection, 0).is_err() {
        count(Counter::ConnectionMapFull, 1);
        return None;
    }
    find(cookie)
}

/// Reads who a socket connects.
#[inline(always)]
pub fn describe(socket: u64, cookie: u64) -> Option<Socket> {
    let mut described = Socket {
        cookie,
        ..Socket::default()
    };
    let family: u16 = kernel(socket, setting!(offsets.sock_family))?;
    let kind: u16 = kernel(socket, setting!(offsets.sock_type))?;
    if kind != SOCK_STREAM {
        return None;
    }
    if family == FAMILY_UNIX as u16 {
        let peer: u64 = kernel(socket, setting!(offsets.unix_peer))?;
        described.family = FAMILY_UNIX;
        // The verifier allows no arithmetic on a kernel pointer, only on what was read somewhere.
        let own: u64 = kernel(&raw const socket as u64, 0)?;
        described.local[..8].copy_from_slice(&(own ^ setting!(scramble)).to_ne_bytes());
        described.remote[..8].copy_from_slice(&(peer ^ setting!(scramble)).to_ne_bytes());
        return Some(described);
    }
    let protocol: u16 = kernel(socket, setting!(offsets.sock_protocol))?;
    if protocol != IPPROTO_TCP {
        return None;
    }
    let net: u64 = kernel(socket, setting!(offsets.sock_net))?;
    described.network_namespace = kernel(net, setting!(offsets.net_inode))?;
    refresh(&mut described, socket)?;
    Some(described)
}

/// Reads addresses and ports of a TCP socket again: a connect chooses the local ones late.
#[inline(always)]
pub fn refresh(described: &mut Socket, socket: u64) -> Option<()> {
    let remote_port: u16 = kernel(socket, setting!(offsets.sock_remote_port))?;
    described.remote_port = u16::from_be(remote_port);
    described.local_port = kernel(socket, setting!(offsets.sock_local_port))?;
    let family: u16 = kernel(socket, setting!(offsets.sock_family))?;
    if family == FAMILY_INET as u16 {
        described.family = FAMILY_INET;
        let local: [u8; 4] = kernel(socket, setting!(offsets.sock_local_ip4))?;
        let remote: [u8; 4] = kernel(socket, setting!(offsets.sock_remote_ip4))?;
        described.local[..4].copy_from_slice(&local);
        described.remote[..4].copy_from_slice(&remote);
    } else if family == FAMILY_INET6 as u16 {
        described.family = FAMILY_INET6;
        described.local = kernel(socket, setting!(offsets.sock_local_ip6))?;
        described.remote = kernel(socket, setting!(offsets.sock_remote_ip6))?;
    } else {
        return None;
    }
    Some(())
}

/// Tells user space of a change in the life of a connection.
#[inline(always)]
pub fn tell(connection: &Connection, change: Change, errno: u32) {
    tell_by(connection, change, errno, 0, Label::UNKNOWN);
}

/// Tells user space that a thread begins to connect, and what runs in it.
#[inline(always)]
pub fn tell_connecting(connection: &Connection, task: Task, process: &mut Process) {
    let label = label(task, process);
    tell_by(connection, Change::Connecting, 0, task.tid, label);
}

#[inline(always)]
fn tell_by(connection: &Connection, change: Change, errno: u32, tid: u32, label: Label) {
    emit(&ConnectionRecord {
        header: header(Kind::Connection, label.flags(), connection.pid),
        socket: connection.socket,
        change: change as u32,
        errno,
        tid,
        epoch: label.epoch,
        label: label.context,
    });
}
