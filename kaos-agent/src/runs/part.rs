//! What an exchange is beyond HTTP, in the work of an agent, a model's server or a tools' server.

/// What an exchange is. Which end of it, the exchange itself says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Part {
    /// HTTP, and nothing else that is told: plain requests, the plumbing of MCP sessions,
    /// discovery, and what an agent is asked, which its run tells.
    #[default]
    Http,
    /// The call of a model.
    Model(ModelPart),
    /// The call of an MCP tool.
    ToolCall(ToolPart),
    /// Work that is given to another agent.
    Delegation {
        /// Name of that agent.
        target: String,
    },
}

/// The call of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelPart {
    /// An agent makes it.
    pub in_agent: bool,
    /// How many calls of the same before it failed.
    pub resends: u32,
    /// The model that the process is set to call, where the call does not say.
    pub configured_model: Option<String>,
}

/// The call of an MCP tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolPart {
    /// An agent makes it.
    pub in_agent: bool,
    /// Name of the tool.
    pub tool: String,
    /// Its server, as the process's settings call it.
    pub server: Option<String>,
    /// The model's id of the call.
    pub call_id: Option<String>,
}

impl Part {
    /// It is told even where plain HTTP requests are not wanted.
    #[must_use]
    pub fn is_always_told(&self) -> bool {
        *self != Self::Http
    }
}
