//! What a process does with a call that it makes.

use std::sync::Arc;

use super::batch::is_batch;
use super::destinations::{Destination, Destinations, name_by_host};
use crate::capture::event::Endpoints;
use crate::exchanges::exchange::{ConnectFailure, ExchangeId, Request};
use crate::exchanges::llm::{Api, ModelRequest};
use crate::exchanges::meaning::Operation;
use crate::exchanges::rpc::a2a::A2aKind;
use crate::exchanges::rpc::mcp::{McpKind, McpMessage, McpRequest};
use crate::identity::agent::AgentSettings;
use crate::runs::cause::Call;
use crate::runs::w3c::Carried;
use crate::time::Nanos;

/// The role by which an agent marks work that it gives to another.
const DELEGATION_ROLE: &str = "task-delegation";

/// A call, or an attempt to connect for one.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Who, when and what.
    pub call: Call,
    /// Where to.
    pub endpoints: Endpoints,
    /// The request; there is none where no connection was made.
    pub request: Option<Arc<Request>>,
    /// What it asks for.
    pub operation: Option<Arc<Operation>>,
    /// What it means is told here, and not by an SDK in the process.
    pub has_meaning: bool,
    /// The context that it carries, if that is one which the process was called with and does not say for
    /// which request it is made.
    pub forwarded: Option<Forwarded>,
}

/// A context that was forwarded blindly.
#[derive(Debug, Clone)]
pub enum Forwarded {
    /// Several requests that are served came with it: what caused the call goes before it.
    OfSeveral(Carried),
    /// The request that came with it is over: it goes before what caused the call.
    Over(Carried),
}

impl Forwarded {
    /// The context.
    #[must_use]
    pub fn into_carried(self) -> Carried {
        match self {
            Self::OfSeveral(carried) | Self::Over(carried) => carried,
        }
    }
}

/// What a call is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Asks a model for its next answer.
    Model,
    /// Uses a model otherwise: embeddings.
    OtherModel,
    /// Calls this tool of an MCP server.
    Tool {
        /// Its name.
        name: String,
    },
    /// Belongs to an MCP session.
    Session(SessionPart),
    /// Gives work to another agent.
    Delegation {
        /// Its name, where the process's settings or an earlier exchange have one.
        target: Option<String>,
    },
    /// Tried to reach a server of tools.
    ToolsUnreached,
    /// Anything else.
    Plain,
}

/// What a request is in the life of an MCP session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionPart {
    /// `initialize`
    Opens,
    /// Messages in between.
    Goes,
    /// The server's own stream, which lasts as long as the session.
    Streams,
    /// `DELETE`
    Ends,
}

impl Outgoing {
    /// A request.
    #[must_use]
    pub fn request(
        request: &Arc<Request>,
        operation: Option<&Arc<Operation>>,
        has_meaning: bool,
    ) -> Self {
        Self {
            call: Call::of(request),
            endpoints: request.endpoints,
            request: Some(Arc::clone(request)),
            operation: operation.map(Arc::clone),
            has_meaning,
            forwarded: None,
        }
    }

    /// An attempt to connect.
    #[must_use]
    pub fn failure(failure: &ConnectFailure, has_meaning: bool) -> Self {
        Self {
            call: Call::failed(failure),
            endpoints: failure.endpoints,
            request: None,
            operation: None,
            has_meaning,
            forwarded: None,
        }
    }

    /// Number of its exchange.
    #[must_use]
    pub fn id(&self) -> ExchangeId {
        self.call.id
    }

    /// When it began.
    #[must_use]
    pub fn at(&self) -> Nanos {
        self.call.at
    }

    /// What it asks a model for.
    #[must_use]
    pub fn model(&self) -> Option<&ModelRequest> {
        match self.operation.as_deref() {
            Some(Operation::Model(model)) => Some(model),
            _ => None,
        }
    }

    /// What it says to an MCP server.
    #[must_use]
    pub fn mcp(&self) -> Option<&McpRequest> {
        match self.operation.as_deref() {
            Some(Operation::Mcp(mcp)) => Some(mcp),
            _ => None,
        }
    }

    /// It calls several tools at once.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.mcp().is_some_and(is_batch)
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self, settings: &AgentSettings, destinations: &mut Destinations) -> Kind {
        let Some(request) = &self.request else {
            return match destinations.of(self.endpoints, settings) {
                Some(Destination::Model) => Kind::Model,
                Some(Destination::Tools) => Kind::ToolsUnreached,
                Some(Destination::Peer(name)) => Kind::Delegation { target: Some(name) },
                None => Kind::Plain,
            };
        };
        match self.operation.as_deref() {
            Some(Operation::Model(model)) if is_chat(model.api) => {
                let target = destinations.peer(request, settings);
                if target.is_some() || model.last_role.as_deref() == Some(DELEGATION_ROLE) {
                    return Kind::Delegation { target };
                }
                Kind::Model
            }
            Some(Operation::Model(model)) if is_completion(model.api) => Kind::Model,
            Some(Operation::Model(_)) => Kind::OtherModel,
            Some(Operation::Mcp(mcp)) => match called_tool(mcp) {
                Some(name) => Kind::Tool {
                    name: name.to_owned(),
                },
                None => Kind::Session(session_part(mcp)),
            },
            Some(Operation::A2a(a2a)) if a2a.kind == A2aKind::Send => Kind::Delegation {
                target: destinations.peer(request, settings),
            },
            Some(Operation::A2a(_) | Operation::AgentCard) | None => Kind::Plain,
        }
    }

    /// A name for the agent that it goes to.
    #[must_use]
    pub fn name_by_host(&self) -> String {
        self.request
            .as_deref()
            .map_or_else(String::new, name_by_host)
    }
}

/// A conversation, as an agent is asked by one.
#[must_use]
pub fn is_chat(api: Api) -> bool {
    match api {
        Api::OpenAiChat | Api::OpenAiResponses | Api::AnthropicMessages | Api::OllamaChat => true,
        Api::OpenAiCompletions | Api::OpenAiEmbeddings | Api::OllamaGenerate | Api::OllamaEmbed => {
            false
        }
    }
}

fn is_completion(api: Api) -> bool {
    matches!(api, Api::OpenAiCompletions | Api::OllamaGenerate)
}

/// The tool that these messages call. Of a batch the first.
#[must_use]
pub fn called_tool(mcp: &McpRequest) -> Option<&str> {
    let call = tool_calls(mcp).next()?;
    Some(call.name.as_deref().unwrap_or_default())
}

/// The calls of tools among these messages.
pub fn tool_calls(mcp: &McpRequest) -> impl Iterator<Item = &McpMessage> {
    mcp.messages.iter().filter(|message| message.is_tool_call())
}

fn session_part(mcp: &McpRequest) -> SessionPart {
    let is_initialize = |method: Option<&str>| method == Some("initialize");
    match mcp.kind {
        McpKind::End => SessionPart::Ends,
        McpKind::Stream => SessionPart::Streams,
        McpKind::Messages => {
            let mut messages = mcp.messages.iter();
            match messages.any(|message| is_initialize(message.method.as_deref())) {
                true => SessionPart::Opens,
                false => SessionPart::Goes,
            }
        }
    }
}
