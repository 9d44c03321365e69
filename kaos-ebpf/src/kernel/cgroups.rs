//! Selection by cgroup. Ids are those of the v2 hierarchy; other hierarchies have their own.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use kaos_ebpf::counter::Counter;
use kaos_ebpf::record::{CGROUP_NAME_BYTES, CgroupRecord, Kind};
use kaos_ebpf::settings::{CGROUPS_MATCH, CGROUPS_TELL};

use super::count::count;
use super::maps::CGROUPS;
use super::processes::{current, header};
use super::read::kernel;
use super::ring::emit_urgent;
use super::settings::setting;

/// Id of a cgroup, if it is one of the v2 hierarchy.
#[inline(always)]
pub fn unified_id(cgroup: u64) -> Option<u64> {
    let root: u64 = kernel(cgroup, setting!(offsets.cgroup_root))?;
    let hierarchy: u32 = kernel(root, setting!(offsets.root_hierarchy))?;
    if hierarchy != 0 {
        return None;
    }
    let node: u64 = kernel(cgroup, setting!(offsets.cgroup_node))?;
    kernel(node, setting!(offsets.node_id))
}

/// Whether a task is in a selected cgroup.
#[inline(always)]
pub fn holds(task: u64) -> bool {
    let id = (|| {
        let set: u64 = kernel(task, setting!(offsets.task_cgroups))?;
        unified_id(kernel(set, setting!(offsets.css_set_default))?)
    })();
    match id {
        Some(id) => is_selected(id),
        None => false,
    }
}

/// Whether a cgroup is selected.
#[inline(always)]
pub fn is_selected(id: u64) -> bool {
    // SAFETY: only the presence of the entry is looked at.
    unsafe { CGROUPS.get(&id) }.is_some()
}

/// A new cgroup: below a selected one it is selected, and user space may select it by its name.
#[inline(always)]
pub fn made(cgroup: u64) -> Option<()> {
    let wanted = setting!(match_cgroups);
    if wanted == 0 {
        return None;
    }
    let id = unified_id(cgroup)?;
    // `self` is the first member of a cgroup, so its state's address is the cgroup's own.
    let parent: u64 = kernel(cgroup, setting!(offsets.cgroup_parent))?;
    if wanted & CGROUPS_MATCH != 0
        && parent != 0
        && is_selected(unified_id(parent)?)
        && CGROUPS.insert(&id, &1, 0).is_err()
    {
        count(Counter::CgroupMapFull, 1);
    }
    if wanted & CGROUPS_TELL != 0 {
        tell(cgroup, id)?;
    }
    Some(())
}

/// Tells user space at once: the first process of a pod may follow within milliseconds.
#[inline(always)]
fn tell(cgroup: u64, id: u64) -> Option<()> {
    let node: u64 = kernel(cgroup, setting!(offsets.cgroup_node))?;
    let name: u64 = kernel(node, setting!(offsets.node_name))?;
    let mut record = CgroupRecord {
        header: header(Kind::Cgroup, 0, current().pid),
        id,
        name: [0; CGROUP_NAME_BYTES],
    };
    // SAFETY: the helper checks the address, and ends what it writes with a zero.
    unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, &mut record.name) }.ok()?;
    emit_urgent(&record);
    Some(())
}

/// A cgroup is gone.
#[inline(always)]
pub fn removed(cgroup: u64) -> Option<()> {
    let id = unified_id(cgroup)?;
    if is_selected(id) {
        // It was there a moment ago; that it is gone already is as good.
        let _ = CGROUPS.remove(&id);
    }
    Some(())
}
