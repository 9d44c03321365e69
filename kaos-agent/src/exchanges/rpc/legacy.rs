//! The older transport of MCP (2024-11-05), where a POST is answered with 202, and its results come
//! as events on the stream of another exchange.
//!
//! The stream is a GET whose first event, `endpoint`, names where to post. From then on a POST to
//! there that is over is held until all its messages are answered, so that it ends when, and as,
//! the call does: what it causes happens while it is in flight, and it fails where the
//! stream ends before the answer. What is not answered within [`ANSWER_WAIT`] ends without.
//!
//! Not joined are answers to what was posted before the stream was seen, and those of
//! streamable HTTP that come on another stream than their own because that one was resumed.

use std::collections::VecDeque;

use hashlink::LinkedHashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::head::{MOST_SESSION, named_session};
use super::mcp::{MOST_MESSAGES, McpKind, McpReply, McpRequest, McpResult};
use crate::capture::event::Pid;
use crate::exchanges::exchange::{Exchange, ExchangeId, Outcome, Request, Role};
use crate::exchanges::meaning::{Operation, Reply};
use crate::protocols::part::ServerSentEvent;
use crate::time::Nanos;

/// How long an answer is waited for. The SDKs' clients wait five minutes for an event.
pub const ANSWER_WAIT: Nanos = 600_000_000_000;

/// Streams that are known at a time. A process has one for each server that it uses, or each client.
pub const MOST_STREAMS: usize = 1024;

/// What a session is known by at one of its two ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    role: Role,
    pid: Pid,
    /// The session in the target of the POST, or all of the target.
    name: String,
}

impl SessionKey {
    fn new(request: &Request, target: &str) -> Option<Self> {
        let name = named_session(target).unwrap_or(target);
        (name.len() <= MOST_SESSION).then(|| Self {
            role: request.role,
            pid: request.actor.pid,
            name: name.to_owned(),
        })
    }

    /// Of a stream, whose first event this is.
    #[must_use]
    pub fn of_stream(stream: &Request, first: &ServerSentEvent) -> Option<Self> {
        if stream.method != "GET" || first.event != "endpoint" || first.is_cut {
            return None;
        }
        let endpoint = std::str::from_utf8(&first.data).ok()?;
        // Clients may post to this very text, or to a URL that it makes with the stream's.
        let target = match endpoint.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
            None => endpoint,
        };
        Self::new(stream, target)
    }

    /// What the stream's request asked for, as is known now.
    #[must_use]
    pub fn operation(&self) -> Operation {
        Operation::Mcp(Box::new(McpRequest {
            kind: McpKind::Stream,
            session_id: Some(self.name.clone()),
            protocol_version: None,
            messages: Vec::new(),
        }))
    }
}

/// Requests whose answers come on the streams of other exchanges.
#[derive(Debug, Default)]
pub struct Legacy {
    streams: FxHashMap<SessionKey, Stream>,
    /// In the order in which they are given up.
    held: LinkedHashMap<ExchangeId, Held, FxBuildHasher>,
}

#[derive(Debug)]
struct Stream {
    exchange: ExchangeId,
    /// By the id of its message, which exchange waits for an answer.
    calls: FxHashMap<String, ExchangeId>,
    /// Answers that came before the end of the POST, at most [`MOST_MESSAGES`].
    early: VecDeque<McpResult>,
}

#[derive(Debug)]
struct Held {
    exchange: Box<Exchange>,
    session: SessionKey,
    /// Ids of messages.
    unanswered: Vec<String>,
    until: Nanos,
}

impl Legacy {
    /// A stream begins. Whether there is room for it.
    pub fn begin(&mut self, session: SessionKey, exchange: ExchangeId) -> bool {
        if self.streams.len() >= MOST_STREAMS {
            return false;
        }
        self.streams.entry(session).or_insert_with(|| Stream {
            exchange,
            calls: FxHashMap::default(),
            early: VecDeque::new(),
        });
        true
    }

    /// An exchange is over: holds it where its answers come on a stream, else gives it back.
    pub fn hold(&mut self, mut exchange: Box<Exchange>) -> Option<Box<Exchange>> {
        let Some((session, mut unanswered)) = awaited(&exchange) else {
            return Some(exchange);
        };
        let Some(stream) = self.streams.get_mut(&session) else {
            return Some(exchange);
        };
        for index in (0..stream.early.len()).rev() {
            if answers(&mut unanswered, &stream.early[index])
                && let Some(result) = stream.early.remove(index)
            {
                answer(&mut exchange, result);
            }
        }
        if unanswered.is_empty() {
            return Some(exchange);
        }
        let id = exchange.request.id;
        let calls = unanswered.iter().map(|call| (call.clone(), id));
        stream.calls.extend(calls);
        let held = Held {
            until: exchange.ended_at.saturating_add(ANSWER_WAIT),
            exchange,
            session,
            unanswered,
        };
        self.held.insert(id, held);
        None
    }

