//! Reads the body of a request that may be JSON-RPC.

use super::a2a::{A2aKind, A2aRequest};
use super::head::Head;
use super::mcp::{MOST_MESSAGES, McpKind, McpMessage, McpRequest};
use super::members::{Place, below, cut};
use super::methods::{self, Mark, Protocol};
use crate::exchanges::json::{Container, Documents, Inside, Path, Reader, Value, Visitor};
use crate::exchanges::meaning::Operation;

/// Bytes that are kept of an id: usually a number or a UUID.
pub const MOST_ID: usize = 256;

/// Reads the body of a request that may be JSON-RPC.
#[derive(Debug)]
pub struct RequestReader {
    head: Head,
    reader: Reader,
    drafts: Drafts,
}

impl RequestReader {
    /// For a request with this head.
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            reader: Reader::new(Documents::One),
            drafts: Drafts::default(),
        }
    }

    /// The next bytes of the body.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut self.drafts);
    }

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {
        self.reader.gap();
        self.drafts.gap();
    }

    /// The body is over.
    #[must_use]
    pub fn finish(mut self, is_whole: bool) -> Option<Operation> {
        self.reader.finish(is_whole, &mut self.drafts);
        if !is_whole {
            self.drafts.gap();
        }
        let Drafts { messages, .. } = self.drafts;
        let mark = self.head.mark;
        let mut protocols = messages.iter().filter_map(|draft| draft.protocol(mark));
        match protocols.next() {
            Some(Protocol::A2a(kind)) => messages
                .into_iter()
                .find(|draft| draft.protocol(mark).is_some())
                .map(|draft| Operation::A2a(Box::new(draft.a2a(kind)))),
            Some(Protocol::Mcp) => Some(self.head.mcp(messages)),
            // What was not captured of the body, the head may have told.
            None if self.head.method.is_some() => Some(self.head.mcp(Vec::new())),
            None => None,
        }
    }
}

impl Head {
    fn mcp(self, drafts: Vec<Draft>) -> Operation {
        let proposed = drafts.iter().find_map(|draft| draft.version.clone());
        let mut messages: Vec<McpMessage> = drafts.into_iter().map(Draft::mcp).collect();
        match (messages.as_mut_slice(), self.method) {
            ([], Some(method)) => messages.push(McpMessage {
                method: Some(method),
                name: self.name,
                ..McpMessage::default()
            }),
            ([message], Some(method)) => {
                let method = message.method.get_or_insert(method);
                if methods::has_name(method) {
                    message.name = message.name.take().or(self.name);
                }
            }
            _ => {}
        }
        Operation::Mcp(Box::new(McpRequest {
            kind: McpKind::Messages,
            session_id: self.session_id,
            protocol_version: self.protocol_version.or(proposed),
            messages,
        }))
    }
}

/// What was read of a message.
#[derive(Debug, Default)]
struct Draft {
    /// It says that it is JSON-RPC, or the part that would say so is missing.
    is_rpc: bool,
    method: Option<String>,
    id: Option<String>,
    /// It has a `result` or an `error`: it answers a request of the server.
    is_response: bool,
    name: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    version: Option<String>,
    context_id: Option<String>,
    task_id: Option<String>,
    /// The task of a message, which is less than one of the request itself.
    message_task_id: Option<String>,
    is_delegation: bool,
}

impl Draft {
    fn protocol(&self, mark: Mark) -> Option<Protocol> {
        if !self.is_rpc {
            return None;
        }
        let Some(method) = &self.method else {
            let is_mcp = self.is_response && mark > Mark::None;
            return is_mcp.then_some(Protocol::Mcp);
        };
        methods::protocol(method, mark, self.version.is_some())
    }

    fn mcp(self) -> McpMessage {
        let has_name = self.method.as_deref().is_some_and(methods::has_name);
        McpMessage {
            name: self.name.filter(|_| has_name),
            method: self.method,
            id: self.id,
            traceparent: self.traceparent,
            tracestate: self.tracestate,
        }
    }

    fn a2a(self, kind: A2aKind) -> A2aRequest {
        A2aRequest {
            method: self.method.unwrap_or_default(),
            kind,
            id: self.id,
            context_id: self.context_id,
            task_id: self.task_id.or(self.message_task_id),
            is_delegation: self.is_delegation,
        }
    }

    fn member(&mut self, path: &str, value: Value<'_>) {
        match path {
            "jsonrpc" => self.is_rpc |= value.text() == Some("2.0"),
            "method" => self.method = whole(value),
            "id" => self.id = id(value),
            "result" | "error" => self.is_response = true,
            _ => {
                if let Some(path) = below(path, "params") {
                    self.parameter(path, value);
                }
            }
        }
    }

    fn parameter(&mut self, path: &str, value: Value<'_>) {
        match path {
            "name" => self.name = value.text().map(str::to_owned),
            "protocolVersion" => self.version = whole(value),
            "_meta.traceparent" => self.traceparent = whole(value),
            "_meta.tracestate" => self.tracestate = whole(value),
            "contextId" | "sessionId" | "message.contextId" => {
                self.context_id = self.context_id.take().or_else(|| id(value));
            }
            "id" | "taskId" => self.task_id = id(value),
            "message.taskId" => self.message_task_id = id(value),
            "message.metadata.delegation" => self.is_delegation = value == Value::Bool(true),
            _ => {}
        }
    }
}

/// A text that is there as a whole.
fn whole(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_owned()),
        _ => None,
    }
}

/// An id as text, whatever its type.
pub(super) fn id(value: Value<'_>) -> Option<String> {
    match value {
        Value::Bool(is_true) => Some(is_true.to_string()),
        _ => value.text_or_number().map(|text| cut(text, MOST_ID)),
    }
}

/// Messages of the body so far.
#[derive(Debug, Default)]
struct Drafts {
    messages: Vec<Draft>,
    is_batch: bool,
    /// Values are those of the last message.
    is_open: bool,
}

impl Drafts {
    fn gap(&mut self) {
        // Which message of a batch it ends in is not known.
        self.is_open &= !self.is_batch;
        if let Some(open) = self.messages.last_mut() {
            open.is_rpc |= self.is_open;
        }
    }

    fn open(&mut self) -> Option<&mut Draft> {
        self.messages.last_mut().filter(|_| self.is_open)
    }
}

impl Visitor for Drafts {
    fn begin(&mut self, path: &Path, container: Container) -> Inside {
        match Place::of(path.as_str(), container == Container::Array) {
            Place::Batch => self.is_batch = true,
            Place::Message if self.messages.len() == MOST_MESSAGES => return Inside::Skip,
            Place::Message => {
                self.messages.push(Draft::default());
                self.is_open = true;
            }
            Place::Member("result" | "error") => {
                if let Some(open) = self.open() {
                    open.is_response = true;
                }
                return Inside::Skip;
            }
            Place::Member(path) => {
                // Arguments and texts are long, and nobody's business.
                let is_wanted = path == "params"
                    || below(path, "params").is_some_and(|path| {
                        matches!(path, "_meta" | "message" | "message.metadata")
                    });
                if !is_wanted {
                    return Inside::Skip;
                }
            }
        }
        Inside::Enter
    }

    fn end(&mut self, path: &Path, container: Container) {
        let is_list = container == Container::Array;
        if Place::of(path.as_str(), is_list) == Place::Message {
            self.is_open = false;
        }
    }

    fn value(&mut self, path: &Path, value: Value<'_>) {
        if let Place::Member(member) = Place::of(path.as_str(), false)
            && let Some(open) = self.open()
        {
            open.member(member, value);
        }
    }
}
