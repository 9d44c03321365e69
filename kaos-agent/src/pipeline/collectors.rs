//! Connections of processes to collectors over gRPC: do spans go there?
//!
//! What is asked for over HTTP/2 is read where the kernel captures it. It does not where the connection
//! is inside of TLS, is older than we are, was made before the kernel knew of its port, or where there are
//! too many. Then that there is one has to do.

use hashlink::LinkedHashMap;
use kaos_ebpf::settings::defaults;
use rustc_hash::FxBuildHasher;

use crate::capture::event::{Data, Pid, SocketId};
use crate::identity::service::{GRPC_PORT, Service};
use crate::protocols::AskedOver;
use crate::protocols::http2::{Asked, Unreadable};
use crate::time::Nanos;

/// Connections that are known at once: as many calls as may wait for their cause. Of one that is
/// forgotten and moves again it counts that it is there.
const MOST_CONNECTIONS: usize = 4096;

/// How long after its beginning something of a connection is waited for: its handshake, over any distance,
/// and the round of the reader of the ring.
const FIRST_BYTES: Nanos = 2_000_000_000;

/// Ports that the kernel is told of: as many as it has room for.
const MOST_PORTS: usize = defaults::HTTP2_PORTS as usize;

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing was read of it; from this time on it counts that it is there.
    Nothing { pid: Pid, until: Nanos },
    /// What is asked for is read.
    Read,
}

/// Connections to collectors.
#[derive(Debug)]
pub(super) struct Collectors {
    /// The oldest first.
    connections: LinkedHashMap<SocketId, Known, FxBuildHasher>,
    ports: Vec<u16>,
    new_ports: Vec<u16>,
}

impl Default for Collectors {
    fn default() -> Self {
        Self {
            connections: LinkedHashMap::default(),
            ports: vec![GRPC_PORT],
            new_ports: vec![GRPC_PORT],
        }
    }
}

impl Collectors {
    /// A service was described: its collector may listen on a port of its own.
    pub(super) fn service(&mut self, service: &Service) {
        if let Some(port) = service.grpc_port()
            && self.ports.len() < MOST_PORTS
            && !self.ports.contains(&port)
        {
            self.ports.push(port);
            self.new_ports.push(port);
        }
    }

    /// Ports of collectors, since this was asked last.
    pub(super) fn take_ports(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.new_ports)
    }

    /// A process connects to a collector.
    pub(super) fn connecting(&mut self, socket: SocketId, pid: Pid, at: Nanos) {
        if self.connections.len() >= MOST_CONNECTIONS {
            self.connections.pop_front();
        }
        let until = at.saturating_add(FIRST_BYTES);
        self.connections
            .insert(socket, Known::Nothing { pid, until });
    }

    /// A process sent something to a collector. True where that has to do.
    pub(super) fn sent(&mut self, data: &Data) -> bool {
        if self.connections.contains_key(&data.socket) {
            return false;
        }
        if data.stream_start {
            self.connecting(data.socket, data.pid, data.at);
        }
        !data.stream_start
    }

    /// A connection could not be made.
    pub(super) fn failed(&mut self, socket: SocketId) {
        self.connections.remove(&socket);
    }

    /// A connection is over. True where nothing was read of it.
    pub(super) fn ended(&mut self, socket: SocketId) -> bool {
        let known = self.connections.remove(&socket);
        matches!(known, Some(Known::Nothing { .. }))
    }

    /// It was read what a process asks for. True if it sends spans, or nobody knows.
    pub(super) fn asked(&mut self, over: &AskedOver) -> bool {
        let known = self.connections.get_mut(&over.socket);
        let is_known = known.is_some();
        if let Some(known) = known {
            *known = Known::Read;
        }
        match over.asked {
            Ok(Asked::Spans) => true,
            Ok(Asked::OtherSignal | Asked::Else) => false,
            Err(Unreadable) => is_known,
        }
    }

    /// Processes whose connections have to do, as nothing was read of them until now.
    pub(super) fn unread(&mut self, now: Nanos) -> Vec<Pid> {
        let mut unread = Vec::new();
        for known in self.connections.values_mut() {
            if let Known::Nothing { pid, until } = *known
                && until <= now
            {
                unread.push(pid);
                *known = Known::Read;
            }
        }
        unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: SocketId = SocketId(7);
    const PID: Pid = 9;

    fn asked(asked: Result<Asked, Unreadable>) -> AskedOver {
        AskedOver {
            socket: SOCKET,
            pid: PID,
            asked,
        }
    }

    fn sent(stream_start: bool) -> Data {
        use crate::capture::event::{Direction, Endpoints, Label};
        Data {
            at: 0,
            pid: PID,
            tid: PID,
            label: Label::Unknown,
            socket: SOCKET,
            endpoints: Endpoints::Unknown,
            direction: Direction::Sent,
            position: 0,
            bytes: bytes::Bytes::new(),
            skipped: 1,
            stream_start,
            end_of_stream: false,
        }
    }

    #[test]
    fn what_is_asked_for_decides() {
        let mut collectors = Collectors::default();
        collectors.connecting(SOCKET, PID, 0);
        assert!(!collectors.sent(&sent(true)));
        assert!(!collectors.asked(&asked(Ok(Asked::OtherSignal))));
        assert!(collectors.unread(FIRST_BYTES).is_empty());
        assert!(!collectors.sent(&sent(false)));
        assert!(collectors.asked(&asked(Ok(Asked::Spans))));
        assert!(!collectors.ended(SOCKET));
        assert!(!collectors.asked(&asked(Ok(Asked::Else))));
    }

    #[test]
    fn where_nothing_is_read_the_connection_has_to_do() {
        let mut collectors = Collectors::default();
        collectors.connecting(SOCKET, PID, 0);
        assert!(collectors.unread(FIRST_BYTES - 1).is_empty());
        assert_eq!(collectors.unread(FIRST_BYTES), [PID]);
        assert!(collectors.unread(FIRST_BYTES).is_empty());
        collectors.connecting(SOCKET, PID, 0);
        assert!(collectors.ended(SOCKET));
        collectors.connecting(SOCKET, PID, 0);
        assert!(collectors.asked(&asked(Err(Unreadable))));
        // Older than we are.
        collectors.failed(SOCKET);
        assert!(collectors.sent(&sent(false)));
        assert!(!collectors.sent(&sent(true)));
        // That it could not be made says nothing.
        collectors.failed(SOCKET);
        assert!(collectors.unread(FIRST_BYTES).is_empty());
        // What goes elsewhere is none of its business.
        assert!(!collectors.asked(&asked(Err(Unreadable))));
    }

    #[test]
    fn ports_are_told_once_and_connections_forgotten() {
        let mut collectors = Collectors::default();
        assert_eq!(collectors.take_ports(), [GRPC_PORT]);
        collectors.service(&Service::default());
        assert!(collectors.take_ports().is_empty());
        for id in 0..=MOST_CONNECTIONS as u64 {
            collectors.connecting(SocketId(id), PID, 0);
        }
        assert_eq!(collectors.unread(FIRST_BYTES).len(), MOST_CONNECTIONS);
    }
}
