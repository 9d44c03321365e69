//! One exchange that is not over.

use std::sync::Arc;

use super::exchange::{
    Body, EventTimes, Exchange, ExchangeEvent, Outcome, Request, Response, Role,
};
use crate::protocols::part::{BodyEnd, CutReason, MessageContent, MessagePart, ResponseHead, Side};
use crate::streams::chunk::{ConnectionEnd, Ending};
use crate::time::Nanos;

/// An exchange that is not over.
pub struct OpenExchange {
    /// Number of its request on the connection.
    pub number: u64,
    /// Its request.
    pub request: Arc<Request>,
    request_body: Body,
    /// Nothing more is told of the request.
    is_request_over: bool,
    response: Option<Response>,
    /// When the response was whole.
    answered_at: Option<Nanos>,
}

/// What an exchange came to with a part.
pub enum Step {
    /// It goes on.
    Open,
    /// It is over.
    Over {
        /// Since when.
        at: Nanos,
        /// How it ended.
        outcome: Outcome,
    },
}

impl OpenExchange {
    /// An exchange whose request's head is told.
    pub fn new(number: u64, request: Arc<Request>) -> Self {
        Self {
            number,
            request,
            request_body: Body::default(),
            is_request_over: false,
            response: None,
            answered_at: None,
        }
    }

    /// Takes the next part of either message.
    pub fn push(&mut self, part: MessagePart, out: &mut Vec<ExchangeEvent>) -> Step {
        let at = part.at;
        match (part.side, part.content) {
            (_, MessageContent::Response(head)) => self.respond(*head, out),
            (Side::Response, MessageContent::Event(_)) => self.count_event(at),
            (_, MessageContent::Upgraded) => {
                let outcome = Outcome::Upgraded;
                return Step::Over { at, outcome };
            }
            (Side::Request, MessageContent::End(end) | MessageContent::Cut(end, _)) => {
                self.request_body = end.body;
                self.is_request_over = true;
                if let Some(answered_at) = self.answered_at {
                    return Step::Over {
                        at: answered_at.max(end.body.last_at),
                        outcome: Outcome::Complete,
                    };
                }
            }
            (Side::Response, MessageContent::End(end)) => {
                self.end_response(end);
                self.answered_at = Some(at);
                // A server may answer before it has read all of the request; the rest may come.
                if self.is_request_over {
                    let outcome = Outcome::Complete;
                    return Step::Over { at, outcome };
                }
            }
            (Side::Response, MessageContent::Cut(end, reason)) => {
                self.end_response(end);
                return self.cut(end, reason, at);
            }
            (
                _,
                MessageContent::Request(_)
                | MessageContent::Bytes(_)
                | MessageContent::Gap
                | MessageContent::Event(_),
            ) => {}
        }
        Step::Open
    }

    /// When and how it ended with its connection.
    pub fn ended_with(&self, end: &ConnectionEnd) -> (Nanos, Outcome) {
        if let Some(answered_at) = self.answered_at {
            return (answered_at, Outcome::Complete);
        }
        let outcome = match end.ending {
            Ending::Broken { errno } => Outcome::Broken { errno },
            Ending::ProcessExited => Outcome::ProcessExited,
            Ending::Forgotten => Outcome::Unobserved,
            Ending::AgentStopped => Outcome::Unfinished,
            Ending::Closed { peer_finished } => match self.request.role {
                // Had the server closed before, the client would have read the end of the stream.
                Role::Client => Outcome::ClientClosed,
                Role::Server if peer_finished => Outcome::ClientClosed,
                Role::Server => Outcome::ServerClosed,
            },
        };
        (end.at, outcome)
    }

    /// The exchange, over.
    pub fn into_exchange(self, ended_at: Nanos, outcome: Outcome) -> Exchange {
        Exchange {
            request: self.request,
            request_body: self.request_body,
            response: self.response,
            ended_at,
            outcome,
        }
    }

    fn respond(&mut self, head: ResponseHead, out: &mut Vec<ExchangeEvent>) {
        out.push(ExchangeEvent::Responding {
            id: self.request.id,
            at: head.at,
            actor: head.actor,
        });
        self.response = Some(Response {
            actor: head.actor,
            at: head.at,
            status: head.status,
            headers: head.headers,
            body: Body::default(),
            first_body_at: None,
            events: None,
        });
    }

    fn count_event(&mut self, at: Nanos) {
        if let Some(response) = &mut self.response {
            let events = response.events.get_or_insert(EventTimes {
                count: 0,
                first_at: at,
                last_at: at,
            });
            events.count += 1;
            events.last_at = at;
        }
    }

    fn end_response(&mut self, end: BodyEnd) {
        if let Some(response) = &mut self.response {
            response.body = end.body;
            response.first_body_at = end.first_at;
        }
    }

    fn cut(&self, end: BodyEnd, reason: CutReason, at: Nanos) -> Step {
        match reason {
            CutReason::EndOfStream => Step::Over {
                at,
                outcome: Outcome::ServerClosed,
            },
            // It was found to be over later than it was, as far as bytes show.
            CutReason::FramingLost => Step::Over {
                at: if end.first_at.is_some() {
                    end.body.last_at
                } else {
                    at
                },
                outcome: Outcome::Unobserved,
            },
            // The end of the connection is told next.
            CutReason::ConnectionEnded => Step::Open,
        }
    }
}
