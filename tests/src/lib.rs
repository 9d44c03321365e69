//! The harness of the end-to-end tests: real workloads as processes, a real OTLP receiver, and the
//! built agent between them.
//!
//! Everything blocks until what it waits for has happened, or panics at its deadline with what was
//! seen so far: nothing sleeps, but [`wait`] between two looks. `cargo xtask test` sets up the workloads and says where they are.

pub mod agent;
pub mod bench;
pub mod bpf;
pub mod causes;
pub mod chat;
pub mod connection;
pub mod nginx;
pub mod process;
pub mod received;
pub mod receiver;
pub mod skip;
pub mod story;
pub mod tree;
pub mod wait;
pub mod workloads;

use std::time::Duration;

/// Said by a test that fails because something false was told: `cargo xtask test` does not try it again.
pub const WRONG: &str = "wrong, and so never tried again";

/// How long a test waits for anything before it fails. Far more than a busy machine or an emulated one
/// needs, since a deadline that is met costs nothing.
pub const DEADLINE: Duration = Duration::from_secs(180);
