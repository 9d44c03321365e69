//! Both directions of one HTTP/1 connection: which bytes are which message, and which response
//! answers which request.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::context::{Context, MessageId};
use super::super::part::{BodyEnd, CutReason, MessageContent, Side};
use super::framing::Asked;
use super::half::{Because, First, Half, PartialHead};
use super::head::{self, Beginning, HeadError};
use super::head_buffer::{Collected, skip_empty_lines};
use super::held::HeldResponses;
use super::message::Progress;
use crate::capture::event::{Direction, SocketId};
use crate::streams::chunk::{ConnectionEnd, Content, Ending, StreamChunk};
use crate::time::Nanos;

/// Whether a connection is worth following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It is.
    Follow,
    /// It is not: all that follows can be ignored.
    Ignore,
}

/// Both directions of one connection.
pub struct Connection {
    pub(super) socket: SocketId,
    pub(super) halves: [Half; 2],
    /// Direction of requests, once a start line was seen.
    pub(super) requests: Option<Direction>,
    /// Requests whose final response has not begun, in order.
    pub(super) pending: VecDeque<Pending>,
    /// Number of the next request.
    pub(super) next_number: u64,
    /// It was in use before it was seen.
    pub(super) is_late: bool,
    /// Requests were seen to be sent before the responses to those before them.
    pub(super) pipelines: bool,
    /// Bytes in which a start line was searched, per direction, since one was found in either.
    pub(super) searched: [u64; 2],
    /// Responses whose request is not told yet.
    pub(super) held: HeldResponses,
}

/// A request whose final response has not begun.
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) asked: Asked,
}

impl Connection {
    /// A connection of which nothing has been told.
    pub fn new(socket: SocketId) -> Self {
        Self {
            socket,
            halves: [
                Half::boundary(Because::StreamStart),
                Half::boundary(Because::StreamStart),
            ],
            requests: None,
            pending: VecDeque::new(),
            next_number: 0,
            is_late: false,
            pipelines: false,
            searched: [0; 2],
            held: HeldResponses::default(),
        }
    }

    /// Bytes that it keeps.
    pub fn buffered(&self) -> usize {
        self.halves[0].buffered() + self.halves[1].buffered() + self.held.buffered()
    }

    /// Whether something is kept that is dropped with what a direction waits for.
    pub fn waits(&self, direction: Direction) -> bool {
        self.halves[direction as usize].buffered() + self.held.buffered() > 0
    }

    /// Takes the next piece of either direction.
    pub fn push(&mut self, chunk: &StreamChunk, context: &mut Context<'_>) -> Verdict {
        match &chunk.content {
            Content::Bytes(bytes) => self.bytes(chunk, bytes, context),
            Content::Gap(gap) => self.gap(chunk, *gap, context),
            Content::End => {
                self.end_of_stream(chunk.direction, chunk.at, context);
                Verdict::Follow
            }
        }
    }

    fn bytes(&mut self, chunk: &StreamChunk, bytes: &Bytes, context: &mut Context<'_>) -> Verdict {
        let direction = chunk.direction;
        if direction == Direction::Received && !self.held.is_empty() {
            return self.hold(chunk, bytes, context);
        }
        let mut input = bytes.clone();
        while !input.is_empty() {
            let is_chunk_start = input.len() == bytes.len();
            let verdict = match &mut self.halves[direction as usize] {
                Half::Head(head) => {
                    if head.first.is_none() {
                        skip_empty_lines(&mut input);
                        if input.is_empty() {
                            break;
                        }
                        let skipped = bytes.len() - input.len();
                        if self.must_hold(direction, &input) {
                            return self.hold(chunk, &input, context);
                        }
                        self.begin(chunk, skipped as u64, is_chunk_start);
                    }
                    self.head_bytes(chunk, &mut input, context)
                }
                Half::Body(message) => match message.push(&mut input, chunk.at, context) {
                    Progress::More => Verdict::Follow,
                    Progress::Whole => {
                        self.end_message(direction, chunk.at, context);
                        Verdict::Follow
                    }
                    Progress::Lost => self.lose(direction, chunk.at, context),
                },
                Half::Lost(_) => {
                    if is_chunk_start && self.is_boundary(direction, &input, context) {
                        self.found(direction, chunk.at, context);
                        Verdict::Follow
                    } else {
                        self.search(direction, &mut input, chunk.at, context)
                    }
                }
                Half::Ended => break,
            };
            if verdict == Verdict::Ignore {
                return Verdict::Ignore;
            }
        }
        self.release(direction, chunk.at, context)
    }

    /// A message begins `skipped` bytes into a chunk.
    fn begin(&mut self, chunk: &StreamChunk, skipped: u64, is_chunk_start: bool) {
        if let Half::Head(head) = &mut self.halves[chunk.direction as usize] {
            head.first = Some(First {
                at: chunk.at,
                actor: chunk.actor,
                position: chunk.position.saturating_add(skipped),
                is_inside_chunk: !is_chunk_start,
            });
        }
    }

