//! What the head of a request tells.

use http::header::ACCEPT;

use super::mcp::{McpKind, McpRequest};
use super::methods::{self, Mark};
use super::request::RequestReader;
use crate::exchanges::exchange::Request;
use crate::exchanges::meaning::{Operation, RequestReader as Reader, Understanding};
use crate::exchanges::{content_type, reading};
use crate::protocols::reader::Reading;

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// Last segments of the paths of agent cards, of A2A 0.2, 0.3 and 1.0.
const CARDS: &[&str] = &["agent.json", "agent-card.json"];

/// Bytes that are kept of the name of a session. Usually they are UUIDs.
pub const MOST_SESSION: usize = 256;

/// What the request asks for, by its head; or how to read its body.
#[must_use]
pub fn understand(request: &Request) -> Understanding {
    let head = Head::of(request);
    match request.method.as_str() {
        "POST" if may_be_rpc(request, &head) => {
            Understanding::Reading(Reader::Rpc(Box::new(RequestReader::new(head))))
        }
        "GET" if is_card(path(&request.target)) => Understanding::Known(Operation::AgentCard),
        "GET" if is_stream(request, &head) => head.known(McpKind::Stream),
        "DELETE" if request.headers.contains_key(SESSION) => head.known(McpKind::End),
        _ => Understanding::Nothing,
    }
}

/// The fields of a head that are MCP's.
#[derive(Debug)]
pub struct Head {
    /// How sure it is that this is MCP.
    pub mark: Mark,
    /// The session that it names.
    pub session_id: Option<String>,
    /// The version of the protocol.
    pub protocol_version: Option<String>,
    /// The method, where its message is one (since 2026-07-28).
    pub method: Option<String>,
    /// The tool or the prompt, likewise.
    pub name: Option<String>,
}

impl Head {
    fn of(request: &Request) -> Self {
        let field = |name: &str| {
            let value = request.headers.get(name)?.to_str().ok()?;
            (value.len() <= MOST_SESSION).then(|| value.to_owned())
        };
        let has_fields = [SESSION, VERSION, METHOD]
            .iter()
            .any(|name| request.headers.contains_key(*name));
        let in_target = named_session(&request.target);
        let mark = match in_target {
            _ if has_fields => Mark::Fields,
            Some(_) => Mark::Session,
            None => Mark::None,
        };
        let method = field(METHOD);
        // Of a resource this is its URI; and what is no ASCII is base64 between `=?` and `?=`.
        let is_name = |name: &String| !name.starts_with("=?");
        let has_name = method.as_deref().is_some_and(methods::has_name);
        let name = field(NAME).filter(is_name).filter(|_| has_name);
        Self {
            mark,
            session_id: field(SESSION).or_else(|| in_target.map(str::to_owned)),
            protocol_version: field(VERSION),
            method,
            name,
        }
    }

    fn known(self, kind: McpKind) -> Understanding {
        Understanding::Known(Operation::Mcp(Box::new(McpRequest {
            kind,
            session_id: self.session_id,
            protocol_version: self.protocol_version,
            messages: Vec::new(),
        })))
    }
}

/// The session that the target names in the older transport, as the SDKs for Python and for
/// TypeScript spell it.
#[must_use]
pub fn named_session(target: &str) -> Option<&str> {
    let (_, query) = target.split_once('?')?;
    let session = query.split('&').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        matches!(name, "session_id" | "sessionId").then_some(value)
    })?;
    (1..=MOST_SESSION)
        .contains(&session.len())
        .then_some(session)
}

/// The path of a target in origin or absolute form.
fn path(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find('/').map_or("/", |start| &rest[start..])
        }
        _ => target,
    };
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn is_card(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    CARDS.contains(&last) || path.ends_with("/.well-known/agent")
}

/// The stream of an MCP server's own messages. That of the older transport is not known by its
/// head (see [`super::legacy`]).
fn is_stream(request: &Request, head: &Head) -> bool {
    let accepts_events = request.headers.get_all(ACCEPT).iter().any(|accept| {
        let accept = accept.as_bytes().to_ascii_lowercase();
        memchr::memmem::find(&accept, b"text/event-stream").is_some()
    });
    accepts_events && (head.mark == Mark::Fields || path(&request.target).ends_with("/mcp"))
}

/// A request with this head may be JSON-RPC, as far as its type or its path say so. Its body decides,
/// but until it was read the request waits.
fn may_be_rpc(request: &Request, head: &Head) -> bool {
    /// As curl says where it is not told otherwise.
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let Some(content_type) = content_type(&request.headers) else {
        return true;
    };
    head.mark > Mark::None
        || reading(&request.headers) == Reading::Bytes
        || content_type.eq_ignore_ascii_case(FORM)
        || is_rpc_path(path(&request.target))
}

/// Where MCP and A2A are usually served.
fn is_rpc_path(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let last = path.rsplit('/').next().unwrap_or_default();
    matches!(
        last,
        "" | "mcp" | "sse" | "messages" | "message" | "a2a" | "rpc" | "jsonrpc"
    )
}
