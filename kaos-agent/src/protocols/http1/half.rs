//! One direction of a connection.

use super::head_buffer::HeadBuffer;
use super::message::Message;
use crate::streams::chunk::Actor;
use crate::time::Nanos;

/// Where in its stream of messages a direction is.
pub enum Half {
    /// Between messages, or in a head.
    Head(PartialHead),
    /// In a message, after its head.
    Body(Message),
    /// Nobody knows: a boundary is searched. The response that is still going on, if any.
    Lost(Option<Message>),
    /// At its end.
    Ended,
}

/// A head as it comes.
#[derive(Default)]
pub struct PartialHead {
    /// Its bytes so far.
    pub buffer: HeadBuffer,
    /// Its first byte, where that has come.
    pub first: Option<First>,
    /// How it is known that a message begins here.
    pub because: Because,
}

/// How it is known that a message begins somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Because {
    /// The stream starts there.
    StreamStart,
    /// The message before ended there.
    #[default]
    MessageEnd,
    /// After a loss, there is what looks like a start line.
    Found,
}

/// The first byte of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// When it moved.
    pub at: Nanos,
    /// Who moved it.
    pub actor: Actor,
    /// Its position in the stream.
    pub position: u64,
    /// It was not the first byte of its chunk: the message before ended in the same operation.
    pub is_inside_chunk: bool,
}

impl Half {
    /// At the boundary of a message.
    pub fn boundary(because: Because) -> Self {
        Self::Head(PartialHead {
            because,
            ..PartialHead::default()
        })
    }

    /// Whether some bytes of a head have come, and not all.
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Head(head) if head.first.is_some())
    }

    /// Bytes that it keeps.
    pub fn buffered(&self) -> usize {
        match self {
            Self::Head(head) => head.buffer.bytes().len(),
            Self::Body(message) => message.buffered(),
            Self::Lost(_) | Self::Ended => 0,
        }
    }

    /// Takes its message, after its head, out of it; it is left lost.
    pub fn take_message(&mut self) -> Option<Message> {
        match std::mem::replace(self, Self::Lost(None)) {
            Self::Body(message) => Some(message),
            Self::Lost(message) => message,
            Self::Head(_) | Self::Ended => None,
        }
    }
}
