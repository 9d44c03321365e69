//! What the kernel programs and user space say to each other.
//!
//! The library half builds for the host and for the kernel; everything in it is plain data or
//! pure. The programs are in the binary half (`main.rs`).

#![cfg_attr(target_arch = "bpf", no_std)]

pub mod counter;
pub mod position;
pub mod process;
pub mod python;
pub mod record;
pub mod settings;
pub mod sniff;
pub mod tls;
pub mod window;

/// The eBPF object, the very bytes that `cargo xtask build-ebpf` copies out. Aligned, since its
/// ELF headers are read in place.
#[cfg(feature = "object")]
pub static OBJECT: &[u8] = {
    #[repr(C, align(8))]
    struct Aligned<Bytes: ?Sized>(Bytes);
    static ALIGNED: &Aligned<[u8]> =
        &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kaos-ebpf")));
    &ALIGNED.0
};
