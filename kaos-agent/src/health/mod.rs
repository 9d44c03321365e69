//! The agent about itself: what it counted, whether it can work here, and what it makes of a process.

pub mod counters;
pub mod doctor;
pub mod explain;
pub mod heap;
pub mod metrics;
pub mod server;
pub mod status;
