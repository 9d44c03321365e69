//! What the allocator has: resident memory alone does not tell what grows from what was freed and is
//! kept for later.

use std::ptr::null_mut;

use tikv_jemalloc_ctl::{epoch, stats};

/// Bytes of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Allocated.
    pub used: u64,
    /// Resident beyond that: freed and not given back to the kernel yet, and the allocator's own.
    pub free: u64,
}

/// What there is now; `None` where jemalloc is not the allocator, as in what else links this library.
#[must_use]
pub fn look() -> Option<Heap> {
    // The numbers are those of the last time that this was asked for.
    epoch::advance().ok()?;
    let used = stats::allocated::read().ok().filter(|used| *used > 0)?;
    let resident = stats::resident::read().ok()?;
    Some(Heap {
        used: used as u64,
        free: resident.saturating_sub(used) as u64,
    })
}

/// Gives freed memory back to the kernel, so that the next look at resident memory tells what is really
/// used.
pub fn give_back() {
    // All arenas: `MALLCTL_ARENAS_ALL`.
    let purge = c"arena.4096.purge";
    // SAFETY: the name ends, and nothing is read from or written to the other pointers.
    unsafe { tikv_jemalloc_sys::mallctl(purge.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the executable.
    #[global_allocator]
    static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

    #[test]
    fn what_is_allocated_is_told() {
        const BYTES: usize = 64 << 20;
        let before = look().expect("this allocator tells");
        let block = vec![1_u8; BYTES];
        let with_it = look().expect("this allocator tells");
        // Other tests allocate meanwhile, but no such block.
        assert!(with_it.used > before.used + BYTES as u64 / 2);
        drop(block);
        let after = look().expect("this allocator tells");
        assert!(after.used < with_it.used - BYTES as u64 / 2);
    }
}
