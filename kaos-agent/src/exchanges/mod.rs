//! Stage 4: parts of messages to [`Exchange`]s.
//!
//! - **In**: [`Part`]s of stage 3, which say which request of its connection each belongs to.
//! - **Out**: [`ExchangeEvent`]s.
//! - **Keeps**: requests that are not over, with what is known of their responses.
//! - **Limits**: [`Limits::open`].
//! - **Loses**: exchanges beyond the limit (`refused`); tells `unobserved` ones, whose end was
//!   hidden by a loss before.

pub mod exchange;
pub mod json;
pub mod llm;
pub mod meaning;
mod open;
pub mod rpc;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use rustc_hash::FxHashMap;

use crate::capture::event::{Direction, SocketId};
use crate::protocols::part::{MessageContent, MessagePart, Part, RequestHead};
use crate::protocols::reader::Reading;
use crate::streams::chunk::{ConnectionEnd, FailedConnect};
use crate::time::Nanos;
use exchange::{ConnectFailure, Exchange, ExchangeEvent, ExchangeId, Outcome, Request, Role};
use meaning::Understanding;
use open::{OpenExchange, Step};
use rpc::legacy::Legacy;

/// Bounds of this stage.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Exchanges that are open at a time, each with the heads of its two messages (usually 1 KiB
    /// together, at most 128) and what its bodies mean (names: usually below 1 KiB, at most 200; a
    /// body with a gap: 32 more). More are not told.
    pub open: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { open: 16_384 }
    }
}

crate::counters! {
    /// What stage 4 saw and lost.
    pub struct ExchangeCounters: "exchanges" {
        /// Exchanges that began.
        started,
        /// Not told because too many were open.
        refused,
        /// Ended as [`Outcome::Complete`].
        complete,
        /// Ended as [`Outcome::Upgraded`].
        upgraded,
        /// Ended as [`Outcome::Broken`].
        broken,
        /// Ended as [`Outcome::ServerClosed`].
        server_closed,
        /// Ended as [`Outcome::ClientClosed`].
        client_closed,
        /// Ended as [`Outcome::ProcessExited`].
        process_exited,
        /// Ended as [`Outcome::Unobserved`].
        unobserved,
        /// Ended as [`Outcome::Unfinished`].
        unfinished,
        /// Connections that were not made.
        connect_failures,
        /// Held because their answer comes on the stream of another exchange (MCP's older
        /// transport).
        held,
        /// Of those, how many were not answered: the stream ended, or too much time went by.
        unanswered,
        /// Such streams that were not followed because too many were.
        streams_refused,
        /// Answers on them to requests that were not seen.
        answers_unmatched,
    }
}

/// What the fields of a message say of its body. What it is its first bytes show, whatever they say:
/// the recipient decides (RFC 9110 section 8.3), and most take JSON for JSON.
#[must_use]
pub fn reading(headers: &HeaderMap) -> Reading {
    const EVENT_STREAM: &str = "text/event-stream";
    /// Also as Ollama streams, and its older name.
    const JSON: [&str; 3] = [
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
    ];
    let Some(essence) = content_type(headers) else {
        return Reading::Unsaid;
    };
    let is = |name: &&str| essence.eq_ignore_ascii_case(name.as_bytes());
    if is(&EVENT_STREAM) {
        Reading::Events
    } else if JSON.iter().any(is) {
        Reading::Bytes
    } else {
        Reading::Unsaid
    }
}

/// The body's type, without its parameters (RFC 9110 section 8.3.1).
pub(crate) fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let essence = value.split(|byte| *byte == b';').next();
    Some(essence.unwrap_or_default().trim_ascii())
}

/// Stage 4.
pub struct Exchanges {
    limits: Limits,
    /// Open exchanges of each connection that has any, in order.
    open: FxHashMap<SocketId, Vec<OpenExchange>>,
    /// How many they are.
    open_count: usize,
    /// Those of MCP's older transport that are over but not answered. They count as open.
    legacy: Legacy,
    next_id: u64,
    counters: ExchangeCounters,
}

