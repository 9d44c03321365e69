//! Writing to the ring.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use kaos_ebpf::counter::Counter;

use super::count::count;
use super::maps::RING;
use super::settings::setting;

/// Puts `length` bytes at `record` into the ring; false, and counted, where it is full.
///
/// The reader looks at the ring on a timer. Waking it for each record would cost more than the
/// records (an interrupt each), so that happens only when a stated share of the ring is full.
#[inline(always)]
pub fn output<T>(record: *const T, length: u64) -> bool {
    put(record, length, wake())
}

/// The same without a look at how full the ring is, for small records of which there are many: those
/// with bytes, which fill it, look.
#[inline(always)]
pub fn output_quietly<T>(record: *const T, length: u64) -> bool {
    put(record, length, BPF_RB_NO_WAKEUP as u64)
}

/// Flags for a record: whether the reader is woken.
#[inline(always)]
pub fn wake() -> u64 {
    if RING.query(BPF_RB_AVAIL_DATA as u64) >= setting!(wake_bytes) {
        BPF_RB_FORCE_WAKEUP as u64
    } else {
        BPF_RB_NO_WAKEUP as u64
    }
}

#[inline(always)]
fn put<T>(record: *const T, length: u64, flags: u64) -> bool {
    // SAFETY: the verifier proves that `length` bytes at `record` are ours.
    let result = unsafe {
        bpf_ringbuf_output(
            (&raw const RING).cast_mut().cast(),
            record.cast_mut().cast(),
            length,
            flags,
        )
    };
    if result < 0 {
        count(Counter::RingFull, 1);
        return false;
    }
    count(Counter::Records, 1);
    true
}

/// Puts a record of fixed size into the ring.
#[inline(always)]
pub fn emit<T>(record: &T) {
    output(record, size_of::<T>() as u64);
}

/// Puts a record of fixed size into the ring and wakes the reader.
#[inline(always)]
pub fn emit_urgent<T>(record: &T) {
    output_urgent(record, size_of::<T>() as u64);
}

/// Puts `length` bytes at `record` into the ring and wakes the reader.
#[inline(always)]
pub fn output_urgent<T>(record: *const T, length: u64) {
    put(record, length, BPF_RB_FORCE_WAKEUP as u64);
}
