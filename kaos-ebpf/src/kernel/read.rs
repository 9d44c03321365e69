//! Reading kernel memory at offsets from BTF.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads a value at `offset` bytes into a kernel structure; `None` where the address is bad.
#[inline(always)]
pub fn kernel<T>(structure: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((structure + offset as u64) as *const T) }.ok()
}
