//! Reads the body of a request to a model: one table for all APIs, whose members do not collide.

use http::HeaderMap;

use super::Api;
use super::api::model_in_path;
use super::reply::{MOST_TOOLS, short_name};
use super::request::{ModelRequest, Parameters, ToolResult};
use crate::exchanges::exchange::Request;
use crate::exchanges::json::{Container, Documents, Inside, Path, Reader, Value, Visitor, Want};
use crate::exchanges::meaning::Operation;

/// How the results of fenced calls begin, in messages of the user.
const FENCED_RESULT: &str = "Tool result: ";
const FENCED_FAILURE: &str = "Tool execution failed: ";

/// Reads the body of a request to a model.
#[derive(Debug)]
pub struct RequestReader {
    reader: Reader,
    draft: Draft,
    has_gap: bool,
}

/// A request as far as it was read.
#[derive(Debug)]
struct Draft {
    request: ModelRequest,
    /// The body has something that no request to this API is without.
    is_call: bool,
    /// The element of `messages`, `input` or `tools` that is being read.
    element: Element,
    /// The block of its content that is being read.
    block: Element,
    /// Results in its content.
    results: Vec<ToolResult>,
}

/// An element of `messages`, `input`, `tools`, or of a message's content.
#[derive(Debug, Default)]
struct Element {
    kind: Option<String>,
    role: Option<String>,
    name: Option<String>,
    call_id: Option<String>,
    is_error: bool,
    /// Its text is the result of a fenced call.
    fenced: Option<ToolResult>,
}

impl RequestReader {
    /// Where the path is that of a model's API.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let api = Api::of(request)?;
        let request = ModelRequest {
            api,
            model: model_in_path(request).map(short_name),
            stream: api.streams_by_default(),
            parameters: Parameters::default(),
            tools: Vec::new(),
            messages: 0,
            last_role: None,
            tool_results: Vec::new(),
            session_id: session_of(&request.headers),
        };
        Some(Self {
            reader: Reader::new(Documents::One),
            draft: Draft {
                request,
                is_call: false,
                element: Element::default(),
                block: Element::default(),
                results: Vec::new(),
            },
            has_gap: false,
        })
    }

    /// The next bytes of the body.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut self.draft);
    }

    /// Bytes of the body are missing.
    pub fn gap(&mut self) {
        self.has_gap = true;
        self.reader.gap();
        self.draft.gap();
    }

    /// The body is over. `is_whole`: it came to its end. `None` where it is not what a request to
    /// this API looks like.
    #[must_use]
    pub fn finish(mut self, is_whole: bool) -> Option<Operation> {
        self.reader.finish(is_whole, &mut self.draft);
        let is_call = self.draft.is_call || self.has_gap;
        is_call.then(|| Operation::Model(Box::new(self.draft.request)))
    }
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    let session = headers.get("x-session-id")?.to_str().ok()?;
    Some(short_name(session)).filter(|session| !session.is_empty())
}

impl Draft {
    /// Results that were seen may be followed by an answer of the assistant in the gap.
    fn gap(&mut self) {
        self.request.tool_results.clear();
        self.request.last_role = None;
        self.element = Element::default();
        self.block = Element::default();
        self.results.clear();
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.kind.as_deref() == Some("tool_result") && self.results.len() < MOST_TOOLS {
            self.results.push(block.into_result());
        }
    }

    fn end_message(&mut self) {
        let message = std::mem::take(&mut self.element);
        let mut results = std::mem::take(&mut self.results);
        let request = &mut self.request;
        request.messages += 1;
        let is_result_item = matches!(
            message.kind.as_deref(),
            Some("function_call_output" | "custom_tool_call_output")
        );
        match message.role.as_deref() {
            Some("assistant") => request.tool_results.clear(),
            // Items of OpenAI's responses that the model made have no role.
            None if !is_result_item && message.kind.is_some() => request.tool_results.clear(),
            Some("user") => results.extend(message.fenced.clone()),
            _ => {}
        }
        if message.role.is_some() || message.kind.is_some() {
            request.last_role.clone_from(&message.role);
        }
        if is_result_item || matches!(message.role.as_deref(), Some("tool" | "function")) {
            results.push(message.into_result());
        }
        let room = MOST_TOOLS - request.tool_results.len();
        request.tool_results.extend(results.into_iter().take(room));
    }

    fn end_tool(&mut self) {
        let tool = std::mem::take(&mut self.element);
        self.results.clear();
        if let Some(name) = tool.name
            && self.request.tools.len() < MOST_TOOLS
        {
            self.request.tools.push(name);
        }
    }

