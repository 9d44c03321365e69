//! The eBPF programs' crate root.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod kernel;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    // Cargo builds this target for the host too; the programs exist for the kernel only.
}
