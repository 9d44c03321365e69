//! The agent about itself: what it counted, and whether it can work here.

pub mod counters;
pub mod doctor;
