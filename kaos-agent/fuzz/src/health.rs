//! What stages count.

#[path = "../../src/health/counters.rs"]
pub mod counters;
