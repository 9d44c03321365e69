//! Reads the body of a response of JSON-RPC: JSON, or an event stream of which each event is a
//! message.

use std::sync::Arc;

use super::RpcError;
use super::a2a::A2aReply;
use super::mcp::{MOST_MESSAGES, McpReply, McpResult};
use super::members::{Place, below, cut};
use super::request::id;
use crate::exchanges::exchange::Response;
use crate::exchanges::json::{Container, Documents, Inside, Path, Reader, Value, Visitor};
use crate::exchanges::llm::Notice;
use crate::exchanges::meaning::{Operation, Reply};
use crate::exchanges::reading;
use crate::protocols::part::ServerSentEvent;
use crate::protocols::reader::Reading;
use crate::time::Nanos;

/// Bytes that are kept of the message of an error.
pub const MOST_MESSAGE: usize = 256;

/// Bytes of the longest state of a task, and some.
const MOST_STATE: usize = 32;

/// Reads the body of a response of JSON-RPC.
#[derive(Debug)]
pub struct ReplyReader {
    reader: Reader,
    messages: Messages,
    told: Told,
    /// Its messages are events, as far as is known.
    is_stream: bool,
    /// Since when the last bytes are there.
    at: Nanos,
}

/// What is told of the messages so far.
#[derive(Debug)]
enum Told {
    Mcp(McpReply),
    A2a(A2aReply),
}

impl ReplyReader {
    /// For the response to this operation.
    #[must_use]
    pub fn of(operation: &Arc<Operation>, response: &Response) -> Self {
        let told = if matches!(&**operation, Operation::A2a(_)) {
            Told::A2a(A2aReply::default())
        } else {
            let session = response.headers.get("mcp-session-id");
            let session = session.and_then(|value| value.to_str().ok());
            Told::Mcp(McpReply {
                session_id: session.map(|id| cut(id, super::head::MOST_SESSION)),
                ..McpReply::default()
            })
        };
        Self {
            reader: Reader::new(Documents::One),
            messages: Messages::default(),
            told,
            is_stream: reading(&response.headers) == Reading::Events,
            at: response.at,
        }
    }

    /// The next bytes of a JSON body.
    pub fn bytes(&mut self, bytes: &[u8], at: Nanos) {
        self.is_stream = false;
        self.at = at;
        self.reader.push(bytes, &mut self.messages);
        self.take();
    }

    /// The next event of an event stream.
    pub fn event(&mut self, event: &ServerSentEvent, at: Nanos) {
        self.is_stream = true;
        if !matches!(&event.event[..], b"" | b"message") {
            return;
        }
        self.at = at;
        self.reader.push(&event.data, &mut self.messages);
        if !event.tail.is_empty() {
            self.miss();
            self.reader.push(&event.tail, &mut self.messages);
        }
        self.end_document(!event.is_cut || !event.tail.is_empty());
    }

    /// Bytes of the body are missing. Those of an event it tells itself.
    pub fn gap(&mut self) {
        if !self.is_stream {
            self.miss();
        }
    }

    /// Results so far, which are not told by [`Self::finish`] then.
    pub fn take_results(&mut self) -> Vec<McpResult> {
        match &mut self.told {
            Told::Mcp(reply) => std::mem::take(&mut reply.results),
            Told::A2a(_) => Vec::new(),
        }
    }

    /// The exchange is over. `is_whole`: the response came to its end.
    #[must_use]
    pub fn finish(mut self, is_whole: bool) -> Option<Reply> {
        self.end_document(is_whole);
        Some(match self.told {
            Told::Mcp(reply) => Reply::Mcp(Box::new(reply)),
            Told::A2a(reply) => Reply::A2a(Box::new(reply)),
        })
    }

    fn miss(&mut self) {
        self.reader.gap();
        self.messages.gap();
    }

    fn end_document(&mut self, is_whole: bool) {
        self.reader.finish(is_whole, &mut self.messages);
        self.messages.end_document();
        self.take();
    }

    /// Takes over the messages that are complete.
    fn take(&mut self) {
        for message in self.messages.complete.drain(..) {
            match &mut self.told {
                Told::Mcp(reply) => message.add_to_mcp(reply, self.at),
                Told::A2a(reply) => message.add_to_a2a(reply),
            }
        }
    }
}

/// What was read of a message.
#[derive(Debug, Default)]
struct Message {
    id: Option<String>,
    /// It is a request or a notification of the server.
    has_method: bool,
    has_result: bool,
    error: Option<RpcError>,
    is_tool_error: bool,
    needs_input: bool,
    version: Option<String>,
    task_id: Option<String>,
    context_id: Option<String>,
    state: Option<String>,
    notice: Option<Notice>,
}

impl Message {
    fn is_rpc(&self) -> bool {
        self.has_method || self.has_result || self.error.is_some()
    }

    fn add_to_mcp(self, reply: &mut McpReply, at: Nanos) {
        if self.has_method {
            let count = match self.id {
                Some(_) => &mut reply.requests,
                None => &mut reply.notifications,
            };
            *count += 1;
        } else {
            reply.protocol_version = reply.protocol_version.take().or(self.version);
            if reply.results.len() < MOST_MESSAGES {
                reply.results.push(McpResult {
                    id: self.id,
                    error: self.error,
                    is_tool_error: self.is_tool_error,
                    needs_input: self.needs_input,
                    at,
                });
            }
        }
    }