    /// Takes a member of the root.
    fn member(&mut self, key: &str, value: Value<'_>) {
        let request = &mut self.request;
        let parameters = &mut request.parameters;
        match key {
            "model" => {
                if let Some(model) = value.text().filter(|model| !model.is_empty()) {
                    request.model = Some(short_name(model));
                }
                // A web application's own `/api/chat` has messages too, and no model.
                self.is_call |= request.api.is_ollama();
            }
            "stream" => request.stream = value.boolean().unwrap_or(request.stream),
            "session_id"
            | "metadata.session_id"
            | "litellm_session_id"
            | "conversation"
            | "conversation.id"
            | "previous_response_id"
                if request.session_id.is_none() =>
            {
                request.session_id = value.text().map(short_name);
            }
            "max_tokens"
            | "max_completion_tokens"
            | "max_output_tokens"
            | "options.num_predict" => {
                parameters.max_tokens = value.integer().or(parameters.max_tokens);
            }
            "temperature" | "options.temperature" => parameters.temperature = value.number(),
            "top_p" | "options.top_p" => parameters.top_p = value.number(),
            "top_k" | "options.top_k" => parameters.top_k = value.number(),
            "frequency_penalty" | "options.frequency_penalty" => {
                parameters.frequency_penalty = value.number();
            }
            "presence_penalty" | "options.presence_penalty" => {
                parameters.presence_penalty = value.number();
            }
            "seed" | "options.seed" => parameters.seed = value.integer(),
            "n" => parameters.choices = value.integer(),
            _ => {}
        }
    }
}

impl Element {
    /// Rather than a tool that is offered.
    fn is_message(&self) -> bool {
        self.role.is_some() || self.call_id.is_some()
    }

    fn into_result(self) -> ToolResult {
        ToolResult {
            call_id: self.call_id,
            name: self.name,
            is_error: self.is_error,
        }
    }

    /// Takes a member.
    fn member(&mut self, key: &str, value: Value<'_>) {
        let name = || value.text_or_number().map(short_name);
        match key {
            ".type" => self.kind = name(),
            ".role" => self.role = name(),
            // Of messages and of tools, Ollama's, and OpenAI's.
            ".name" | ".tool_name" | ".function.name" | ".custom.name" => self.name = name(),
            // Of messages of OpenAI's chat, of items of its responses, of Anthropic's blocks.
            ".tool_call_id" | ".call_id" | ".tool_use_id" => self.call_id = name(),
            ".is_error" => self.is_error = value.boolean() == Some(true),
            ".content" => self.fenced = value.text().and_then(fenced_result),
            _ => {}
        }
    }
}

fn fenced_result(text: &str) -> Option<ToolResult> {
    let is_error = text.starts_with(FENCED_FAILURE);
    (is_error || text.starts_with(FENCED_RESULT)).then(|| ToolResult {
        is_error,
        ..ToolResult::default()
    })
}

/// Where in a request a member is.
enum Place<'a> {
    /// A member of the root, or of an object that is one.
    Root(&'a str),
    /// An element of an array of messages or tools, or a member of it.
    Element(List, &'a str),
    /// A block of a message's content, or a member of it.
    Block(&'a str),
}

#[derive(Clone, Copy)]
enum List {
    Messages,
    Tools,
    /// A gap hides which.
    Unknown,
}

/// Lists of elements, and how paths in them begin.
const LISTS: [(&str, List); 5] = [
    ("messages[]", List::Messages),
    ("input[]", List::Messages),
    ("tools[]", List::Tools),
    ("functions[]", List::Tools),
    ("?[]", List::Unknown),
];

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Self {
        for (start, list) in LISTS {
            if let Some(member) = path.strip_prefix(start) {
                let block = [".content[]", ".?[]"];
                let block = block.iter().find_map(|start| member.strip_prefix(start));
                return block.map_or(Self::Element(list, member), Self::Block);
            }
        }
        Self::Root(path)
    }
}

impl Visitor for Draft {
    fn begin(&mut self, path: &Path, _container: Container) -> Inside {
        match Place::of(path.as_str()) {
            Place::Root("messages" | "input" | "prompt") => {
                self.is_call |= !self.request.api.is_ollama();
                Inside::Enter
            }
            Place::Root("" | "tools" | "functions" | "options" | "metadata" | "conversation")
            | Place::Element(_, "" | ".content" | ".function" | ".custom")
            | Place::Block("") => Inside::Enter,
            _ => Inside::Skip,
        }
    }

    fn end(&mut self, path: &Path, container: Container) {
        match Place::of(path.as_str()) {
            Place::Block("") => self.end_block(),
            // Elements of other lists are tokens and texts.
            Place::Element(list, "") if container == Container::Object => match list {
                List::Messages => self.end_message(),
                List::Tools => self.end_tool(),
                List::Unknown if self.element.is_message() => self.end_message(),
                List::Unknown => self.end_tool(),
            },
            _ => {}
        }
    }

    fn value(&mut self, path: &Path, value: Value<'_>) {
        match Place::of(path.as_str()) {
            Place::Root(key) => {
                if matches!(key, "prompt" | "input") && value.text().is_some() {
                    self.is_call |= !self.request.api.is_ollama();
                }
                self.member(key, value);
            }
            Place::Element(_, member) => self.element.member(member, value),
            Place::Block(member) => self.block.member(member, value),
        }
    }

    fn want(&mut self, path: &Path) -> Want {
        match Place::of(path.as_str()) {
            Place::Block(".text" | ".data" | ".source") => Want::Skip,
            _ => Want::Value,
        }
    }
}
