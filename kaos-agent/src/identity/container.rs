//! Container and pod of a process, from the path of its cgroup.

/// Length of a container id: 256 bits in hex, in every runtime known here.
const ID_LENGTH: usize = 64;

/// Length of a pod's UID: an UUID with its dashes.
const UID_LENGTH: usize = 36;

/// Id of the container that a cgroup belongs to, or `None` outside containers.
///
/// Knows what Docker, containerd, CRI-O and Podman make, with the `cgroupfs` driver
/// (`/docker/ID`, `/kubepods/burstable/podUID/ID`) and the `systemd` driver
/// (`…/docker-ID.scope`, `…/cri-containerd-ID.scope`, `…/crio-ID.scope`, `…/libpod-ID.scope`,
/// `…:cri-containerd:ID`), and cgroups below those. In nested containers it is the innermost.
#[must_use]
pub fn container_id(cgroup: &str) -> Option<&str> {
    cgroup.rsplit('/').find_map(id_in_segment)
}

fn id_in_segment(segment: &str) -> Option<&str> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let (runtime, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let is_id = id.len() == ID_LENGTH
        && id
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // A monitor process of CRI-O or Podman is no part of the container that it watches.
    (is_id && !runtime.ends_with("conmon")).then_some(id)
}

/// UID of the pod that a cgroup belongs to, in lower case with dashes; `None` outside pods.
///
/// The kubelet names a pod's cgroup `podUID` with the `cgroupfs` driver, and
/// `kubepods-besteffort-podUID.slice` or the like, with underscores for dashes, with the `systemd`
/// driver. In nested nodes (kind) it is the innermost.
#[must_use]
pub fn pod_uid(cgroup: &str) -> Option<String> {
    cgroup.rsplit('/').find_map(pod_uid_in_name)
}

/// UID of the pod whose cgroup has this name.
#[must_use]
pub fn pod_uid_in_name(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let (before, uid) = name.rsplit_once("pod")?;
    if !(before.is_empty() || before.ends_with('-')) {
        return None;
    }
    let uid = uid.replace('_', "-");
    let is_uid = uid.len() == UID_LENGTH
        && uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
    is_uid.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_pod() {
        const UID: &str = "1a2b3c4d-0000-4444-8888-0123456789ab";
        let systemd = UID.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/{ID}"),
            format!("/kubepods/besteffort/pod{UID}"),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{systemd}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{systemd}.slice/crio-{ID}.scope/container"),
            format!(
                "/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{systemd}.slice/cri-containerd-{ID}.scope"
            ),
        ] {
            assert_eq!(pod_uid(&path).as_deref(), Some(UID), "{path}");
        }
        for path in [
            "",
            "/kubepods",
            "/kubepods/burstable",
            &format!("/docker/{ID}"),
            &format!("/x/tripod{UID}"),
            &format!("/kubepods/pod{}", &UID[1..]),
            &format!("/kubepods/pod{}", UID.to_uppercase()),
        ] {
            assert_eq!(pod_uid(path), None, "{path}");
        }
    }

    const ID: &str = "3f5e0a9c7b1d2e4f60718293a4b5c6d7e8f90123456789abcdef0123456789ab";
    const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";

    #[test]
    fn finds_the_container() {
        for path in [
            format!("/docker/{ID}"),
            format!("/docker/{ID}/init.scope"),
            format!("/docker/{OTHER}/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods/burstable/pod1a2b-3c4d/{ID}"),
            format!("/kubepods.slice/kubepods-pod1a_2b.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods.slice/kubepods-pod1a_2b.slice/crio-{ID}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/default/{ID}"),
        ] {
            assert_eq!(container_id(&path), Some(ID), "{path}");
        }
    }

    #[test]
    fn finds_none_elsewhere() {
        for path in [
            "",
            "/",
            "/user.slice/user-0.slice/session-3.scope",
            "/system.slice/ssh.service",
            &format!("/machine.slice/libpod-conmon-{ID}.scope"),
            &format!("/x/{}", &ID[1..]),
            &format!("/x/{}", ID.to_uppercase()),
        ] {
            assert_eq!(container_id(path), None, "{path}");
        }
    }
}
