//! What stage 2 tells: the ordered content of streams, and how connections end.

use bytes::Bytes;

use crate::capture::event::{Direction, Endpoints, Label, Pid, SocketId};
use crate::time::Nanos;

/// Who did something: process and thread of a socket operation, and what the thread ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The process.
    pub pid: Pid,
    /// The thread; 0 where it is not known.
    pub tid: u32,
    /// What the thread ran.
    pub label: Label,
}

/// One thing that happened to a connection or a process, in the order of the kernel's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// The next piece of one direction of a connection.
    Stream(StreamChunk),
    /// A connection could not be made.
    ConnectFailed(FailedConnect),
    /// A connection is over; nothing more is told of it.
    Ended(ConnectionEnd),
    /// A process is gone. All its connections ended before this is told.
    ProcessExited {
        /// Which.
        pid: Pid,
        /// When.
        at: Nanos,
    },
}

/// The next piece of one direction of a connection. Pieces follow each other without overlap; a
/// piece that is not known is told as a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamChunk {
    /// End of the socket operation.
    pub at: Nanos,
    /// Who moved it.
    pub actor: Actor,
    /// The socket.
    pub socket: SocketId,
    /// Its two ends.
    pub endpoints: Endpoints,
    /// Which way.
    pub direction: Direction,
    /// Position of the first byte in the stream, as in [`Data`](crate::capture::event::Data).
    pub position: u64,
    /// What it is.
    pub content: Content,
}

/// Content of a piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes, never empty.
    Bytes(Bytes),
    /// Bytes that are not known.
    Gap(Gap),
    /// The process read the end of the stream.
    End,
}

/// Why bytes are not known, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The direction was in use before its first chunk. Always its first content.
    LateStart,
    /// This many bytes moved that were not captured, or whose record was lost. Never 0.
    Missing(u64),
    /// Positions jumped in a way that no loss explains; what was told before has nothing to do
    /// with what comes.
    Unknown,
}

/// A connection that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedConnect {
    /// Who tried.
    pub actor: Actor,
    /// From and to where.
    pub endpoints: Endpoints,
    /// Began; the same as `failed_at` where the beginning was not seen.
    pub at: Nanos,
    /// Failed.
    pub failed_at: Nanos,
    /// The kernel's error number, positive.
    pub errno: i32,
}

/// The end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// The socket.
    pub socket: SocketId,
    /// When.
    pub at: Nanos,
    /// How.
    pub ending: Ending,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This end finished or closed it.
    Closed {
        /// The other end had finished before.
        peer_finished: bool,
    },
    /// It broke.
    Broken {
        /// The kernel's error number, positive.
        errno: i32,
    },
    /// The process that used it last is gone.
    ProcessExited,
    /// It was idle for long, or the table was full. Should it move again, it starts late.
    Forgotten,
    /// The agent stops.
    AgentStopped,
}
