//! The reader of recordings.

#[path = "../../src/capture/recording/format.rs"]
mod format;
#[path = "../../src/capture/recording/reader.rs"]
mod reader;

pub use reader::{Reader, RecordingError};
