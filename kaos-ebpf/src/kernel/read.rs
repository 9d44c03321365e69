//! Reading kernel memory at offsets from BTF, and reading what is in a map again.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// Reads a value at `offset` bytes into a kernel structure; `None` where the address is bad.
#[inline(always)]
pub fn kernel<T>(structure: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((structure + offset as u64) as *const T) }.ok()
}

/// Reads a value in a map again. The verifier does not follow what maps hold, so it walks what comes
/// after once, and not once for each way that led to the value.
#[inline(always)]
pub fn again<T: Copy>(value: &T) -> T {
    // SAFETY: a reference can be read.
    unsafe { core::ptr::from_ref(value).read_volatile() }
}
