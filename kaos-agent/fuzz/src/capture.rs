//! Of stage 1: what it tells, and the reader of recordings.

#[path = "../../src/capture/event.rs"]
pub mod event;
#[path = "recording.rs"]
pub mod recording;
