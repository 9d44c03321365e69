//! Stage 2: events to the ordered bytes of each direction of each connection.
//!
//! - **In**: [`Event`]s in the kernel's order.
//! - **Out**: [`Chunk`]s; per direction they follow each other, and what is missing is told.
//! - **Keeps**: per connection the two expected positions, who used it last, how far its end came.
//! - **Limits**: [`Limits::connections`], [`Limits::idle`]; no payload is kept.
//! - **Loses**: connections that are forgotten (`evicted`, `idle`) or not followed because memory is
//!   short (`refused`), bytes told twice
//!   (`duplicate_bytes`). Counts what was lost before it (`gaps`, `gap_bytes`, `skipped_bytes`,
//!   `late_starts`, `misplaced`).

pub mod chunk;
mod position;
mod table;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use crate::capture::event::{
    ConnectionChange, ConnectionEvent, Data, Event, Label, Pid, ProcessChange, SocketId,
};
use crate::time::Nanos;
use chunk::{Actor, Chunk, ConnectionEnd, Content, Ending, FailedConnect, Gap, StreamChunk};
use position::{FARTHEST_AHEAD, Fit, fit};
use table::{Connection, Table};

/// Bounds of this stage.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that are followed at a time; the least recently used one gives way. A
    /// connection costs some 150 bytes here and, while it is idle, as much in the later stages.
    pub connections: usize,
    /// A connection on which nothing moved for so long is forgotten, in ns. Event streams that
    /// say nothing live long; this is only for connections whose end was not seen.
    pub idle: Nanos,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            idle: 3_600_000_000_000,
        }
    }
}

crate::counters! {
    /// What stage 2 saw and lost.
    pub struct StreamCounters: "streams" {
        /// Connections that were entered into the table.
        connections,
        /// Bytes told on.
        bytes,
        /// Holes left by lost records.
        gaps,
        /// Bytes in those holes.
        gap_bytes,
        /// Bytes that moved and were not captured: the middles of large messages, and operations
        /// whose buffers could not be read.
        skipped_bytes,
        /// Bytes that were told before.
        duplicate_bytes,
        /// Jumps of a position that no loss explains.
        misplaced,
        /// Directions of connections that were in use before they were seen.
        late_starts,
        /// Connections forgotten because the table was full.
        evicted,
        /// Connections forgotten because nothing moved for long.
        idle,
        /// Connections not followed because memory is short.
        refused,
    }
}

/// Stage 2.
pub struct Streams {
    idle: Nanos,
    table: Table,
    /// New connections are followed.
    admits: bool,
    /// Connections that were not, since they were asked for.
    refused: Vec<SocketId>,
    counters: StreamCounters,
}

