//! What is read around a process in a pod, from the process itself: it is known with the process,
//! long before the API server tells it.

use std::path::Path;

use super::event::Surroundings;
use super::processes::read;
use crate::identity::container::pod_uid;

/// What is around the process of this `/proc` directory, which is in this cgroup. Nothing outside of
/// pods.
pub(super) fn of(directory: &Path, cgroup: &str) -> Surroundings {
    let Some(pod) = pod_uid(cgroup) else {
        return Surroundings::default();
    };
    Surroundings {
        container: container_name(&read(&directory.join("mountinfo")), &pod),
    }
}

/// Name of the container among whose mounts these are, in `mountinfo`'s format (proc(5)).
///
/// The kubelet binds into each container the file for its termination message, which lies in
/// `pods/UID/containers/NAME/`; what is before that, and where it is mounted, differs.
fn container_name(mounts: &str, pod: &str) -> Option<String> {
    let start = format!("/pods/{pod}/");
    let named = mounts.lines().find_map(|mount| {
        let root = mount.split(' ').nth(3)?;
        // The first is the kubelet's own; below it volumes may have any names.
        let (_, path) = root.split_once(&start)?;
        let (name, file) = path.strip_prefix("containers/")?.split_once('/')?;
        (!name.is_empty() && !file.is_empty()).then_some(name)
    });
    named.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "1a2b3c4d-0000-4444-8888-0123456789ab";

    fn name(mount: &str) -> Option<String> {
        let mounts = format!(
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
             {}\n\
             23 27 0:22 / /sys ro,relatime - sysfs sysfs ro\n",
            mount.replace("POD", POD)
        );
        container_name(&mounts, POD)
    }

    #[test]
    fn the_kubelet_names_the_container() {
        for mount in [
            // containerd and CRI-O, on the root file system.
            "812 790 259:1 /var/lib/kubelet/pods/POD/containers/agent/5f3c2a1b /dev/termination-log \
             rw,relatime - ext4 /dev/nvme0n1p1 rw,discard",
            // The kubelet's directory is a file system of its own.
            "2417 2401 8:17 /pods/POD/containers/agent/0e6b1a42 /dev/termination-log rw,noatime - xfs \
             /dev/sdb1 rw,attr2,inode64,noquota",
            // Docker by way of cri-dockerd, on Btrfs.
            "1033 1011 0:35 /@/var/lib/kubelet/pods/POD/containers/agent/9d2f7c10 /dev/termination-log \
             rw,relatime - btrfs /dev/sda2 rw,space_cache=v2,subvolid=256,subvol=/@",
            // kind: the node's /var is a volume of Docker's.
            "1950 1921 254:1 /docker/volumes/0b7f/_data/lib/kubelet/pods/POD/containers/agent/c4e1 \
             /dev/termination-log rw,relatime - ext4 /dev/vda1 rw",
            // The pod says where its message is.
            "812 790 259:1 /var/lib/kubelet/pods/POD/containers/agent/5f3c2a1b /tmp/last\\040words \
             rw,relatime master:1 - ext4 /dev/nvme0n1p1 rw",
        ] {
            assert_eq!(name(mount).as_deref(), Some("agent"), "{mount}");
        }
    }

    #[test]
    fn other_mounts_name_none() {
        for mount in [
            "801 790 259:1 /var/lib/kubelet/pods/POD/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw",
            // A volume with names of the pod's own making.
            "802 790 259:1 /var/lib/kubelet/pods/POD/volumes/kubernetes.io~empty-dir/v/pods/POD/\
             containers/other/x /data rw - ext4 /dev/sda1 rw",
            "803 790 259:1 /var/lib/kubelet/pods/POD/volume-subpaths/v/agent/0 /v rw - ext4 /dev/sda1 rw",
            // Another pod's.
            "804 790 259:1 /var/lib/kubelet/pods/1a2b3c4d-0000-4444-8888-000000000000/containers/other/x \
             /x rw - ext4 /dev/sda1 rw",
            // Cut off, or empty.
            "805 790 259:1 /var/lib/kubelet/pods/POD/containers/age",
            "806 790 259:1 /var/lib/kubelet/pods/POD/containers//x /x rw - ext4 /dev/sda1 rw",
            "",
            "807 790",
        ] {
            assert_eq!(name(mount), None, "{mount}");
        }
    }

    #[test]
    fn outside_of_pods_nothing_is_read() {
        let around = of(Path::new("/proc/self"), "/user.slice");
        assert_eq!(around, Surroundings::default());
    }
}