    /// An answer came on a stream. The exchange that is over with it, and whether it may be one
    /// to an exchange at all: what answers none is lost.
    pub fn answered(
        &mut self,
        session: &SessionKey,
        result: McpResult,
    ) -> (Option<Box<Exchange>>, bool) {
        let Some(stream) = self.streams.get_mut(session) else {
            return (None, false);
        };
        let call = result.id.as_ref().and_then(|id| stream.calls.remove(id));
        let Some(held) = call.and_then(|call| self.held.get_mut(&call)) else {
            stream.early.push_back(result);
            let is_full = stream.early.len() > MOST_MESSAGES;
            if is_full {
                stream.early.pop_front();
            }
            return (None, !is_full);
        };
        answers(&mut held.unanswered, &result);
        answer(&mut held.exchange, result);
        let id = held.exchange.request.id;
        if !held.unanswered.is_empty() {
            return (None, true);
        }
        (self.held.remove(&id).map(|held| held.exchange), true)
    }

    /// A stream ended. The exchanges that are over with it, unanswered.
    pub fn end(
        &mut self,
        session: &SessionKey,
        exchange: ExchangeId,
        at: Nanos,
        outcome: Outcome,
    ) -> Vec<Exchange> {
        let is_its = |stream: &Stream| stream.exchange == exchange;
        if !self.streams.get(session).is_some_and(is_its) {
            return Vec::new();
        }
        self.streams.remove(session);
        self.release(|held| held.session == *session, at, outcome)
    }

    /// A process is gone: its requests are over, unanswered, even where another process has the
    /// stream too.
    pub fn process_exited(&mut self, pid: Pid, at: Nanos) -> Vec<Exchange> {
        self.streams.retain(|session, _| session.pid != pid);
        let outcome = Outcome::ProcessExited;
        self.release(|held| held.session.pid == pid, at, outcome)
    }

    /// Those held that meet a condition, in order.
    fn release(
        &mut self,
        is_over: impl Fn(&Held) -> bool,
        at: Nanos,
        outcome: Outcome,
    ) -> Vec<Exchange> {
        let over = self.held.iter().filter(|(_, held)| is_over(held));
        let ids: Vec<ExchangeId> = over.map(|(id, _)| *id).collect();
        let over = ids.into_iter().filter_map(|id| self.held.remove(&id));
        over.map(|held| Exchange {
            ended_at: at,
            outcome,
            ..*held.exchange
        })
        .collect()
    }

    /// The exchange that has waited too long.
    pub fn give_up_expired(&mut self, now: Nanos) -> Option<Box<Exchange>> {
        let (_, oldest) = self.held.front()?;
        if oldest.until > now {
            return None;
        }
        let (_, held) = self.held.pop_front()?;
        if let Some(stream) = self.streams.get_mut(&held.session) {
            for id in &held.unanswered {
                stream.calls.remove(id);
            }
        }
        Some(held.exchange)
    }
}

/// The session whose stream answers this exchange, and the ids of the messages that are answered.
fn awaited(exchange: &Exchange) -> Option<(SessionKey, Vec<String>)> {
    let Operation::Mcp(mcp) = exchange.operation.as_deref()? else {
        return None;
    };
    let is_accepted = exchange.response.as_ref()?.status == 202;
    if !is_accepted || exchange.outcome != Outcome::Complete || mcp.kind != McpKind::Messages {
        return None;
    }
    let requests = mcp
        .messages
        .iter()
        .filter(|message| message.method.is_some());
    let ids: Vec<String> = requests.filter_map(|message| message.id.clone()).collect();
    if ids.is_empty() {
        return None;
    }
    let session = SessionKey::new(&exchange.request, &exchange.request.target)?;
    Some((session, ids))
}

/// Whether the result answers one of these; then it is none of them any more.
fn answers(unanswered: &mut Vec<String>, result: &McpResult) -> bool {
    let id = result.id.as_ref();
    let index = unanswered.iter().position(|call| Some(call) == id);
    index.map(|index| unanswered.swap_remove(index)).is_some()
}

fn answer(exchange: &mut Exchange, result: McpResult) {
    exchange.ended_at = exchange.ended_at.max(result.at);
    let reply = exchange
        .reply
        .get_or_insert_with(|| Reply::Mcp(Box::<McpReply>::default()));
    if let Reply::Mcp(reply) = reply {
        reply.results.push(result);
    }
}
