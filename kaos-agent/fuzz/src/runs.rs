//! Of stage 5: the context that a request carries.

#[path = "../../src/runs/w3c.rs"]
pub mod w3c;
