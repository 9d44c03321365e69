//! What is shared by the programs, and what the object needs beside them.

mod budget;
mod buffer;
mod cgroups;
mod connections;
mod count;
mod maps;
pub mod payload;
mod processes;
mod program;
mod programs;
mod python;
mod read;
mod registers;
mod ring;
mod settings;
mod states;
mod tls;

/// The helpers that the programs call are for GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that could come here.
    loop {}
}
