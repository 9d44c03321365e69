//! What a source of events can do.

use super::event::{Event, SocketId};
use crate::health::counters::Counters;

/// Kernel hooks of one kind that make events. Kernels before 6.3 lack the socket tracepoints and
/// need another kind than those after; the pipeline does not know which it is.
pub trait FrontEnd: Counters {
    /// Sleeps until there may be something to read.
    fn wait(&mut self);

    /// Appends the events of at most `most` records; true if there may be more.
    fn read(&mut self, most: usize, events: &mut Vec<Event>) -> bool;

    /// Captures nothing more of a connection.
    fn mute(&mut self, socket: SocketId);

    /// Captures HTTP/2, too, on connections to this port that begin from now on.
    fn capture_http2_to(&mut self, port: u16);
}
