//! Stage 3: bytes to the parts of HTTP messages.
//!
//! - **In**: [`Chunk`]s of stage 2.
//! - **Out**: [`Part`]s: heads, events and bytes of those bodies that somebody reads, ends. Each
//!   says which request of its connection it belongs to. Of HTTP/2, which is seen only on its way to
//!   collectors, [what is asked for](Protocols::take_asked).
//! - **Keeps**: per connection where both directions are, and which requests wait for a response;
//!   incomplete heads and events; decoders.
//! - **Limits**: [`Limits`](limits::Limits).
//! - **Loses**: what else is not HTTP/1 (`tls`, `http2`, `not_http`, `upgraded`, `own_exports`,
//!   `given_up`), and messages whose beginning or whose counterpart was not seen
//!   (`searched_bytes`, `unpaired_responses`, `unpaired_requests`). Parsing never fails a stream:
//!   all its problems are counted in [`ProtocolCounters`](limits::ProtocolCounters).

mod content;
mod context;
mod http1;
pub mod http2;
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

use crate::capture::event::{Direction, Pid, SocketId};
use crate::streams::chunk::{Chunk, Content, Gap, StreamChunk};
use crate::time::Nanos;
use context::Context;
use http1::connection::{Connection, Verdict};
use http2::{Asked, Client, Unreadable};
use limits::{Limits, ProtocolCounters};
use part::Part;
use reader::Reading;

/// Connections to be ignored that are remembered until somebody asks. To mute them in the kernel
/// saves work and changes no result, so more are not remembered.
const MOST_OPAQUE: usize = 4096;

/// Connections of HTTP/2 that are read at once, each with a table of fields. A node's processes have one
/// or a few for each exporter; what is not read tells nothing, and is taken for an export of spans.
const MOST_HTTP2: usize = 1024;

/// Stage 3.
pub struct Protocols {
    shared: Shared,
    /// As many as stage 2 follows.
    connections: FxHashMap<SocketId, Followed>,
    opaque: Vec<SocketId>,
    /// Bytes that all connections keep.
    buffered: usize,
    /// How many of the connections are HTTP/2.
    http2: usize,
    asked: Vec<AskedOver>,
}

/// What is asked for over a connection of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedOver {
    /// The connection.
    pub socket: SocketId,
    /// Who asks.
    pub pid: Pid,
    /// For what; after an error nothing more of the connection is read.
    pub asked: Result<Asked, Unreadable>,
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
    Http2(Box<Client>),
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
            http2: 0,
            asked: Vec::new(),
        }
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: Chunk, out: &mut Vec<Part>) {
        match chunk {
            Chunk::Stream(chunk) => self.stream(&chunk, out),
            Chunk::ConnectFailed(failed) => out.push(Part::ConnectFailed(failed)),
            Chunk::Ended(end) => {
                match self.connections.remove(&end.socket) {
                    Some(Followed::Http1(connection)) => {
                        self.buffered -= connection.buffered();
                        connection.end(&end, &mut self.shared.context(out));
                    }
                    Some(Followed::Http2(_)) => self.http2 -= 1,
                    Some(Followed::Ignored) | None => {}
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

    /// What is asked for over HTTP/2, since the last call.
    pub fn take_asked(&mut self) -> Vec<AskedOver> {
        std::mem::take(&mut self.asked)
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
        let connection = match entry.get_mut() {
            Followed::Http1(connection) => connection,
            Followed::Http2(client) => {
                if read_http2(client, chunk, &mut self.asked) == Verdict::Ignore {
                    entry.insert(Followed::Ignored);
                    self.http2 -= 1;
                    if self.opaque.len() < MOST_OPAQUE {
                        self.opaque.push(chunk.socket);
                    }
                }
                return;
            }
            Followed::Ignored => return,
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
            if self.http2 < MOST_HTTP2 && begins_http2(chunk) {
                let mut client = Box::<Client>::default();
                if read_http2(&mut client, chunk, &mut self.asked) == Verdict::Follow {
                    entry.insert(Followed::Http2(client));
                    self.http2 += 1;
                    return;
                }
            }
            if self.opaque.len() < MOST_OPAQUE {
                self.opaque.push(chunk.socket);
            }
        }
    }
}

/// Whether a connection whose first bytes these are is HTTP/2, of which this end is the client.
fn begins_http2(chunk: &StreamChunk) -> bool {
    match (&chunk.content, chunk.direction) {
        (Content::Bytes(bytes), Direction::Sent) => http2::is_client(bytes),
        // Servers need not wait for what clients say first.
        (Content::Bytes(bytes), Direction::Received) => http2::is_server(bytes),
        (Content::Gap(_) | Content::End, _) => false,
    }
}

/// Reads what a client sends, until nothing more of it can be or needs to be read.
fn read_http2(client: &mut Client, chunk: &StreamChunk, asked: &mut Vec<AskedOver>) -> Verdict {
    if chunk.direction == Direction::Received {
        return Verdict::Follow;
    }
    let mut verdict = Verdict::Follow;
    let mut tell = |one| {
        // Spans are what matters; and what asks for something else is none of our business.
        if one != Ok(Asked::OtherSignal) {
            verdict = Verdict::Ignore;
        }
        if asked.len() < MOST_OPAQUE {
            asked.push(AskedOver {
                socket: chunk.socket,
                pid: chunk.actor.pid,
                asked: one,
            });
        }
    };
    let result = match &chunk.content {
        Content::Bytes(bytes) => client.push(bytes, &mut |asked| tell(Ok(asked))),
        Content::Gap(Gap::Missing(missing)) => client.gap(*missing),
        Content::Gap(Gap::LateStart | Gap::Unknown) => Err(Unreadable),
        Content::End => Ok(()),
    };
    if let Err(unreadable) = result {
        tell(Err(unreadable));
    }
    verdict
}
