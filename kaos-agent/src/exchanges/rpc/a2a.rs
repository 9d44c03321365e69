//! The Agent2Agent protocol over JSON-RPC.

/// A message to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct A2aRequest {
    /// Its method, as sent.
    pub method: String,
    /// What the method does.
    pub kind: A2aKind,
    /// Its id as text.
    pub id: Option<String>,
    /// The conversation (`contextId`, `sessionId`).
    pub context_id: Option<String>,
    /// The task.
    pub task_id: Option<String>,
    /// The message says that an agent delegates (`metadata.delegation`, as KAOS's do).
    pub is_delegation: bool,
}

/// What a method does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum A2aKind {
    /// Gives the agent work: `SendMessage`, `message/send`, `tasks/send`, and their streaming twins.
    Send,
    /// Anything else: asks for tasks, cancels them, subscribes.
    Other,
}

/// What an agent answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct A2aReply {
    /// A JSON-RPC error.
    pub error: Option<super::RpcError>,
    /// The task.
    pub task_id: Option<String>,
    /// The conversation.
    pub context_id: Option<String>,
    /// Last state of the task, in lower case, without prefix, with hyphens (`completed`, `failed`,
    /// `input-required`, …).
    pub state: Option<String>,
    /// What the text of the answer tells, in the words of KAOS's agents.
    pub notice: Option<crate::exchanges::llm::Notice>,
}
