//! Positions in a stream.

/// Carries a 32-bit sequence number on to 64 bits, near a position that is known.
///
/// TCP's positions wrap every 4 GiB. `known` is any position of the same stream less than 2 GiB
/// away; the result's low 32 bits are `sequence`.
#[inline(always)]
#[must_use]
pub fn widen(known: u64, sequence: u32) -> u64 {
    let distance = sequence.wrapping_sub(known as u32) as i32;
    known.wrapping_add(distance as i64 as u64)
}

/// The first position of a stream of which nothing is known, high enough that a step back from it
/// does not wrap.
#[inline(always)]
#[must_use]
pub fn first(sequence: u32) -> u64 {
    (1 << 32) | sequence as u64
}

/// Where the last `length` bytes began that a receive took out of a TCP stream.
///
/// `copied` is the kernel's position after it. A receive that also consumed the FIN is one
/// further. Where `expected` (the end of the last receive) is known it decides; else `fin_read`,
/// the caller's reading of the socket's state.
#[inline(always)]
#[must_use]
pub fn received_start(copied: u32, length: u32, expected: Option<u32>, fin_read: bool) -> u32 {
    let start = copied.wrapping_sub(length);
    match expected {
        Some(expected) if expected == start => start,
        Some(expected) if expected == start.wrapping_sub(1) => expected,
        _ => start.wrapping_sub(fin_read as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_carried_over_wraps_both_ways() {
        assert_eq!(widen(first(100), 150), first(150));
        assert_eq!(widen(first(100), 50), first(50));
        assert_eq!(widen(first(u32::MAX), 5), (2 << 32) | 5);
        assert_eq!(widen((2 << 32) | 5, u32::MAX), first(u32::MAX));
    }

    #[test]
    fn the_fin_is_no_byte() {
        assert_eq!(received_start(110, 10, Some(100), false), 100);
        assert_eq!(received_start(111, 10, Some(100), true), 100);
        assert_eq!(received_start(110, 10, None, false), 100);
        assert_eq!(received_start(111, 10, None, true), 100);
        // The state says FIN, but the stream goes on where it ended: no FIN was read yet.
        assert_eq!(received_start(110, 10, Some(100), true), 100);
        // Lost in between: only the state can tell.
        assert_eq!(received_start(500, 10, Some(100), false), 490);
    }

    #[test]
    fn positions_wrap() {
        assert_eq!(received_start(4, 10, None, false), u32::MAX - 5);
    }
}