    /// Takes the next bytes of a head.
    fn head_bytes(
        &mut self,
        chunk: &StreamChunk,
        input: &mut Bytes,
        context: &mut Context<'_>,
    ) -> Verdict {
        let direction = chunk.direction;
        let Half::Head(PartialHead {
            buffer,
            first: Some(first),
            because,
        }) = &mut self.halves[direction as usize]
        else {
            return Verdict::Follow;
        };
        let (first, because) = (*first, *because);
        let is_first_piece = buffer.bytes().is_empty();
        if is_first_piece && because == Because::StreamStart && is_other(input, context) {
            return Verdict::Ignore;
        }
        match buffer.collect(input, context.limits.head_bytes) {
            Collected::Partial => Verdict::Follow,
            Collected::Oversized => {
                context.counters.oversized_heads += 1;
                self.lose(direction, chunk.at, context)
            }
            Collected::Whole(bytes) => match head::parse(&bytes, context.counters) {
                Ok(head) => self.head(chunk, head, first, because, context),
                Err(error) => {
                    match error {
                        HeadError::Bad => context.counters.bad_heads += 1,
                        HeadError::TooManyFields => context.counters.oversized_heads += 1,
                    }
                    self.lose(direction, chunk.at, context)
                }
            },
        }
    }

    /// The message of a direction is whole.
    pub(super) fn end_message(
        &mut self,
        direction: Direction,
        at: Nanos,
        context: &mut Context<'_>,
    ) {
        let half = &mut self.halves[direction as usize];
        if let Some(message) = half.take_message() {
            message.tell_end(at, context);
        }
        *half = Half::boundary(Because::MessageEnd);
    }

    /// The process read the end of the stream.
    fn end_of_stream(&mut self, direction: Direction, at: Nanos, context: &mut Context<'_>) {
        self.drop_held(context);
        let half = &mut self.halves[direction as usize];
        let is_lost = matches!(half, Half::Lost(_));
        context.counters.cut_heads += u64::from(half.is_in_head());
        if let Some(message) = half.take_message() {
            if message.is_until_close() {
                message.tell_end(at, context);
            } else {
                let reason = if is_lost {
                    CutReason::FramingLost
                } else {
                    CutReason::EndOfStream
                };
                message.tell_cut(reason, at, context);
            }
        }
        *half = Half::Ended;
        if self.requests == Some(direction.opposite()) {
            // No request that still waits will be answered.
            for pending in std::mem::take(&mut self.pending) {
                let id = self.id(pending.number, Side::Response);
                let content = MessageContent::Cut(BodyEnd::default(), CutReason::EndOfStream);
                context.tell(id, at, content);
            }
        }
    }

    /// The connection is over.
    pub fn end(mut self, end: &ConnectionEnd, context: &mut Context<'_>) {
        self.drop_held(context);
        let requests = self.requests.unwrap_or(Direction::Sent);
        for direction in [requests, requests.opposite()] {
            let half = &mut self.halves[direction as usize];
            let is_lost = matches!(half, Half::Lost(_));
            let is_clean = match (direction, end.ending) {
                (Direction::Sent, Ending::Closed { .. }) => true,
                (Direction::Received, Ending::Closed { peer_finished }) => peer_finished,
                _ => false,
            };
            context.counters.cut_heads += u64::from(half.is_in_head());
            let Some(message) = half.take_message() else {
                continue;
            };
            if is_lost {
                message.tell_cut(CutReason::FramingLost, end.at, context);
            } else if is_clean && message.is_until_close() {
                message.tell_end(end.at, context);
            } else {
                message.tell_cut(CutReason::ConnectionEnded, end.at, context);
            }
        }
    }

    /// It is not followed any more: cuts what is open.
    pub fn ignore(mut self, at: Nanos, context: &mut Context<'_>) {
        for half in &mut self.halves {
            if let Some(message) = half.take_message() {
                message.tell_cut(CutReason::FramingLost, at, context);
            }
        }
        self.give_up_pending(None, at, context);
    }

    fn id(&self, number: u64, side: Side) -> MessageId {
        MessageId {
            socket: self.socket,
            number,
            side,
        }
    }
}

/// Whether the first bytes of a stream are no HTTP/1 message; counts what they are.
fn is_other(input: &[u8], context: &mut Context<'_>) -> bool {
    if head::beginning(input) != Beginning::Other {
        return false;
    }
    let counters = &mut *context.counters;
    *match input {
        // RFC 9113 section 3.4
        [b'P', b'R', b'I', b' ', b'*', b' ', b'H', ..] => &mut counters.http2,
        // A handshake record of TLS 1.x: type 22, version 3.x (RFC 8446 section 5.1).
        [22, 3, ..] => &mut counters.tls,
        _ => &mut counters.not_http,
    } += 1;
    true
}
