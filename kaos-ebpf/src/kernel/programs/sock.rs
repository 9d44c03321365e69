//! Socket operations, whichever syscall they come from.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::payload::operation;
use crate::kernel::processes::pointer;

/// `sock_send_length(sk, ret, flags)`
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(context: BtfTracePointContext) -> i32 {
    let _ = operation(pointer(&context, 0), context.arg(1), context.arg(2), true);
    0
}

/// `sock_recv_length(sk, ret, flags)`
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(context: BtfTracePointContext) -> i32 {
    let _ = operation(pointer(&context, 0), context.arg(1), context.arg(2), false);
    0
}
