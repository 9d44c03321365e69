//! The monotonic clock of the kernel's records, and the wall clock of spans.

use crate::time::{Nanos, WallOffset};

/// A change of the offset below this is drift and noise of the measurement, not worth an event.
const NOTABLE_NANOS: u64 = 200_000;
/// Readings per measurement; the one with the least delay between its two clocks is taken.
const READINGS: usize = 5;

/// Measures the wall clock against the monotonic one.
#[derive(Debug, Default)]
pub struct Clock {
    last: Option<WallOffset>,
}

impl Clock {
    /// Measures; tells the offset where it is new or has changed notably.
    pub fn measure(&mut self) -> Option<(Nanos, WallOffset)> {
        let (at, offset) = measure();
        if let Some(WallOffset(last)) = self.last
            && last.abs_diff(offset.0) < NOTABLE_NANOS
        {
            return None;
        }
        self.last = Some(offset);
        Some((at, offset))
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
#[must_use]
pub fn monotonic() -> Nanos {
    read(libc::CLOCK_MONOTONIC)
}

fn measure() -> (Nanos, WallOffset) {
    (0..READINGS)
        .map(|_| {
            let before = monotonic();
            let wall = read(libc::CLOCK_REALTIME);
            let after = monotonic();
            let middle = before + (after - before) / 2;
            (
                after - before,
                middle,
                WallOffset(wall.cast_signed() - middle.cast_signed()),
            )
        })
        .min_by_key(|(delay, ..)| *delay)
        .map(|(_, at, offset)| (at, offset))
        .expect("there is at least one reading")
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place; both clocks exist on every Linux, so this cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_clock_is_told_once() {
        let mut clock = Clock::default();
        let (at, offset) = clock.measure().expect("the first measurement is news");
        let unix = offset.unix_nanos(at);
        // 2020-09-13 in ns: any machine that runs this is later.
        assert!(unix > 1_600_000_000_000_000_000);
        clock.last = Some(WallOffset(offset.0 - 1_000_000_000));
        assert!(clock.measure().is_some(), "a step of a second is news");
    }
}
