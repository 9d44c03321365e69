//! What the parsers of stage 3 share while they work on one chunk.

use std::sync::Arc;

use http::HeaderMap;

use super::limits::{Limits, ProtocolCounters};
use super::part::{MessageContent, MessagePart, Part, Side};
use super::reader::Reading;
use crate::capture::event::SocketId;
use crate::time::Nanos;

/// Which message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    /// The connection.
    pub socket: SocketId,
    /// Number of its request on the connection.
    pub number: u64,
    /// Which of the two.
    pub side: Side,
}

/// What the parsers share.
pub struct Context<'a> {
    /// Bounds.
    pub limits: &'a Limits,
    /// Counters.
    pub counters: &'a mut ProtocolCounters,
    /// What these fields of a message say of its body.
    pub reading: fn(&HeaderMap) -> Reading,
    /// Each decoder holds a clone.
    pub decoders: &'a Arc<()>,
    /// Where parts go.
    pub parts: &'a mut Vec<Part>,
}

impl Context<'_> {
    /// Tells a part of a message.
    pub fn tell(&mut self, id: MessageId, at: Nanos, content: MessageContent) {
        self.parts.push(Part::Message(MessagePart {
            socket: id.socket,
            number: id.number,
            side: id.side,
            at,
            content,
        }));
    }
}
