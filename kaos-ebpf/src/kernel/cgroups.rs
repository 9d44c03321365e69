//! Selection by cgroup. Ids are those of the v2 hierarchy; other hierarchies have their own.

use kaos_ebpf::counter::Counter;

use super::count::count;
use super::maps::CGROUPS;
use super::read::kernel;
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

/// A new cgroup below a selected one is selected.
#[inline(always)]
pub fn made(cgroup: u64) -> Option<()> {
    // `self` is the first member of a cgroup, so its state's address is the cgroup's own.
    let parent: u64 = kernel(cgroup, setting!(offsets.cgroup_parent))?;
    if parent != 0
        && is_selected(unified_id(parent)?)
        && CGROUPS.insert(&unified_id(cgroup)?, &1, 0).is_err()
    {
        count(Counter::CgroupMapFull, 1);
    }
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
