//! What the kernel has of a process's BPF objects.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// include/uapi/linux/bpf.h
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
/// include/uapi/linux/bpf.h
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
/// include/uapi/linux/bpf.h
const BPF_MAP_GET_FD_BY_ID: libc::c_int = 14;
/// include/uapi/linux/bpf.h
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// include/uapi/linux/bpf.h
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program that is attached to something.
    Link,
    /// A program.
    Program,
    /// A map.
    Map,
}

impl Kind {
    /// The field of `fdinfo` that says its id.
    fn field(self) -> &'static str {
        match self {
            Self::Link => "link_id",
            Self::Program => "prog_id",
            Self::Map => "map_id",
        }
    }

    fn command(self) -> libc::c_int {
        match self {
            Self::Link => BPF_LINK_GET_FD_BY_ID,
            Self::Program => BPF_PROG_GET_FD_BY_ID,
            Self::Map => BPF_MAP_GET_FD_BY_ID,
        }
    }
}

/// Ids of the objects that a process holds, with the type where that has a name.
///
/// # Panics
/// It does not run.
#[must_use]
pub fn held(pid: u32, kind: Kind) -> BTreeMap<u32, String> {
    let directory = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it runs");
    let texts = directory.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let held = texts.filter_map(|text| {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        let id = value(kind.field())?.parse().ok()?;
        Some((id, value("link_type").unwrap_or_default()))
    });
    held.collect()
}

/// How many links of a process lead to functions of other processes.
#[must_use]
pub fn uprobes(pid: u32) -> usize {
    let is_uprobe = |kind: &&String| matches!(kind.as_str(), "uprobe_multi" | "uretprobe_multi");
    held(pid, Kind::Link).values().filter(is_uprobe).count()
}

/// Whether the kernel still has an object with this id.
#[must_use]
pub fn exists(kind: Kind, id: u32) -> bool {
    open(kind, id).is_some()
}

/// How many entries each map of a process has whose keys can be walked, by name; those that throw out what
/// is old left out.
#[must_use]
pub fn entries(pid: u32) -> BTreeMap<String, usize> {
    /// include/uapi/linux/bpf.h
    const BPF_MAP_TYPE_HASH: u32 = 1;
    let maps = held(pid, Kind::Map).into_keys();
    let maps = maps.filter_map(|id| open(Kind::Map, id));
    maps.filter_map(|map| {
        let (kind, key_size, name) = info(&map);
        (kind == BPF_MAP_TYPE_HASH).then(|| (name, count(&map, key_size)))
    })
    .collect()
}

fn open(kind: Kind, id: u32) -> Option<OwnedFd> {
    let mut attributes = [u64::from(id), 0];
    match bpf(kind.command(), &mut attributes) {
        // SAFETY: it was made just now, and nobody else knows it.
        Ok(descriptor) => Some(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
            None
        }
    }
}

/// Type, bytes of a key, and name: the beginning of `struct bpf_map_info`.
fn info(map: &OwnedFd) -> (u32, usize, String) {
    let mut info = [0_u32; 10];
    let length = size_of_val(&info) as u64;
    let descriptor = map.as_raw_fd() as u64;
    let mut attributes = [descriptor | length << 32, info.as_mut_ptr() as u64];
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes).expect("a map tells of itself");
    let name = info[6..].iter().flat_map(|word| word.to_ne_bytes());
    let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    (info[0], info[2] as usize, name)
}

fn count(map: &OwnedFd, key_size: usize) -> usize {
    let (mut key, mut next) = (vec![0_u8; key_size], vec![0_u8; key_size]);
    let mut count = 0;
    loop {
        let from = if count == 0 { 0 } else { key.as_ptr() as u64 };
        let mut attributes = [map.as_raw_fd() as u64, from, next.as_mut_ptr() as u64, 0];
        if bpf(BPF_MAP_GET_NEXT_KEY, &mut attributes).is_err() {
            return count;
        }
        key.copy_from_slice(&next);
        count += 1;
    }
}

/// The system call. The attributes are as much of `union bpf_attr` as the command looks at.
fn bpf(command: libc::c_int, attributes: &mut [u64]) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes as many bytes as it is told, and what they point to is valid for
    // the command.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of_val(attributes),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}