impl Streams {
    /// A stage that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            idle: limits.idle,
            table: Table::new(limits.connections),
            admits: true,
            refused: Vec::new(),
            counters: StreamCounters::default(),
        }
    }

    /// Whether connections that are new from now on are followed.
    pub fn admit(&mut self, admits: bool) {
        self.admits = admits;
    }

    /// Connections that are not followed, since this was asked last.
    pub fn take_refused(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.refused)
    }

    /// Takes the next event.
    pub fn push(&mut self, event: &Event, out: &mut Vec<Chunk>) {
        if !self.admits && self.refuses(event) {
            return;
        }
        match event {
            Event::Data(data) => self.data(data, out),
            Event::Connection(connection) => self.connection(connection, out),
            Event::Process(process) => {
                if process.change == ProcessChange::Exited {
                    self.process_exited(process.pid, process.at, out);
                }
            }
            Event::Pod(_)
            | Event::Peer(_)
            | Event::Context(_)
            | Event::Clock { .. }
            | Event::Lost { .. } => {}
        }
    }

    /// Forgets connections that have been idle for too long.
    pub fn tick(&mut self, now: Nanos, out: &mut Vec<Chunk>) {
        while let Some((socket, last_at)) = self.table.oldest() {
            if last_at.saturating_add(self.idle) > now {
                break;
            }
            self.counters.idle += 1;
            self.end(socket, now, Ending::Forgotten, out);
        }
    }

    /// The agent stops: ends every connection, the least recently used one first.
    pub fn finish(&mut self, now: Nanos, out: &mut Vec<Chunk>) {
        while let Some((socket, _)) = self.table.oldest() {
            self.end(socket, now, Ending::AgentStopped, out);
        }
    }

    /// Whether the event would enter a connection. Those whose bytes come are told to be muted in the
    /// kernel; they are asked for after each batch of records, so that they are few.
    fn refuses(&mut self, event: &Event) -> bool {
        let socket = match event {
            Event::Data(data) => data.socket,
            Event::Connection(event) if event.change.is_connecting() => event.socket,
            _ => return false,
        };
        if self.table.contains(socket) {
            return false;
        }
        if let Event::Data(_) = event
            && !self.refused.contains(&socket)
        {
            self.counters.refused += 1;
            self.refused.push(socket);
        }
        true
    }

    /// Connections that are followed.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table.len()
    }

    /// What it saw and lost.
    #[must_use]
    pub fn counters(&self) -> &StreamCounters {
        &self.counters
    }

    fn data(&mut self, data: &Data, out: &mut Vec<Chunk>) {
        let moves_nothing = data.bytes.is_empty() && data.skipped == 0;
        if moves_nothing && !self.table.contains(data.socket) {
            // The end of a stream whose connection is over already, or never carried anything.
            return;
        }
        let actor = Actor {
            pid: data.pid,
            tid: data.tid,
            label: data.label,
        };
        let connection = self.touch(data.socket, actor, data.at, out);
        connection.peer_finished |= data.end_of_stream;
        let expected = &mut connection.expected[data.direction as usize];
        let moved = data.bytes.len() as u64 + skipped(data);
        let end = after(data.position, moved);
        let before = expected.replace(end);
        let gap = match before.map(|before| fit(before, data.position)) {
            None if data.stream_start || moved == 0 => None,
            None => Some(Gap::LateStart),
            Some(Fit::Next) => None,
            Some(Fit::Ahead(missing)) => Some(Gap::Missing(missing)),
            Some(Fit::Behind(overlap)) => {
                // Whatever is new in it still follows what was told before.
                *expected = before.max(Some(end));
                return self.tell_operation(data, actor, None, overlap, out);
            }
            Some(Fit::Elsewhere) => Some(Gap::Unknown),
        };
        self.tell_operation(data, actor, gap, 0, out);
    }

    /// Tells one socket operation: a gap before it, then its bytes without the first `overlap`.
    fn tell_operation(
        &mut self,
        data: &Data,
        actor: Actor,
        gap: Option<Gap>,
        overlap: u64,
        out: &mut Vec<Chunk>,
    ) {
        let mut tell = |position, content| {
            out.push(Chunk::Stream(StreamChunk {
                at: data.at,
                actor,
                socket: data.socket,
                endpoints: data.endpoints,
                direction: data.direction,
                position,
                content,
            }));
        };
        let counters = &mut self.counters;
        if let Some(gap) = gap {
            let mut position = data.position;
            match gap {
                Gap::LateStart => counters.late_starts += 1,
                Gap::Missing(missing) => {
                    counters.gaps += 1;
                    counters.gap_bytes += missing;
                    position -= missing;
                }
                Gap::Unknown => counters.misplaced += 1,
            }
            tell(position, Content::Gap(gap));
        }
        let length = data.bytes.len() as u64;
        let known_bytes = overlap.min(length);
        let skipped = skipped(data);
        let known_skipped = (overlap - known_bytes).min(skipped);
        counters.duplicate_bytes += known_bytes + known_skipped;
        if known_bytes < length {
            counters.bytes += length - known_bytes;
            let bytes = data.bytes.slice(known_bytes as usize..);
            tell(after(data.position, known_bytes), Content::Bytes(bytes));
        }
        if known_skipped < skipped {
            let missing = skipped - known_skipped;
            counters.skipped_bytes += missing;
            let position = after(data.position, length + known_skipped);
            tell(position, Content::Gap(Gap::Missing(missing)));
        }
        if data.end_of_stream {
            tell(
                after(data.position, overlap.max(length + skipped)),
                Content::End,
            );
        }
    }

    fn connection(&mut self, event: &ConnectionEvent, out: &mut Vec<Chunk>) {
        // Most connection events happen in the time of another process: they know no thread.
        let mut actor = Actor {
            pid: event.pid,
            tid: 0,
            label: Label::Unknown,
        };
        if let ConnectionChange::ConnectingIn { tid, label } = event.change {
            actor.tid = tid;
            actor.label = label;
        }
        match event.change {
            ConnectionChange::Connecting | ConnectionChange::ConnectingIn { .. } => {
                let connection = self.touch(event.socket, actor, event.at, out);
                connection.connecting_at = Some(event.at);
            }
            ConnectionChange::ConnectFailed { errno } => {
                // Nothing has moved since it began: whoever used it last connected.
                let began = self
                    .table
                    .remove(event.socket)
                    .and_then(|connection| Some((connection.connecting_at?, connection.actor)));
                let (began, actor) = began.unwrap_or((event.at, actor));
                out.push(Chunk::ConnectFailed(FailedConnect {
                    actor,
                    endpoints: event.endpoints,
                    at: began,
                    failed_at: event.at,
                    errno,
                }));
            }
            ConnectionChange::Broken { errno } => {
                self.end(event.socket, event.at, Ending::Broken { errno }, out);
            }
            ConnectionChange::PeerFinished => {
                if let Some(connection) = self.table.get_mut(event.socket) {
                    connection.peer_finished = true;
                }
            }
            ConnectionChange::Closed => {
                if let Some(connection) = self.table.get_mut(event.socket) {
                    let peer_finished = connection.peer_finished;
                    let ending = Ending::Closed { peer_finished };
                    self.end(event.socket, event.at, ending, out);
                }
            }
        }
    }

    fn process_exited(&mut self, pid: Pid, at: Nanos, out: &mut Vec<Chunk>) {
        for socket in self.table.used_by(pid) {
            self.end(socket, at, Ending::ProcessExited, out);
        }
        out.push(Chunk::ProcessExited { pid, at });
    }

    fn touch(
        &mut self,
        socket: SocketId,
        actor: Actor,
        at: Nanos,
        out: &mut Vec<Chunk>,
    ) -> &mut Connection {
        if let Some(oldest) = self.table.in_the_way_of(socket) {
            self.counters.evicted += 1;
            self.end(oldest, at, Ending::Forgotten, out);
        }
        let (connection, is_new) = self.table.touch(socket, actor, at);
        self.counters.connections += u64::from(is_new);
        connection
    }

    /// Ends a connection, where it is known.
    fn end(&mut self, socket: SocketId, at: Nanos, ending: Ending, out: &mut Vec<Chunk>) {
        if self.table.remove(socket).is_some() {
            out.push(Chunk::Ended(ConnectionEnd { socket, at, ending }));
        }
    }
}

/// Bytes that an operation moved and that were not captured. No system call moves more than 2 GiB
/// (`MAX_RW_COUNT`); a damaged recording may say so.
fn skipped(data: &Data) -> u64 {
    data.skipped.min(FARTHEST_AHEAD)
}

/// The position `bytes` further on. Positions of a damaged recording may be anything.
fn after(position: u64, bytes: u64) -> u64 {
    position.saturating_add(bytes)
}
