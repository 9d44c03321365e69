//! The connections that are followed, in the order in which they moved last.

use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::Entry;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::chunk::Actor;
use crate::capture::event::{Pid, SocketId};
use crate::time::Nanos;

/// What is kept of a connection.
pub struct Connection {
    /// Position that the next byte should have, per direction that was seen.
    pub expected: [Option<u64>; 2],
    /// Who used it last.
    pub actor: Actor,
    /// When it was used last.
    pub last_at: Nanos,
    /// When the process began to connect, where that was seen.
    pub connecting_at: Option<Nanos>,
    /// The other end will send no more.
    pub peer_finished: bool,
}

/// The connections that are followed.
pub struct Table {
    /// Least recently used first.
    connections: LinkedHashMap<SocketId, Connection, FxBuildHasher>,
    /// How many of the connections each process used last, so that the exit of a process without
    /// any costs no search.
    users: FxHashMap<Pid, usize>,
    capacity: usize,
}

impl Table {
    /// An empty table for at most `capacity` connections, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            connections: LinkedHashMap::with_hasher(FxBuildHasher),
            users: FxHashMap::default(),
            capacity: capacity.max(1),
        }
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether the connection is in it.
    pub fn contains(&self, socket: SocketId) -> bool {
        self.connections.contains_key(&socket)
    }

    /// The connection that must give way before `socket` can be entered.
    pub fn in_the_way_of(&self, socket: SocketId) -> Option<SocketId> {
        if self.connections.len() < self.capacity || self.contains(socket) {
            return None;
        }
        self.oldest().map(|(oldest, _)| oldest)
    }

    /// The connection, used last by `actor` at `at`, and whether it was entered just now.
    pub fn touch(
        &mut self,
        socket: SocketId,
        actor: Actor,
        at: Nanos,
    ) -> (&mut Connection, /* is new */ bool) {
        match self.connections.entry(socket) {
            Entry::Occupied(mut occupied) => {
                occupied.to_back();
                let connection = occupied.into_mut();
                if connection.actor.pid != actor.pid {
                    leave(&mut self.users, connection.actor.pid);
                    *self.users.entry(actor.pid).or_default() += 1;
                }
                connection.actor = actor;
                connection.last_at = at;
                (connection, false)
            }
            Entry::Vacant(vacant) => {
                *self.users.entry(actor.pid).or_default() += 1;
                let connection = vacant.insert(Connection {
                    expected: [None; 2],
                    actor,
                    last_at: at,
                    connecting_at: None,
                    peer_finished: false,
                });
                (connection, true)
            }
        }
    }

    /// The connection, which is not thereby used.
    pub fn get_mut(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.connections.get_mut(&socket)
    }

    /// Removes a connection.
    pub fn remove(&mut self, socket: SocketId) -> Option<Connection> {
        let connection = self.connections.remove(&socket)?;
        leave(&mut self.users, connection.actor.pid);
        Some(connection)
    }

    /// The least recently used connection, and when that was.
    pub fn oldest(&self) -> Option<(SocketId, Nanos)> {
        let (&socket, connection) = self.connections.front()?;
        Some((socket, connection.last_at))
    }

    /// Connections that `pid` used last, in the order of their use.
    pub fn used_by(&self, pid: Pid) -> Vec<SocketId> {
        if !self.users.contains_key(&pid) {
            return Vec::new();
        }
        self.connections
            .iter()
            .filter(|(_, connection)| connection.actor.pid == pid)
            .map(|(&socket, _)| socket)
            .collect()
    }
}

/// `pid` is no longer the last user of one of its connections.
fn leave(users: &mut FxHashMap<Pid, usize>, pid: Pid) {
    if let Some(count) = users.get_mut(&pid) {
        *count -= 1;
        if *count == 0 {
            users.remove(&pid);
        }
    }
}
