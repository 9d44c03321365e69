//! Finding the boundaries of messages again.
//!
//! What is known of boundaries is exact as long as no bytes are missing, or only such within a
//! body whose length is known. After any other loss the rules are those of clients that send a
//! request only when the response before is whole, as nearly all do:
//! - A start line at the beginning of a chunk is taken for a boundary; a response's only while a
//!   request waits for it.
//! - Requests that were waiting when a loss of response bytes was found are given up: nobody
//!   knows how many responses were lost, or how many requests with them.
//! - A chunked response ends with an operation that ends with the last chunk.
//! - A request that begins shows that all before it is over, and response bytes without a start
//!   line that the response to what waits has begun.
//!
//! A connection that was seen to pipeline is given up as a whole when bytes are missing while
//! requests wait.

use bytes::Bytes;

use super::super::context::{Context, MessageId};
use super::super::part::{BodyEnd, CutReason, MessageContent, Side};
use super::connection::{Connection, Verdict};
use super::half::{Because, Half};
use super::head::{self, Beginning};
use super::message::Progress;
use crate::capture::event::Direction;
use crate::streams::chunk::{Gap, StreamChunk};
use crate::time::Nanos;

impl Connection {
    /// Bytes of a direction are missing.
    pub(super) fn gap(
        &mut self,
        chunk: &StreamChunk,
        gap: Gap,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.drop_held(context);
        let (direction, at) = (chunk.direction, chunk.at);
        if gap == Gap::LateStart && self.may_start_late() {
            self.halves[direction as usize] = Half::Lost(None);
            self.is_late = true;
            return Verdict::Follow;
        }
        match (gap, &mut self.halves[direction as usize]) {
            (_, Half::Ended) => Verdict::Follow,
            (Gap::Missing(missing), Half::Body(message)) => {
                match message.gap(missing, at, context) {
                    Progress::More => Verdict::Follow,
                    Progress::Whole => {
                        self.end_message(direction, at, context);
                        Verdict::Follow
                    }
                    Progress::Lost => self.lose(direction, at, context),
                }
            }
            (Gap::Missing(missing), Half::Lost(Some(message))) => {
                let _ = message.gap(missing, at, context);
                self.lose(direction, at, context)
            }
            _ => self.lose(direction, at, context),
        }
    }

    /// Whether a direction of which nothing was told may just have been in use before, rather
    /// than have lost something that now waits in the other direction.
    fn may_start_late(&self) -> bool {
        self.pending.is_empty() || (self.is_late && self.next_number == 1)
    }

    /// The boundaries in one direction are lost.
    pub(super) fn lose(
        &mut self,
        direction: Direction,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.drop_held(context);
        if self.pipelines && !self.pending.is_empty() {
            context.counters.given_up += 1;
            return Verdict::Ignore;
        }
        let half = &mut self.halves[direction as usize];
        if !matches!(half, Half::Lost(_)) {
            context.counters.framing_lost += 1;
        }
        match half.take_message() {
            None => self.give_up_pending(None, at, context),
            Some(request) if request.id.side == Side::Request => {
                // Its own response can still be told.
                self.give_up_pending(Some(request.id.number), at, context);
                request.tell_cut(CutReason::FramingLost, at, context);
            }
            Some(mut response) => {
                response.lose();
                *half = Half::Lost(Some(response));
                self.give_up_pending(None, at, context);
            }
        }
        Verdict::Follow
    }

    /// Whether a direction that is lost has a message boundary here.
    pub(super) fn is_boundary(
        &self,
        direction: Direction,
        input: &Bytes,
        context: &mut Context<'_>,
    ) -> bool {
        match head::beginning(input) {
            Beginning::Request => self.requests != Some(direction.opposite()),
            Beginning::Response if self.requests == Some(direction) => false,
            Beginning::Response => {
                let is_asked_for = !self.pending.is_empty();
                context.counters.unpaired_responses += u64::from(!is_asked_for);
                is_asked_for
            }
            Beginning::Unclear | Beginning::Other => false,
        }
    }

    /// A boundary was found in a direction that was lost.
    pub(super) fn found(&mut self, direction: Direction, at: Nanos, context: &mut Context<'_>) {
        let half = &mut self.halves[direction as usize];
        if let Some(message) = half.take_message() {
            message.tell_cut(CutReason::FramingLost, at, context);
        }
        *half = Half::boundary(Because::Found);
    }

    /// Steps over bytes without a boundary.
    pub(super) fn search(
        &mut self,
        direction: Direction,
        input: &mut Bytes,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> Verdict {
        let length = input.len() as u64;
        context.counters.searched_bytes += length;
        self.searched[direction as usize] += length;
        if let Half::Lost(Some(message)) = &mut self.halves[direction as usize]
            && message.push(input, at, context) == Progress::Whole
        {
            self.end_message(direction, at, context);
            return Verdict::Follow;
        }
        input.clear();
        if self.requests == Some(direction.opposite()) {
            // What waits for a response has had it: these are its bytes, not recognised.
            self.give_up_pending(None, at, context);
        }
        if self
            .searched
            .iter()
            .all(|searched| *searched >= context.limits.search_bytes)
        {
            context.counters.not_http += 1;
            return Verdict::Ignore;
        }
        Verdict::Follow
    }

    /// What it keeps of a direction is too much: drops it.
    pub fn shed(&mut self, direction: Direction, at: Nanos, context: &mut Context<'_>) -> Verdict {
        context.counters.buffers_exhausted += 1;
        self.lose(direction, at, context)
    }

    /// Gives up the requests that wait for a response, but for one.
    pub(super) fn give_up_pending(
        &mut self,
        except: Option<u64>,
        at: Nanos,
        context: &mut Context<'_>,
    ) {
        let socket = self.socket;
        self.pending.retain(|pending| {
            let is_kept = Some(pending.number) == except;
            if !is_kept {
                context.counters.unpaired_requests += 1;
                let id = MessageId {
                    socket,
                    number: pending.number,
                    side: Side::Response,
                };
                let content = MessageContent::Cut(BodyEnd::default(), CutReason::FramingLost);
                context.tell(id, at, content);
            }
            is_kept
        });
    }
}
