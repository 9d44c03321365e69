//! Events for tests, as the kernel would tell them.

use bytes::Bytes;

use crate::capture::event::{
    ConnectionChange, ConnectionEvent, Data, Direction, Endpoints, Event, Label, Pid,
    ProcessChange, ProcessEvent, SocketId,
};
use crate::time::Nanos;

/// Process of [`Wire`]s, unless another is given.
pub const PID: Pid = 100;

/// One connection: a list of events that grows by one method call each, every one 10 ns after the
/// one before.
#[derive(Clone)]
pub struct Wire {
    /// The events so far.
    pub events: Vec<Event>,
    /// Time of the last event.
    pub now: Nanos,
    /// Process of the next events; its thread has the same number.
    pub pid: Pid,
    socket: SocketId,
    positions: [u64; 2],
    started: [bool; 2],
}

impl Wire {
    /// A connection that is seen from its first byte.
    pub fn new(socket: u64) -> Self {
        Self {
            events: Vec::new(),
            now: 1000,
            pid: PID,
            socket: SocketId(socket),
            positions: [10_000, 20_000],
            started: [false; 2],
        }
    }

    /// A connection that was in use before.
    pub fn late(socket: u64) -> Self {
        Self {
            started: [true; 2],
            ..Self::new(socket)
        }
    }

    /// The process sends.
    pub fn sent(self, bytes: impl AsRef<[u8]>) -> Self {
        self.moved(Direction::Sent, bytes, 0)
    }

    /// The process receives.
    pub fn received(self, bytes: impl AsRef<[u8]>) -> Self {
        self.moved(Direction::Received, bytes, 0)
    }

    /// An operation of which the last `skipped` bytes were not captured.
    pub fn moved(mut self, direction: Direction, bytes: impl AsRef<[u8]>, skipped: u64) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let length = bytes.len() as u64 + skipped;
        let position = self.positions[direction as usize];
        self.data(direction, position, bytes, skipped, false);
        self.positions[direction as usize] += length;
        self
    }

    /// Bytes that moved without a record.
    pub fn lost(mut self, direction: Direction, bytes: u64) -> Self {
        self.now += 10;
        self.positions[direction as usize] += bytes;
        self.started[direction as usize] = true;
        self
    }

    /// Bytes at another place than the one that follows.
    pub fn moved_at(mut self, direction: Direction, offset: i64, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        let position = self.positions[direction as usize].wrapping_add_signed(offset);
        self.data(direction, position, bytes.clone(), 0, false);
        self.positions[direction as usize] = position.saturating_add(bytes.len() as u64);
        self
    }

    /// The process read the end of the stream.
    pub fn end_of_stream(mut self) -> Self {
        let position = self.positions[Direction::Received as usize];
        self.data(Direction::Received, position, Bytes::new(), 0, true);
        self
    }

    /// The process begins to connect.
    pub fn connecting(self) -> Self {
        self.changed(ConnectionChange::Connecting)
    }

    /// It could not.
    pub fn connect_failed(self, errno: i32) -> Self {
        self.changed(ConnectionChange::ConnectFailed { errno })
    }

    /// The connection breaks.
    pub fn broken(self, errno: i32) -> Self {
        self.changed(ConnectionChange::Broken { errno })
    }

    /// The other end sends its FIN.
    pub fn peer_finished(self) -> Self {
        self.changed(ConnectionChange::PeerFinished)
    }

    /// This end closes.
    pub fn closed(self) -> Self {
        self.changed(ConnectionChange::Closed)
    }

    /// The process of the last events is gone.
    pub fn exited(mut self) -> Self {
        self.now += 10;
        self.events.push(Event::Process(ProcessEvent {
            at: self.now,
            pid: self.pid,
            change: ProcessChange::Exited,
        }));
        self
    }

    /// The next events are another process's.
    pub fn by(mut self, pid: Pid) -> Self {
        self.pid = pid;
        self
    }

    /// The next events happen so much later.
    pub fn after(mut self, nanos: Nanos) -> Self {
        self.now += nanos;
        self
    }

    fn data(
        &mut self,
        direction: Direction,
        position: u64,
        bytes: Bytes,
        skipped: u64,
        end_of_stream: bool,
    ) {
        self.now += 10;
        self.events.push(Event::Data(Data {
            at: self.now,
            pid: self.pid,
            tid: self.pid,
            label: Label::Unknown,
            socket: self.socket,
            endpoints: endpoints(),
            direction,
            position,
            bytes,
            skipped,
            stream_start: !std::mem::replace(&mut self.started[direction as usize], true),
            end_of_stream,
        }));
    }

    fn changed(mut self, change: ConnectionChange) -> Self {
        self.now += 10;
        self.events.push(Event::Connection(ConnectionEvent {
            at: self.now,
            pid: self.pid,
            socket: self.socket,
            endpoints: endpoints(),
            change,
        }));
        self
    }
}

/// The two ends of every connection of tests.
pub fn endpoints() -> Endpoints {
    Endpoints::Tcp {
        local: ([10, 0, 0, 1], 40_000).into(),
        remote: ([10, 0, 0, 2], 8000).into(),
        network_namespace: 1,
    }
}

/// Cuts the bytes of an event in pieces that happen at the same time, at the given offsets.
pub fn cut(event: &Event, offsets: &[usize]) -> Vec<Event> {
    let Event::Data(data) = event else {
        return vec![event.clone()];
    };
    let mut offsets: Vec<usize> = offsets
        .iter()
        .map(|offset| offset % data.bytes.len().max(1))
        .filter(|offset| *offset > 0)
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    offsets.push(data.bytes.len());
    let mut start = 0;
    let mut pieces = Vec::new();
    for end in offsets {
        let is_last = end == data.bytes.len();
        pieces.push(Event::Data(Data {
            position: data.position + start as u64,
            bytes: data.bytes.slice(start..end),
            skipped: if is_last { data.skipped } else { 0 },
            stream_start: data.stream_start && start == 0,
            end_of_stream: data.end_of_stream && is_last,
            ..data.clone()
        }));
        start = end;
    }
    pieces
}
