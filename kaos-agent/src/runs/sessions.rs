//! Sessions of MCP: when each began and ended, at either end.
//!
//! A session begins with its `initialize`. It is over
//!
//! - when its DELETE is, or when the server says that it does not know it (404),
//! - in the older transport with its stream,
//! - where the stream of the server's own messages is gone and nothing else is exchanged for
//!   [`IDLE_WAIT`]: then it was over with the last exchange,
//! - with its process.
//!
//! One that nothing ends while the agent runs is not told, nor one whose `initialize` was not seen.

use std::borrow::Cow;
use std::sync::Arc;

use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::Entry;
use rustc_hash::FxBuildHasher;

use super::Runs;
use super::cause::CauseSource;
use super::url::server_of;
use super::verdict::Verdict;
use crate::capture::event::Pid;
use crate::exchanges::exchange::{Exchange, Request, Role};
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::rpc::mcp::{McpKind, McpReply, McpRequest};
use crate::identity::service::Service;
use crate::time::Nanos;

/// How long a session without a stream may be silent. Clients whose stream broke open another
/// within seconds.
pub const IDLE_WAIT: Nanos = 60_000_000_000;

/// Sessions that are known at once, of all processes: those used longest ago make room. A session
/// costs at most a few hundred bytes.
pub const MOST_SESSIONS: usize = 4_096;

/// How often it is looked for sessions that are silent: they wait for a minute.
const LOOK_EVERY: Nanos = 1_000_000_000;

/// A session that is over.
#[derive(Debug, Clone)]
pub struct McpSession {
    /// Whose end of it this is.
    pub service: Arc<Service>,
    /// Which end.
    pub role: Role,
    /// Name and port of the server, as its client called it.
    pub server: Option<(String, Option<u16>)>,
    /// The version of the protocol that was agreed on.
    pub protocol_version: Option<String>,
    /// When `initialize` was sent.
    pub began: Nanos,
    /// When it was over.
    pub ended: Nanos,
    /// Why, where that was a failure (`error.type`).
    pub error_type: Option<Cow<'static, str>>,
}

/// What a session is known by at one of its ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    role: Role,
    pid: Pid,
    id: String,
}

impl Key {
    fn of(request: &Request, id: &str) -> Self {
        Self {
            role: request.role,
            pid: request.actor.pid,
            id: id.to_owned(),
        }
    }
}

/// What is known of a session that goes on.
#[derive(Debug, Default)]
struct Going {
    /// How it began; not known while its `initialize` is not over.
    began: Option<McpSession>,
    /// Exchanges in it that go on.
    in_flight: usize,
    /// When the last of them was over.
    last_end: Nanos,
    /// It had a stream of the server's messages; how that failed, if it did.
    stream: Option<Option<Cow<'static, str>>>,
    /// When it was over, and why: then only its `initialize` is waited for.
    over: Option<(Nanos, Option<Cow<'static, str>>)>,
}

/// The sessions that go on, and those that are over and not taken yet.
#[derive(Debug, Default)]
pub struct Sessions {
    /// In the order of their last use.
    going: LinkedHashMap<Key, Going, FxBuildHasher>,
    over: Vec<McpSession>,
    last_look: Nanos,
    /// Sessions that made room for others, and are not told.
    evicted: u64,
}

impl<Source: CauseSource> Runs<Source> {
    /// MCP sessions that were over since this was asked last, in order.
    pub fn take_sessions(&mut self) -> Vec<McpSession> {
        let over = self.sessions.take_over();
        self.traces.counters.mcp_sessions += over.len() as u64;
        over
    }

    /// MCP sessions that go on.
    #[must_use]
    pub fn mcp_sessions(&self) -> usize {
        self.sessions.known()
    }
}

impl Sessions {
    /// It is known what a request asks for.
    pub fn asked(&mut self, request: &Request, operation: Option<&Operation>) {
        if let Some(Operation::Mcp(mcp)) = operation
            && let Some(id) = &mcp.session_id
        {
            self.going(Key::of(request, id)).in_flight += 1;
        }
    }

    /// An exchange is over. `service`: whose it is, where sessions are told of it.
    pub fn ended(&mut self, exchange: &Exchange, service: Option<&Arc<Service>>) {
        let Some(Operation::Mcp(mcp)) = exchange.operation.as_deref() else {
            return;
        };
        let reply = match &exchange.reply {
            Some(Reply::Mcp(reply)) => Some(&**reply),
            _ => None,
        };
        let named = mcp.session_id.as_ref();
        let Some(id) = named.or_else(|| reply?.session_id.as_ref()) else {
            return;
        };
        let key = Key::of(&exchange.request, id);
        let session = self.going(key.clone());
        session.last_end = session.last_end.max(exchange.ended_at);
        if named.is_some() {
            session.in_flight = session.in_flight.saturating_sub(1);
        }
        if let Some(reply) = reply
            && initializes(mcp, reply)
            && session.began.is_none()
        {
            session.began = service.map(|service| began(exchange, mcp, reply, service));
        }
        session.note_end(exchange, mcp.kind);
        if session.began.is_some() && session.over.is_some() {
            self.finish(&key);
        }
    }

