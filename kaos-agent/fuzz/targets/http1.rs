//! HTTP/1 on both directions of a connection, with gaps.
#![no_main]

use kaos_fuzz::capture::event::Direction;
use kaos_fuzz::{Operation, exchanges};
use libfuzzer_sys::fuzz_target;

// Each operation: a byte of flags (1: sent, 2: with a gap), its length in two bytes, its bytes.
fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let operations = std::iter::from_fn(|| {
        let [flags, low, high, bytes @ ..] = rest else {
            return None;
        };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let (bytes, after) = bytes.split_at(length);
        rest = after;
        let direction = if flags & 1 == 0 {
            Direction::Received
        } else {
            Direction::Sent
        };
        let skipped = if flags & 2 == 0 { 0 } else { u64::from(*flags) };
        Some(Operation {
            direction,
            bytes,
            skipped,
        })
    });
    let _ = exchanges(operations.collect::<Vec<_>>());
});
