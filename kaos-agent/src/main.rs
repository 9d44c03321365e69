//! The node agent's executable.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Each span is some dozens of short-lived allocations, which one thread makes and another frees: it
/// takes less CPU time than glibc's allocator, and keeps less memory (`docs/benchmarks.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What jemalloc reads when it starts: one arena is enough for the few threads that are busy, and
/// what was freed is the kernel's again after a second.
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 57] = b"narenas:1,thp:never,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    kaos_agent::cli::run(std::env::args_os())
}