    fn add_to_a2a(self, reply: &mut A2aReply) {
        // Of a stream the last word counts, except that what failed stays so.
        reply.error = reply.error.take().or(self.error);
        reply.task_id = reply.task_id.take().or(self.task_id);
        reply.context_id = reply.context_id.take().or(self.context_id);
        reply.state = self.state.or(reply.state.take());
        reply.notice = reply.notice.take().or(self.notice);
    }

    fn member(&mut self, path: &str, value: Value<'_>) {
        match path {
            "id" => self.id = id(value),
            "method" => self.has_method = true,
            "result" => self.has_result = true,
            "error.code" => self.error().code = value.integer().unwrap_or_default(),
            "error.message" => {
                self.error().message = value.text().map(|text| cut(text, MOST_MESSAGE));
            }
            _ => {
                if let Some(path) = below(path, "result") {
                    self.result(path, value);
                }
            }
        }
    }

    fn error(&mut self) -> &mut RpcError {
        self.error.get_or_insert_default()
    }

    fn result(&mut self, path: &str, value: Value<'_>) {
        match path {
            "isError" => self.is_tool_error = value == Value::Bool(true),
            "resultType" => self.needs_input = value.text() == Some("input_required"),
            "protocolVersion" => self.version = value.text().map(|text| cut(text, MOST_STATE)),
            _ => self.task(in_task(path), value),
        }
    }

    fn task(&mut self, path: &str, value: Value<'_>) {
        match path {
            "id" | "taskId" => self.task_id = id(value),
            "contextId" | "sessionId" => self.context_id = id(value),
            "status.state" => self.state = value.text().map(state),
            _ if TEXTS.contains(&path) => {
                let notice = value.text().and_then(Notice::of);
                self.notice = self.notice.take().or(notice);
            }
            _ => {}
        }
    }
}

/// What names a task, a message or a change of one in a result (since A2A 1.0).
const KINDS: &[&str] = &["task", "statusUpdate", "artifactUpdate", "message"];

/// Containers in a task that have something of it.
const OF_TASKS: &[&str] = &[
    "artifact",
    "artifact.parts",
    "artifact.parts[]",
    "artifacts",
    "artifacts[]",
    "artifacts[].parts",
    "artifacts[].parts[]",
    "parts",
    "parts[]",
    "status",
    "status.message",
    "status.message.parts",
    "status.message.parts[]",
];

/// Texts of the agent in a task, of which the beginning may tell something.
const TEXTS: &[&str] = &[
    "artifact.parts[].text",
    "artifacts[].parts[].text",
    "output",
    "parts[].text",
    "status.message",
    "status.message.parts[].text",
];

fn is_of_task(path: &str) -> bool {
    KINDS.contains(&path) || OF_TASKS.contains(&in_task(path))
}

/// The path in the task itself.
fn in_task(path: &str) -> &str {
    let within = KINDS.iter().find_map(|kind| below(path, kind));
    within.unwrap_or(path)
}

/// A state in one spelling: `TASK_STATE_INPUT_REQUIRED` and `input-required` are the same, as
/// are `CANCELLED` and `canceled`.
fn state(text: &str) -> String {
    let state = cut(text, MOST_STATE).to_ascii_lowercase();
    let state = state.strip_prefix("task_state_").unwrap_or(&state);
    match state.replace('_', "-").as_str() {
        "cancelled" => "canceled".to_owned(),
        state => state.to_owned(),
    }
}

/// Messages of the body so far.
#[derive(Debug, Default)]
struct Messages {
    open: Option<Message>,
    complete: Vec<Message>,
    is_batch: bool,
}

impl Messages {
    fn gap(&mut self) {
        // Which message of a batch it ends in is not known.
        if self.is_batch {
            self.close();
        }
    }

    fn close(&mut self) {
        let message = self.open.take();
        self.complete.extend(message.filter(Message::is_rpc));
    }

    fn end_document(&mut self) {
        self.close();
        self.is_batch = false;
    }
}

impl Visitor for Messages {
    fn begin(&mut self, path: &Path, container: Container) -> Inside {
        match Place::of(path.as_str(), container == Container::Array) {
            Place::Batch => self.is_batch = true,
            Place::Message => {
                self.close();
                self.open = Some(Message::default());
            }
            Place::Member(path) => {
                let Some(open) = &mut self.open else {
                    return Inside::Skip;
                };
                match path {
                    "result" => open.has_result = true,
                    "error" => {
                        open.error();
                    }
                    _ if below(path, "result").is_some_and(is_of_task) => {}
                    _ => return Inside::Skip,
                }
            }
        }
        Inside::Enter
    }

    fn end(&mut self, path: &Path, container: Container) {
        let is_list = container == Container::Array;
        if Place::of(path.as_str(), is_list) == Place::Message {
            self.close();
        }
    }

    fn value(&mut self, path: &Path, value: Value<'_>) {
        if let Place::Member(path) = Place::of(path.as_str(), false)
            && let Some(open) = &mut self.open
        {
            open.member(path, value);
        }
    }
}
