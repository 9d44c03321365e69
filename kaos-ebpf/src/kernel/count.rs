//! Counting.

use kaos_ebpf::counter::Counter;

use super::maps::COUNTERS;

/// Adds to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter, amount: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's slot. A program that interrupts another on it can make an addition
        // be lost; an atomic one would cost every event more than that is worth.
        unsafe { *value += amount }
    }
}
