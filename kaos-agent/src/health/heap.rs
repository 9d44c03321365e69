//! What the allocator has: resident memory alone does not tell what grows from what was freed and is
//! kept for later.

/// Bytes of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heap {
    /// Allocated.
    pub used: u64,
    /// Freed, and kept by the allocator, some of it given back to the kernel already.
    pub free: u64,
}

/// What there is now; `None` with an allocator that does not tell.
#[must_use]
pub fn look() -> Option<Heap> {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes nothing, and locks what it looks at.
        let info = unsafe { libc::mallinfo2() };
        Some(Heap {
            used: (info.uordblks + info.hblkhd) as u64,
            free: info.fordblks as u64,
        })
    }
    #[cfg(not(target_env = "gnu"))]
    None
}

/// Gives freed memory back to the kernel, so that the next look at resident memory tells what is really
/// used.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and locks what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

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
