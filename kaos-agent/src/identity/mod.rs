//! Side input: whose process is this, and what does its environment say about telemetry?
//!
//! - **In**: [`ProcessEvent`](crate::capture::event::ProcessEvent)s, in the order of the kernel's.
//! - **Out**: the [`Service`](service::Service) of a process, and warnings about settings that
//!   make no sense.
//! - **Keeps**: one service per process, shared by all processes that agree in everything.
//! - **Limits**: [`MAX_PROCESSES`](identities::MAX_PROCESSES) and
//!   [`MAX_SERVICES`](identities::MAX_SERVICES); a process that has exited is kept for
//!   [`EXITED_KEPT`](identities::EXITED_KEPT).
//! - **Loses**: processes beyond those limits, which are then not told (`identity.*_refused`).

mod configuration;
pub mod container;
mod destination;
pub mod environment;
pub mod identities;
mod naming;
pub mod service;
mod variables;
