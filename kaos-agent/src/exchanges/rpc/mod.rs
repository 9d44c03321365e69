//! JSON-RPC over HTTP: the Model Context Protocol and the Agent2Agent protocol.
//!
//! Which of them a request speaks its head tells (`mcp-*` fields), else the names of its methods.
//! JSON-RPC with other methods is neither, and means nothing here. Bodies are read as they pass
//! ([`request`], [`reply`]); results that come on another exchange are joined to their request
//! ([`legacy`]).

pub mod a2a;
mod head;
pub mod legacy;
pub mod mcp;
mod members;
mod methods;
mod reply;
mod request;

pub use head::understand;
pub use reply::ReplyReader;
pub use request::RequestReader;

/// An error of JSON-RPC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RpcError {
    /// Its code; 0 where it has none.
    pub code: i64,
    /// Its message, at most [`MOST_MESSAGE`](reply::MOST_MESSAGE) bytes of it.
    pub message: Option<String>,
}
