//! The reader of recordings.

#[path = "../../src/capture/recording/change.rs"]
mod change;
#[path = "../../src/capture/recording/format.rs"]
mod format;
#[path = "../../src/capture/recording/reader.rs"]
mod reader;

pub(super) use change::RecordedChange;
pub use reader::{Reader, RecordingError};
