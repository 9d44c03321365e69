//! One exchange that is not over.

use std::sync::Arc;

use super::exchange::{
    Body, EventTimes, Exchange, ExchangeEvent, Outcome, Request, Response, Role,
};
use super::meaning::{Operation, ReplyReader, RequestReader, Understanding};
use super::rpc::legacy::SessionKey;
use super::rpc::mcp::McpResult;
use crate::protocols::part::{
    BodyEnd, CutReason, MessageContent, MessagePart, ResponseHead, ServerSentEvent, Side,
};
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
    /// Reads the body of the request, as long as it is not told what it means.
    request_reader: Option<RequestReader>,
    operation: Option<Arc<Operation>>,
    reply_reader: Option<ReplyReader>,
    /// The session whose messages are answered on its response.
    session: Option<SessionKey>,
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
    /// An exchange whose request's head is told. What it means is told next where its head says
    /// all, else as soon as its body was read.
    pub fn new(
        number: u64,
        request: Arc<Request>,
        understanding: Understanding,
        out: &mut Vec<ExchangeEvent>,
    ) -> Self {
        let (operation, request_reader) = match understanding {
            Understanding::Known(operation) => (Some(Arc::new(operation)), None),
            Understanding::Reading(reader) => (None, Some(reader)),
            Understanding::Nothing => (None, None),
        };
        if let Some(operation) = &operation {
            out.push(ExchangeEvent::Understood {
                id: request.id,
                at: request.at,
                operation: Some(Arc::clone(operation)),
            });
        }
        Self {
            number,
            request,
            request_body: Body::default(),
            is_request_over: false,
            response: None,
            answered_at: None,
            request_reader,
            operation,
            reply_reader: None,
            session: None,
        }
    }

    /// The session whose messages are answered on its response: the older transport of MCP.
    pub fn session(&self) -> Option<&SessionKey> {
        self.session.as_ref()
    }

    /// The answers that its last part held, where it has a [`Self::session`].
    pub fn take_answers(&mut self) -> Vec<McpResult> {
        match &mut self.reply_reader {
            Some(ReplyReader::Rpc(reader)) if self.session.is_some() => reader.take_results(),
            _ => Vec::new(),
        }
    }

    /// Takes the next part of either message.
    pub fn push(&mut self, part: MessagePart, out: &mut Vec<ExchangeEvent>) -> Step {
        let at = part.at;
        match (part.side, part.content) {
            (_, MessageContent::Response(head)) => self.respond(*head, out),
            (Side::Response, MessageContent::Event(event)) => {
                self.count_event(&event, at, out);
                if let Some(reader) = &mut self.reply_reader {
                    reader.event(&event, at);
                }
            }
            (Side::Request, MessageContent::Bytes(bytes)) => {
                if let Some(reader) = &mut self.request_reader {
                    reader.bytes(&bytes);
                }
            }
            (Side::Response, MessageContent::Bytes(bytes)) => {
                if let Some(reader) = &mut self.reply_reader {
                    reader.bytes(&bytes, at);
                }
            }
            (Side::Request, MessageContent::Gap) => {
                if let Some(reader) = &mut self.request_reader {
                    reader.gap();
                }
            }
            (Side::Response, MessageContent::Gap) => {
                if let Some(reader) = &mut self.reply_reader {
                    reader.gap();
                }
            }
            (_, MessageContent::Upgraded) => {
                let outcome = Outcome::Upgraded;
                return Step::Over { at, outcome };
            }
            (Side::Request, MessageContent::End(end)) => {
                self.understand(true, at, out);
                return self.end_request(end);
            }
            (Side::Request, MessageContent::Cut(end, _)) => {
                self.understand(false, at, out);
                return self.end_request(end);
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
            (_, MessageContent::Request(_)) | (Side::Request, MessageContent::Event(_)) => {}
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

    /// Tells what the request means, as far as its body was read, if it is not told yet.
    /// `is_whole`: the body came to its end.
    pub fn understand(&mut self, is_whole: bool, at: Nanos, out: &mut Vec<ExchangeEvent>) {
        if let Some(reader) = self.request_reader.take() {
            self.operation = reader.finish(is_whole).map(Arc::new);
            out.push(ExchangeEvent::Understood {
                id: self.request.id,
                at,
                operation: self.operation.clone(),
            });
        }
    }

    /// The exchange, over.
    pub fn into_exchange(self, ended_at: Nanos, outcome: Outcome) -> Exchange {
        let is_whole = outcome == Outcome::Complete;
        let reply = self.reply_reader.and_then(|reader| reader.finish(is_whole));
        Exchange {
            operation: self.operation,
            reply,
            request: self.request,
            request_body: self.request_body,
            response: self.response,
            ended_at,
            outcome,
        }
    }

    fn respond(&mut self, head: ResponseHead, out: &mut Vec<ExchangeEvent>) {
        self.understand(false, head.at, out);
        out.push(ExchangeEvent::Responding {
            id: self.request.id,
            at: head.at,
            actor: head.actor,
        });
        let response = Response {
            actor: head.actor,
            at: head.at,
            status: head.status,
            headers: head.headers,
            body: Body::default(),
            first_body_at: None,
            events: None,
        };
        if let Some(operation) = &self.operation {
            self.reply_reader = ReplyReader::of(operation, &response);
        }
        self.response = Some(response);
    }

    fn count_event(&mut self, event: &ServerSentEvent, at: Nanos, out: &mut Vec<ExchangeEvent>) {
        let Some(response) = &mut self.response else {
            return;
        };
        if let Some(events) = &mut response.events {
            events.count += 1;
            events.last_at = at;
            return;
        }
        response.events = Some(EventTimes {
            count: 1,
            first_at: at,
            last_at: at,
        });
        if self.operation.is_none()
            && let Some(session) = SessionKey::of_stream(&self.request, event)
        {
            let operation = Arc::new(session.operation());
            self.reply_reader = ReplyReader::of(&operation, response);
            self.session = Some(session);
            out.push(ExchangeEvent::Understood {
                id: self.request.id,
                at,
                operation: Some(Arc::clone(&operation)),
            });
            self.operation = Some(operation);
        }
    }

    fn end_request(&mut self, end: BodyEnd) -> Step {
        self.request_body = end.body;
        self.is_request_over = true;
        match self.answered_at {
            Some(answered_at) => Step::Over {
                at: answered_at.max(end.body.last_at),
                outcome: Outcome::Complete,
            },
            None => Step::Open,
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
