//! The life of TCP connections.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use kaos_ebpf::record::Change;

use crate::kernel::connections::{
    CLOSE_TOLD, Connection, FAILURE_TOLD, MUTED, cookie, enter, find, known_cookie, refresh, tell,
    tell_connecting,
};
use crate::kernel::maps::{CONNECTIONS, PORTS};
use crate::kernel::processes::{captured, current, pointer, select_by_deed};
use crate::kernel::read::kernel;
use crate::kernel::settings::setting;
use crate::kernel::states::{
    RCV_SHUTDOWN, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_CLOSING, TCP_ESTABLISHED, TCP_FIN_WAIT1,
    TCP_LAST_ACK, TCP_LISTEN, TCP_SYN_SENT,
};

/// `inet_sock_set_state(sk, oldstate, newstate)`
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(context: BtfTracePointContext) -> i32 {
    let socket = pointer(&context, 0);
    let _ = try_set_state(socket, context.arg(1), context.arg(2));
    0
}

#[inline(always)]
fn try_set_state(socket: u64, old: i32, new: i32) -> Option<()> {
    match new {
        TCP_LISTEN => return try_listen(socket),
        TCP_SYN_SENT => return try_connect(socket),
        _ => {}
    }
    // All others may run in any process's time: what counts is whether the connection is known.
    let connection = find(known_cookie(socket))?;
    match new {
        TCP_ESTABLISHED => refresh(&mut connection.socket, socket)?,
        TCP_CLOSE_WAIT if connection.state & MUTED == 0 => {
            tell(connection, Change::PeerFinished, 0)
        }
        TCP_FIN_WAIT1 | TCP_LAST_ACK => {
            // A `shutdown` of the sending half alone: it still reads, and closes later.
            let shutdown: u8 = kernel(socket, setting!(offsets.sock_shutdown))?;
            if shutdown & RCV_SHUTDOWN != 0 {
                tell_closed(connection);
            }
        }
        TCP_CLOSE => {
            let errno: u32 = kernel(socket, setting!(offsets.sock_error))?;
            if old == TCP_SYN_SENT || errno != 0 {
                tell_failure(connection, old == TCP_SYN_SENT, errno);
            } else if old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT {
                // Closed with a reset, as happens to unread data.
                tell_closed(connection);
            }
        }
        _ => {}
    }
    Some(())
}

/// A process listens: on a port that selects it?
#[inline(always)]
fn try_listen(socket: u64) -> Option<()> {
    if setting!(match_ports) == 0 {
        return None;
    }
    let port: u16 = kernel(socket, setting!(offsets.sock_local_port))?;
    // SAFETY: only the presence of the entry is looked at.
    if unsafe { PORTS.get(&port) }.is_some() {
        select_by_deed(current().pid);
    }
    Some(())
}

/// A process connects, in its own time.
#[inline(always)]
fn try_connect(socket: u64) -> Option<()> {
    let task = current();
    let process = captured(task.pid)?;
    let connection = enter(socket, cookie(socket), task.pid)?;
    tell_connecting(connection, task, process);
    Some(())
}

/// Tells that this end is closed, once.
#[inline(always)]
fn tell_closed(connection: &mut Connection) {
    if connection.state & (CLOSE_TOLD | MUTED) == 0 {
        connection.state |= CLOSE_TOLD;
        tell(connection, Change::Closed, 0);
    }
}

/// Tells of a failure, once.
#[inline(always)]
fn tell_failure(connection: &mut Connection, connecting: bool, errno: u32) {
    if connection.state & (FAILURE_TOLD | MUTED) != 0 {
        return;
    }
    connection.state |= FAILURE_TOLD;
    let change = if connecting {
        Change::ConnectFailed
    } else {
        Change::Broken
    };
    tell(connection, change, errno);
}

/// `inet_sk_error_report(sk)`: on some paths the only place where the error is seen.
#[btf_tracepoint(function = "inet_sk_error_report")]
pub fn inet_sk_error_report(context: BtfTracePointContext) -> i32 {
    let _ = try_error_report(pointer(&context, 0));
    0
}

#[inline(always)]
fn try_error_report(socket: u64) -> Option<()> {
    let connection = find(known_cookie(socket))?;
    let errno: u32 = kernel(socket, setting!(offsets.sock_error))?;
    let state: u8 = kernel(socket, setting!(offsets.sock_state))?;
    if errno != 0 && state as i32 != TCP_CLOSE && state as i32 != TCP_CLOSING {
        tell_failure(connection, state as i32 == TCP_SYN_SENT, errno);
    }
    Some(())
}

/// `tcp_destroy_sock(sk)`: its cookie will not come back.
#[btf_tracepoint(function = "tcp_destroy_sock")]
pub fn tcp_destroy_sock(context: BtfTracePointContext) -> i32 {
    let _ = try_destroy(pointer(&context, 0));
    0
}

#[inline(always)]
fn try_destroy(socket: u64) -> Option<()> {
    let cookie = known_cookie(socket);
    let connection = find(cookie)?;
    if connection.state & FAILURE_TOLD == 0 {
        tell_closed(connection);
    }
    // That it is gone already is as good.
    let _ = CONNECTIONS.remove(&cookie);
    Some(())
}
