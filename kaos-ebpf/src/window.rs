//! Which bytes of a socket operation are captured.

/// The bytes of one operation that are captured: `[0, head_end)` and `[tail_start, total)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// End of the head.
    pub head_end: u32,
    /// Start of the tail; equal to `head_end` where nothing is passed over.
    pub tail_start: u32,
}

/// Splits an operation that moved `total` bytes of a message of which `spent` bytes moved before.
///
/// The head budget is the message's, the tail budget each operation's: which operation is the
/// last of its message is not known while it runs, and a stream of small ones (server-sent
/// events) must be captured whole however long it grows.
#[inline(always)]
#[must_use]
pub fn window(total: u32, spent: u32, head_bytes: u32, tail_bytes: u32) -> Window {
    let head_end = head_bytes.saturating_sub(spent).min(total);
    let tail_start = total.saturating_sub(tail_bytes).max(head_end);
    Window {
        head_end,
        tail_start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(total: u32, spent: u32) -> (u32, u32) {
        let window = window(total, spent, 64, 16);
        (window.head_end, window.tail_start)
    }

    #[test]
    fn small_operations_are_whole() {
        assert_eq!(split(64, 0), (64, 64));
        assert_eq!(split(80, 0), (64, 64));
        assert_eq!(split(16, 1_000_000), (0, 0));
        assert_eq!(split(0, 0), (0, 0));
    }

    #[test]
    fn the_middle_of_large_ones_is_passed_over() {
        assert_eq!(split(100, 0), (64, 84));
        assert_eq!(split(100, 60), (4, 84));
        assert_eq!(split(100, 64), (0, 84));
        assert_eq!(split(u32::MAX, u32::MAX), (0, u32::MAX - 16));
    }
}
