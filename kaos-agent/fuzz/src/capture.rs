//! Of stage 1: what it tells.

#[path = "../../src/capture/event.rs"]
pub mod event;
