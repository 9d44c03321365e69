//! The life of cgroups.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::kernel::cgroups;
use crate::kernel::processes::{pid_of, pointer, select_by_deed};

/// `cgroup_mkdir(cgrp, path)`
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(context: BtfTracePointContext) -> i32 {
    let _ = cgroups::made(pointer(&context, 0));
    0
}

/// `cgroup_rmdir(cgrp, path)`
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_rmdir(context: BtfTracePointContext) -> i32 {
    let _ = cgroups::removed(pointer(&context, 0));
    0
}

/// `cgroup_attach_task(dst_cgrp, path, task, threadgroup)`
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn cgroup_attach_task(context: BtfTracePointContext) -> i32 {
    let _ = try_attach(pointer(&context, 0), pointer(&context, 2));
    0
}

#[inline(always)]
fn try_attach(cgroup: u64, task: u64) -> Option<()> {
    if cgroups::is_selected(cgroups::unified_id(cgroup)?) {
        select_by_deed(pid_of(task)?);
    }
    Some(())
}
