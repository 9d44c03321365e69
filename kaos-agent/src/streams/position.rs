//! Where bytes lie in relation to what was told of their stream before.

/// Longest step ahead that is taken for lost records: half of TCP's sequence space, beyond which
/// ahead and behind cannot be told apart (RFC 9293 section 3.4).
pub const FARTHEST_AHEAD: u64 = 1 << 31;

/// Longest step back that is taken for bytes told twice, or out of order by two threads that
/// write one socket: more than a socket's buffers hold by default (`tcp_rmem`, 6 MiB).
pub const FARTHEST_BEHIND: u64 = 16 << 20;

/// How bytes at a position fit to what was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// They follow.
    Next,
    /// So many bytes are missing between.
    Ahead(u64),
    /// So many of them were told before.
    Behind(u64),
    /// Neither is plausible.
    Elsewhere,
}

/// Compares the position of bytes with the `expected` one.
#[must_use]
pub fn fit(expected: u64, position: u64) -> Fit {
    if position >= expected {
        match position - expected {
            0 => Fit::Next,
            ahead if ahead <= FARTHEST_AHEAD => Fit::Ahead(ahead),
            _ => Fit::Elsewhere,
        }
    } else {
        match expected - position {
            behind if behind <= FARTHEST_BEHIND => Fit::Behind(behind),
            _ => Fit::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_compared() {
        let base = 1 << 40;
        for (position, expected_fit) in [
            (base, Fit::Next),
            (base + 1, Fit::Ahead(1)),
            (base + FARTHEST_AHEAD, Fit::Ahead(FARTHEST_AHEAD)),
            (base + FARTHEST_AHEAD + 1, Fit::Elsewhere),
            (base - 1, Fit::Behind(1)),
            (base - FARTHEST_BEHIND, Fit::Behind(FARTHEST_BEHIND)),
            (base - FARTHEST_BEHIND - 1, Fit::Elsewhere),
            (0, Fit::Elsewhere),
            (u64::MAX, Fit::Elsewhere),
        ] {
            assert_eq!(fit(base, position), expected_fit, "{position}");
        }
    }
}
