//! Container of a process, from the path of its cgroup.

/// Length of a container id: 256 bits in hex, in every runtime known here.
const ID_LENGTH: usize = 64;

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

#[cfg(test)]
mod tests {
    use super::*;

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
