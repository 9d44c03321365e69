//! The benchmarks: what the agent costs, what it can take, and how fast it is.
//!
//! Windows of the variants that are compared alternate (A B B A), so that whatever else happens on
//! the machine meets all of them; results are medians with their quartiles. Nothing is asserted:
//! times belong to the machine that they were measured on.

pub mod causality;
mod copies;
pub mod flood;
pub mod hooks;
pub(crate) mod http1;
pub(crate) mod listen;
mod load;
pub mod overhead;
pub mod overhead_tls;
pub mod replay;
pub mod report;
pub mod semantics;
mod sink;
pub mod start;
mod statistics;
mod synthetic;
pub(crate) mod tls;
mod upstream;
mod usage;
mod workload;
