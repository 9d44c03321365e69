//! Functions of TLS libraries.

use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::kernel::tls;

/// A TLS function is entered; its cookie says which.
#[uprobe(multi)]
pub fn tls_enter(context: ProbeContext) -> u32 {
    let _ = tls::entered(&context);
    0
}

/// A TLS function returns; its cookie says which.
#[uretprobe(multi)]
pub fn tls_return(context: RetProbeContext) -> u32 {
    let _ = tls::returned(&context);
    0
}
