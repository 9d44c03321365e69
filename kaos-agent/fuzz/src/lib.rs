//! What the fuzz targets share.
//!
//! The parsers are compiled here from the agent's own sources, without the rest of the agent: what
//! that depends on (tonic, kube, tokio) takes ten minutes to build with coverage counters, and holds
//! none of our parsers.
#![allow(dead_code, reason = "the agent uses more of these modules than the targets do")]

#[path = "../../src/exchanges/mod.rs"]
pub mod exchanges;
#[path = "../../src/protocols/mod.rs"]
pub mod protocols;
#[path = "../../src/streams/mod.rs"]
pub mod streams;
#[path = "../../src/time.rs"]
pub mod time;

pub mod capture;
mod conversation;
pub mod health;
pub mod runs;

pub use conversation::*;

/// As the agent's, which it knows its own exports by.
pub const USER_AGENT: &str = "kaos-agent/0";
