//! Stage 3: bytes to the parts of HTTP messages.
//!
//! - **In**: [`Chunk`]s of stage 2.
//! - **Out**: [`Part`]s: heads, events and bytes of those bodies that somebody reads, ends. Each
//!   says which request of its connection it belongs to.
//! - **Keeps**: per connection where both directions are, and which requests wait for a response;
//!   incomplete heads and events; decoders.
//! - **Limits**: [`Limits`](limits::Limits).
//! - **Loses**: what is not HTTP/1 (`tls`, `http2`, `not_http`, `upgraded`, `own_exports`,
//!   `given_up`), and messages whose beginning or whose counterpart was not seen
//!   (`searched_bytes`, `unpaired_responses`, `unpaired_requests`). Parsing never fails a stream:
//!   all its problems are counted in [`ProtocolCounters`](limits::ProtocolCounters).

mod content;
mod context;
mod http1;
pub mod limits;
pub mod part;
pub mod reader;
mod shape;
mod sse;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use http::HeaderMap;
use rustc_hash::FxHashMap;

use crate::capture::event::{Direction, SocketId};
use crate::streams::chunk::{Chunk, StreamChunk};
use crate::time::Nanos;
use context::Context;
use http1::connection::{Connection, Verdict};
use limits::{Limits, ProtocolCounters};
use part::Part;
use reader::Reading;

/// Connections to be ignored that are remembered until somebody asks. To mute them in the kernel
/// saves work and changes no result, so more are not remembered.
const MOST_OPAQUE: usize = 4096;

/// Stage 3.
pub struct Protocols {
    shared: Shared,
    /// As many as stage 2 follows.
    connections: FxHashMap<SocketId, Followed>,
    opaque: Vec<SocketId>,
    /// Bytes that all connections keep.
    buffered: usize,
}

/// What all connections are worked on with.
struct Shared {
    limits: Limits,
    reading: fn(&HeaderMap) -> Reading,
    /// Each decoder holds a clone.
    decoders: Arc<()>,
    counters: ProtocolCounters,
}

/// Whether a connection is followed.
enum Followed {
    Http1(Box<Connection>),
    Ignored,
}

impl Shared {
    fn context<'a>(&'a mut self, parts: &'a mut Vec<Part>) -> Context<'a> {
        Context {
            limits: &self.limits,
            counters: &mut self.counters,
            reading: self.reading,
            decoders: &self.decoders,
            parts,
        }
    }
}

impl Followed {
    /// Follows it no longer.
    fn ignore(&mut self, at: Nanos, context: &mut Context<'_>) {
        if let Self::Http1(connection) = std::mem::replace(self, Self::Ignored) {
            connection.ignore(at, context);
        }
    }
}

impl Protocols {
    /// A stage that has seen nothing. `reading` tells what the fields of a message say of its body:
    /// bodies that nobody reads are only measured.
    #[must_use]
    pub fn new(limits: Limits, reading: fn(&HeaderMap) -> Reading) -> Self {
        Self {
            shared: Shared {
                limits,
                reading,
                decoders: Arc::new(()),
                counters: ProtocolCounters::default(),
            },
            connections: FxHashMap::default(),
            opaque: Vec::new(),
            buffered: 0,
        }
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: Chunk, out: &mut Vec<Part>) {
        match chunk {
            Chunk::Stream(chunk) => self.stream(&chunk, out),
            Chunk::ConnectFailed(failed) => out.push(Part::ConnectFailed(failed)),
            Chunk::Ended(end) => {
                if let Some(Followed::Http1(connection)) = self.connections.remove(&end.socket) {
                    self.buffered -= connection.buffered();
                    connection.end(&end, &mut self.shared.context(out));
                }
                out.push(Part::Ended(end));
            }
            Chunk::ProcessExited { pid, at } => out.push(Part::ProcessExited { pid, at }),
        }
    }

    /// Memory is short: gives up the messages of which something is kept until more of them comes.
    pub fn shed(&mut self, now: Nanos, out: &mut Vec<Part>) {
        for (socket, followed) in &mut self.connections {
            let Followed::Http1(connection) = followed else {
                continue;
            };
            let mut context = self.shared.context(out);
            let before = connection.buffered();
            let is_ignored = [Direction::Sent, Direction::Received]
                .into_iter()
                .any(|direction| {
                    connection.waits(direction)
                        && connection.shed(direction, now, &mut context) != Verdict::Follow
                });
            self.buffered -= before;
            if !is_ignored {
                self.buffered += connection.buffered();
                continue;
            }
            followed.ignore(now, &mut context);
            if self.opaque.len() < MOST_OPAQUE {
                self.opaque.push(*socket);
            }
        }
    }

    /// Connections of which nothing more needs to be captured, since the last call.
    pub fn take_opaque(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.opaque)
    }

    /// What it saw and lost.
    #[must_use]
    pub fn counters(&self) -> &ProtocolCounters {
        &self.shared.counters
    }

    fn stream(&mut self, chunk: &StreamChunk, out: &mut Vec<Part>) {
        let mut context = self.shared.context(out);
        let mut entry = match self.connections.entry(chunk.socket) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                let connection = Connection::new(chunk.socket);
                entry.insert_entry(Followed::Http1(Box::new(connection)))
            }
        };
        let Followed::Http1(connection) = entry.get_mut() else {
            return;
        };
        self.buffered -= connection.buffered();
        let mut verdict = connection.push(chunk, &mut context);
        if verdict == Verdict::Follow
            && self.buffered + connection.buffered() > context.limits.buffered_bytes
            && connection.buffered() > 0
        {
            verdict = connection.shed(chunk.direction, chunk.at, &mut context);
        }
        if verdict == Verdict::Follow {
            self.buffered += connection.buffered();
        } else {
            entry.get_mut().ignore(chunk.at, &mut context);
            if self.opaque.len() < MOST_OPAQUE {
                self.opaque.push(chunk.socket);
            }
        }
    }
}
