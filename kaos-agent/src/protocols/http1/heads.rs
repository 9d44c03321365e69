//! What a whole head means for its connection.

use http::HeaderMap;

use super::super::context::{Context, MessageId};
use super::super::part::{CutReason, HttpVersion, MessageContent, RequestHead, ResponseHead, Side};
use super::connection::{Connection, Pending, Verdict};
use super::framing::{self, Asked};
use super::half::{Because, First, Half};
use super::head::{Head, StartLine};
use super::message::{Message, Progress};
use crate::USER_AGENT;
use crate::capture::event::Direction;
use crate::streams::chunk::StreamChunk;
use crate::time::Nanos;

impl Connection {
    /// A head is whole.
    pub(super) fn head(
        &mut self,
        chunk: &StreamChunk,
        head: Head,
        first: First,
        because: Because,
        context: &mut Context<'_>,
    ) -> Verdict {
        let direction = chunk.direction;
        let requests = match head.start {
            StartLine::Request { .. } => direction,
            StartLine::Response { .. } => direction.opposite(),
        };
        if *self.requests.get_or_insert(requests) != requests {
            context.counters.bad_heads += 1;
            return self.lose(direction, chunk.at, context);
        }
        self.searched = [0; 2];
        let Head {
            start,
            version,
            headers,
        } = head;
        match start {
            StartLine::Request { method, target } => {
                let head = RequestHead {
                    direction,
                    endpoints: chunk.endpoints,
                    position: first.position,
                    at: first.at,
                    actor: first.actor,
                    method,
                    target,
                    version,
                    headers,
                };
                if self.before_request(&head, first, because, chunk.at, context) == Verdict::Ignore
                {
                    return Verdict::Ignore;
                }
                self.request(head, chunk.at, context)
            }
            StartLine::Response { status } => {
                let head = ResponseHead {
                    at: first.at,
                    actor: first.actor,
                    status,
                    headers,
                };
                self.response(head, version, direction, chunk.at, context)
            }
        }
    }

    /// A request begins: what its client must have had the end of by then is over.
    fn before_request(
        &mut self,
        head: &RequestHead,
        first: First,
        because: Because,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> Verdict {
        if is_own_export(&head.headers) {
            context.counters.own_exports += 1;
            return Verdict::Ignore;
        }
        let responses = &mut self.halves[head.direction.opposite() as usize];
        let is_lost = because == Because::Found || matches!(responses, Half::Lost(_));
        if let Half::Lost(response) = responses
            && let Some(response) = response.take()
        {
            response.tell_cut(CutReason::FramingLost, at, context);
        }
        if self.pending.is_empty() {
            return Verdict::Follow;
        }
        self.pipelines |= first.is_inside_chunk;
        let is_too_long = self.pending.len() >= context.limits.pipelined_requests;
        if is_too_long || (is_lost && self.pipelines) {
            context.counters.given_up += 1;
            return Verdict::Ignore;
        }
        if is_lost {
            self.give_up_pending(None, at, context);
        }
        Verdict::Follow
    }

    fn request(&mut self, head: RequestHead, at: Nanos, context: &mut Context<'_>) -> Verdict {
        context.counters.requests += 1;
        let id = MessageId {
            socket: self.socket,
            number: self.next_number,
            side: Side::Request,
        };
        self.next_number += 1;
        self.pending.push_back(Pending {
            number: id.number,
            asked: Asked::by(&head.method),
        });
        let direction = head.direction;
        let framing = framing::of_request(head.version, &head.headers, context.counters);
        let message = Message::new(id, framing, &head.headers, context);
        context.tell(id, at, MessageContent::Request(Box::new(head)));
        self.start_body(direction, message, at, context)
    }

    fn response(
        &mut self,
        head: ResponseHead,
        version: HttpVersion,
        direction: Direction,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Some(Pending { number, asked }) = self.pending.pop_front() else {
            context.counters.unpaired_responses += 1;
            self.halves[direction as usize] = Half::Lost(None);
            return Verdict::Follow;
        };
        let status = head.status;
        let is_tunnel = status == 101 || (asked == Asked::Connect && status / 100 == 2);
        if status < 200 && !is_tunnel {
            // An interim response: the final one follows (RFC 9110 section 15.2).
            self.pending.push_front(Pending { number, asked });
            self.halves[direction as usize] = Half::boundary(Because::MessageEnd);
            return Verdict::Follow;
        }
        self.pipelines |= !self.pending.is_empty();
        context.counters.responses += 1;
        let id = MessageId {
            socket: self.socket,
            number,
            side: Side::Response,
        };
        let headers = &head.headers;
        let framing = framing::of_response(asked, status, version, headers, context.counters);
        let message = Message::new(id, framing, headers, context);
        context.tell(id, at, MessageContent::Response(Box::new(head)));
        if is_tunnel {
            context.counters.upgraded += 1;
            context.tell(id, at, MessageContent::Upgraded);
            return Verdict::Ignore;
        }
        self.start_body(direction, message, at, context)
    }

    fn start_body(
        &mut self,
        direction: Direction,
        message: Message,
        at: Nanos,
        context: &mut Context<'_>,
    ) -> Verdict {
        let progress = message.progress();
        self.halves[direction as usize] = Half::Body(message);
        match progress {
            Progress::More => Verdict::Follow,
            Progress::Whole => {
                self.end_message(direction, at, context);
                Verdict::Follow
            }
            Progress::Lost => self.lose(direction, at, context),
        }
    }
}

/// Whether a request is an export of an agent like this one: watching it would cause the next.
fn is_own_export(headers: &HeaderMap) -> bool {
    let product = USER_AGENT.split_inclusive('/').next().unwrap_or(USER_AGENT);
    headers
        .get(http::header::USER_AGENT)
        .is_some_and(|value| value.as_bytes().starts_with(product.as_bytes()))
}
