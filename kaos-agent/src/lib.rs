//! The node agent: one pipeline from kernel hooks to OTLP.
//!
//! ```text
//! capture -> streams -> protocols -> exchanges -> runs -> telemetry -> export
//! ```
//!
//! Data flows one way; a stage uses the types of the stage before it and never of the one after.
//! Stages are plain structs without async, clock or I/O. `capture` and `export` keep their I/O at
//! the edge, and `pipeline` alone knows threads and tokio.

pub mod capture;
pub mod cli;
pub mod exchanges;
pub mod export;
pub mod health;
pub mod identity;
pub mod kubernetes;
pub mod pipeline;
pub mod protocols;
pub mod runs;
pub mod settings;
pub mod streams;
pub mod telemetry;
pub mod time;

/// `user-agent` of every request that the agent itself sends, so that its own exports can be told
/// from the traffic that it watches. gRPC requests have the library's name after it.
pub const USER_AGENT: &str = concat!("kaos-agent/", env!("CARGO_PKG_VERSION"));