impl Exchanges {
    /// A stage that has seen nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: FxHashMap::default(),
            open_count: 0,
            legacy: Legacy::default(),
            next_id: 1,
            counters: ExchangeCounters::default(),
        }
    }

    /// Takes the next part.
    pub fn push(&mut self, part: Part, out: &mut Vec<ExchangeEvent>) {
        match part {
            Part::Message(part) => self.message(part, out),
            Part::ConnectFailed(failed) => self.connect_failed(failed, out),
            Part::Ended(end) => self.connection_ended(end, out),
            Part::ProcessExited { pid, at } => {
                let unanswered = self.legacy.process_exited(pid, at);
                self.tell_unanswered(unanswered, out);
                out.push(ExchangeEvent::ProcessExited { pid, at });
            }
        }
    }

    /// Exchanges that are not over.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open_count
    }

    /// What it saw and lost.
    #[must_use]
    pub fn counters(&self) -> &ExchangeCounters {
        &self.counters
    }

    fn message(&mut self, part: MessagePart, out: &mut Vec<ExchangeEvent>) {
        if let MessageContent::Request(head) = part.content {
            return self.start(part.socket, part.number, *head, out);
        }
        // What belongs to no open exchange: it was refused, or is over already.
        let Some(open) = self.open.get_mut(&part.socket) else {
            return;
        };
        let Some(index) = open.iter().position(|open| open.number == part.number) else {
            return;
        };
        let at = part.at;
        let exchange = &mut open[index];
        let was_stream = exchange.session().is_some();
        let step = exchange.push(part, out);
        let mut answered = Vec::new();
        if let Some(session) = exchange.session() {
            if !was_stream && !self.legacy.begin(session.clone(), exchange.request.id) {
                self.counters.streams_refused += 1;
            }
            let session = session.clone();
            for result in exchange.take_answers() {
                let (over, is_kept) = self.legacy.answered(&session, result);
                self.counters.answers_unmatched += u64::from(!is_kept);
                answered.extend(over);
            }
        }
        let over = match step {
            Step::Open => None,
            Step::Over { at, outcome } => {
                let ended = open.remove(index);
                if open.is_empty() {
                    self.open.remove(&ended.request.socket);
                }
                Some((ended, at, outcome))
            }
        };
        for exchange in answered {
            self.tell(exchange, out);
        }
        if let Some((exchange, at, outcome)) = over {
            self.finish(exchange, at, outcome, out);
        }
        while let Some(exchange) = self.legacy.give_up_expired(at) {
            self.counters.unanswered += 1;
            self.tell(exchange, out);
        }
    }

    fn start(
        &mut self,
        socket: SocketId,
        number: u64,
        head: RequestHead,
        out: &mut Vec<ExchangeEvent>,
    ) {
        if self.open_count >= self.limits.open {
            self.counters.refused += 1;
            return;
        }
        let mut request = Request {
            id: self.new_id(),
            role: match head.direction {
                Direction::Sent => Role::Client,
                Direction::Received => Role::Server,
            },
            actor: head.actor,
            socket,
            endpoints: head.endpoints,
            position: head.position,
            at: head.at,
            method: head.method,
            target: head.target,
            version: head.version,
            headers: head.headers,
            tls: socket.is_tls(),
            is_understood_later: false,
        };
        let understanding = Understanding::of(&request);
        request.is_understood_later = !matches!(understanding, Understanding::Nothing);
        let request = Arc::new(request);
        self.counters.started += 1;
        self.open_count += 1;
        out.push(ExchangeEvent::Started(request.clone()));
        let exchange = OpenExchange::new(number, request, understanding, out);
        self.open.entry(socket).or_default().push(exchange);
    }

    fn connect_failed(&mut self, failed: FailedConnect, out: &mut Vec<ExchangeEvent>) {
        self.counters.connect_failures += 1;
        out.push(ExchangeEvent::ConnectFailed(ConnectFailure {
            id: self.new_id(),
            actor: failed.actor,
            endpoints: failed.endpoints,
            at: failed.at,
            failed_at: failed.failed_at,
            errno: failed.errno,
        }));
    }

    fn connection_ended(&mut self, end: ConnectionEnd, out: &mut Vec<ExchangeEvent>) {
        for exchange in self.open.remove(&end.socket).unwrap_or_default() {
            let (at, outcome) = exchange.ended_with(&end);
            self.finish(exchange, at, outcome, out);
        }
    }

    fn finish(
        &mut self,
        mut exchange: OpenExchange,
        at: Nanos,
        outcome: Outcome,
        out: &mut Vec<ExchangeEvent>,
    ) {
        exchange.understand(false, at, out);
        let session = exchange.session().cloned();
        let exchange = Box::new(exchange.into_exchange(at, outcome));
        if let Some(session) = session {
            let unanswered = self.legacy.end(&session, exchange.request.id, at, outcome);
            self.tell_unanswered(unanswered, out);
        }
        match self.legacy.hold(exchange) {
            Some(exchange) => self.tell(exchange, out),
            None => self.counters.held += 1,
        }
    }

    fn tell_unanswered(&mut self, unanswered: Vec<Exchange>, out: &mut Vec<ExchangeEvent>) {
        for exchange in unanswered {
            self.counters.unanswered += 1;
            self.tell(Box::new(exchange), out);
        }
    }

    fn tell(&mut self, exchange: Box<Exchange>, out: &mut Vec<ExchangeEvent>) {
        self.open_count -= 1;
        let counters = &mut self.counters;
        *match exchange.outcome {
            Outcome::Complete => &mut counters.complete,
            Outcome::Upgraded => &mut counters.upgraded,
            Outcome::Broken { .. } => &mut counters.broken,
            Outcome::ServerClosed => &mut counters.server_closed,
            Outcome::ClientClosed => &mut counters.client_closed,
            Outcome::ProcessExited => &mut counters.process_exited,
            Outcome::Unobserved => &mut counters.unobserved,
            Outcome::Unfinished => &mut counters.unfinished,
        } += 1;
        out.push(ExchangeEvent::Ended(exchange));
    }

    fn new_id(&mut self) -> ExchangeId {
        let id = ExchangeId(self.next_id);
        self.next_id += 1;
        id
    }
}
