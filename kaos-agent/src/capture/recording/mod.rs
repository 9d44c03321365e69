//! Recordings: the event stream in a file, to be replayed through the pipeline without privileges.
//!
//! - **In:** [`Event`](super::event::Event)s, in the kernel's order.
//! - **Out:** a file; from a file the same events again.
//! - **Keeps:** the block that is being filled, and the redactor's state per connection.
//! - **Limits:** a block closes at 1 MiB or after a second of event time; a reader allocates at most
//!   16 MiB per block, whatever the file says.
//! - **Loses:** nothing while it runs. A writer that is killed loses the block that it was filling:
//!   the file is readable up to there, and the reader says so.
//!
//! ```text
//! file   = magic "KAOSREC\n", format version u16, length u8 and text of the agent's version,
//!          CRC-32 of all that; then blocks; last an end block, which has no records
//! block  = compressed size u32, size u32, records u32, CRC-32 of these and of the contents;
//!          contents, one zstd frame
//! frame  = payload size u32, payload, records
//! record = postcard of (length of its bytes in the payload, event without bytes)
//! ```
//!
//! Numbers are little-endian. Payload stands apart from the records so that a reader hands out
//! slices of the decompressed block and copies nothing.

mod change;
mod format;
mod reader;
mod writer;

pub(super) use change::RecordedChange;
pub use reader::{Reader, RecordingError};
pub use writer::{RecordingCounters, Writer};

#[cfg(test)]
mod tests;