    /// A process is gone, and all its exchanges are over.
    pub fn exited(&mut self, pid: Pid, at: Nanos) {
        let of_it = self.going.keys().filter(|key| key.pid == pid);
        let of_it: Vec<Key> = of_it.cloned().collect();
        for key in of_it {
            if let Some(session) = self.going.get_mut(&key) {
                session.over = Some((at, Some("process_exit".into())));
            }
            self.finish(&key);
        }
    }

    /// Time goes by.
    pub fn advance(&mut self, now: Nanos) {
        if now < self.last_look.saturating_add(LOOK_EVERY) {
            return;
        }
        self.last_look = now;
        let silent = self.going.iter().filter(|(_, session)| {
            session.may_be_over() && session.last_end.saturating_add(IDLE_WAIT) <= now
        });
        let silent: Vec<Key> = silent.map(|(key, _)| key.clone()).collect();
        for key in silent {
            if let Some(session) = self.going.get_mut(&key) {
                let error_type = session.stream.take().flatten();
                session.over = Some((session.last_end, error_type));
            }
            self.finish(&key);
        }
    }

    /// Sessions that were over since this was asked last, in order.
    pub fn take_over(&mut self) -> Vec<McpSession> {
        std::mem::take(&mut self.over)
    }

    /// Sessions that made room for others so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Sessions that go on.
    #[must_use]
    pub fn known(&self) -> usize {
        self.going.len()
    }

    /// What is known of a session, which is used now.
    fn going(&mut self, key: Key) -> &mut Going {
        if self.going.len() >= MOST_SESSIONS
            && !self.going.contains_key(&key)
            && let Some((_, oldest)) = self.going.pop_front()
        {
            self.evicted += u64::from(oldest.began.is_some());
        }
        match self.going.entry(key) {
            Entry::Occupied(mut known) => {
                known.to_back();
                known.into_mut()
            }
            Entry::Vacant(vacant) => vacant.insert(Going::default()),
        }
    }

    /// Tells a session that is over, if its beginning is known, and forgets it.
    fn finish(&mut self, key: &Key) {
        if let Some(session) = self.going.remove(key)
            && let (Some(began), Some((ended, error_type))) = (session.began, session.over)
        {
            self.over.push(McpSession {
                ended: ended.max(began.began),
                error_type,
                ..began
            });
        }
    }
}

impl Going {
    /// Whether this exchange ends the session, or its stream.
    fn note_end(&mut self, exchange: &Exchange, kind: McpKind) {
        let status = exchange.response.as_ref().map(|response| response.status);
        let error_type = || match Verdict::of(exchange) {
            Verdict::Failed { error_type, .. } => Some(error_type),
            Verdict::Succeeded | Verdict::Open => None,
        };
        let at = exchange.ended_at;
        match (kind, status) {
            // The server does not want to be told.
            (McpKind::End, Some(405)) => self.over = Some((at, None)),
            (McpKind::End, _) | (McpKind::Messages | McpKind::Stream, Some(404)) => {
                self.over = Some((at, error_type()));
            }
            (McpKind::Stream, Some(200)) if is_older_transport(&exchange.request) => {
                self.over = Some((at, error_type()));
            }
            (McpKind::Stream, Some(200)) => self.stream = Some(error_type()),
            (McpKind::Messages | McpKind::Stream, _) => {}
        }
    }

    /// Nothing goes on that must be over first.
    fn may_be_over(&self) -> bool {
        self.in_flight == 0 && (self.stream.is_some() || self.began.is_none())
    }
}

/// In the older transport the session is named by the target alone.
fn is_older_transport(request: &Request) -> bool {
    !request.headers.contains_key("mcp-session-id")
}

/// A session was asked for, and is there.
fn initializes(mcp: &McpRequest, reply: &McpReply) -> bool {
    let mut methods = mcp.messages.iter().filter_map(|it| it.method.as_deref());
    let mut errors = reply.results.iter().filter_map(|it| it.error.as_ref());
    methods.any(|method| method == "initialize")
        && !reply.results.is_empty()
        && errors.next().is_none()
}

fn began(
    exchange: &Exchange,
    mcp: &McpRequest,
    reply: &McpReply,
    service: &Arc<Service>,
) -> McpSession {
    let request = &exchange.request;
    let chosen = reply.protocol_version.as_ref();
    McpSession {
        service: Arc::clone(service),
        role: request.role,
        server: match request.role {
            Role::Client => server_of(request),
            Role::Server => None,
        },
        protocol_version: chosen.or(mcp.protocol_version.as_ref()).cloned(),
        began: request.at,
        ended: request.at,
        error_type: None,
    }
}
