//! Stage 1: kernel to [`Event`](event::Event).
//!
//! - **In:** records of the eBPF programs in the ring buffer, `/proc`, the clocks.
//! - **Out:** events in the order of the ring, each process described before its first data.
//! - **Keeps:** which processes are described; the kernel keeps the selection, the connections
//!   and their positions.
//! - **Limits:** ring and maps by setting (`kaos_ebpf::settings::defaults`), head and tail of
//!   messages by setting, 256 KiB of each file of a process, 1 MiB of one with certificates.
//! - **Loses:** records when the ring is full (`kernel.lost.*`), bytes over the budget or without
//!   a readable buffer (`kernel.skipped.*`), connections that carry no HTTP/1 (`kernel.muted.*`).

pub mod btf;
pub mod checks;
pub mod clock;
pub mod error;
pub mod event;
pub mod front_end;
mod instrumentation;
pub mod kernel;
pub mod live;
pub mod news;
pub mod peers;
pub mod pods;
pub mod processes;
pub mod programs;
pub mod python;
pub mod recording;
pub mod records;
pub mod redact;
pub mod release;
pub mod ring;
pub mod running;
pub mod selection;
pub mod surroundings;
pub mod syscalls;
pub mod tls;
pub mod uprobes;
