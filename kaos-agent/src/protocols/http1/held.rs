//! Responses that are told before their requests.
//!
//! A socket operation is told when it has ended. Where one thread of a client sends and another
//! receives (Go's `net/http` does), the response may be read before the sending thread gets to
//! the end of its operation. Such a response is held until its request comes.

use bytes::Bytes;

use super::super::context::Context;
use super::connection::{Connection, Verdict};
use super::half::Half;
use crate::capture::event::Direction;
use crate::streams::chunk::{Content, StreamChunk};
use crate::time::Nanos;

/// How long after a response its request may be told, in ns: many times what a scheduler keeps a
/// thread waiting, far less than what idle connections wait for their next request.
const LATEST: Nanos = 100_000_000;

/// Chunks of received bytes that wait for a request.
#[derive(Default)]
pub struct HeldResponses {
    chunks: Vec<StreamChunk>,
    buffered: usize,
}

impl HeldResponses {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes that it keeps.
    pub fn buffered(&self) -> usize {
        self.buffered
    }
}

impl Connection {
    /// Whether these bytes, at a boundary, are a response that came before its request.
    pub(super) fn must_hold(&self, direction: Direction, input: &[u8]) -> bool {
        direction == Direction::Received
            && self.requests != Some(Direction::Received)
            && self.pending.is_empty()
            && matches!(self.halves[Direction::Sent as usize], Half::Head(_))
            && input.starts_with(b"HTTP/")
    }

    /// Holds received bytes.
    pub(super) fn hold(
        &mut self,
        chunk: &StreamChunk,
        bytes: &Bytes,
        context: &mut Context<'_>,
    ) -> Verdict {
        let content = Content::Bytes(bytes.clone());
        self.held.buffered += bytes.len();
        self.held.chunks.push(StreamChunk { content, ..*chunk });
        if self.held.buffered > context.limits.held_bytes {
            self.drop_held(context);
        }
        Verdict::Follow
    }

    /// After sent bytes: takes the held ones, where they can be answers to a request now.
    pub(super) fn release(
        &mut self,
        direction: Direction,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Some(first) = self.held.chunks.first() else {
            return Verdict::Follow;
        };
        if direction != Direction::Sent || self.pending.is_empty() {
            return Verdict::Follow;
        }
        if at.saturating_sub(first.at) > LATEST {
            self.drop_held(context);
            return Verdict::Follow;
        }
        context.counters.held_responses += 1;
        for mut chunk in std::mem::take(&mut self.held).chunks {
            // An answer cannot have moved before what it answers.
            chunk.at = chunk.at.max(at);
            if self.push(&chunk, context) == Verdict::Ignore {
                return Verdict::Ignore;
            }
        }
        Verdict::Follow
    }

    /// No request will come for what is held.
    pub(super) fn drop_held(&mut self, context: &mut Context<'_>) {
        if !self.held.is_empty() {
            context.counters.unpaired_responses += 1;
            self.held = HeldResponses::default();
            self.halves[Direction::Received as usize] = Half::Lost(None);
        }
    }
}
