//! Which file a mapping shows, whichever mount namespace and path it was mapped through.

use std::fs::{self, File};
use std::io;
use std::io::{BufReader, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use procfs::FromBufRead as _;
use procfs::process::{MMPermissions, MMapPath, MemoryMaps};

use super::mappings::Mapping;
use crate::capture::event::Pid;

/// Bytes read of a process's list of mappings. A mapping takes some hundred; a Python program with
/// everything loaded has a thousand.
const MOST_MAPS_BYTES: u64 = 1024 * 1024;

/// linux/magic.h.
const OVERLAYFS_SUPER_MAGIC: libc::c_long = 0x794c_7630;

/// A file's content, by what cannot stay the same when it changes.
///
/// Two containers of one image map the same file through overlay file systems of their own. Their
/// inode numbers are those of the layer below, but their device numbers differ; so there the device
/// does not count, and the file is probed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// A file that is mapped into a process, opened.
pub struct MappedFile {
    /// The file.
    pub file: File,
    /// What tells it from others.
    pub id: FileId,
}

/// Opens the file behind a mapping.
///
/// # Errors
/// The process is gone, nothing is mapped there any more and the file is not at its path either, or
/// it lies in a file system of user space, which could make us wait for ever.
pub fn open(mapping: &Mapping) -> io::Result<MappedFile> {
    if is_in_user_space(mapping) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let Mapping {
        pid, start, end, ..
    } = mapping;
    // The exact file, even where its path shows another one by now. It needs
    // CAP_CHECKPOINT_RESTORE, and the mapping as it was told.
    let file = File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    let file = file.or_else(|_| {
        let path = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
        File::open(Path::new(&format!("/proc/{pid}/root")).join(path))
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let device = if is_overlay(&file) { 0 } else { metadata.dev() };
    let id = FileId {
        device,
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    };
    Ok(MappedFile { file, id })
}

/// What a process has mapped so that it can be executed. Empty where it is gone.
#[must_use]
pub fn executable_mappings(pid: Pid) -> Vec<Mapping> {
    let Ok(file) = File::open(format!("/proc/{pid}/maps")) else {
        return Vec::new();
    };
    let maps = MemoryMaps::from_buf_read(BufReader::new(file.take(MOST_MAPS_BYTES)));
    let maps = maps.map(|maps| maps.0).unwrap_or_default();
    maps.into_iter()
        .filter(|map| map.perms.contains(MMPermissions::EXECUTE))
        .filter_map(|map| {
            let MMapPath::Path(path) = map.pathname else {
                return None;
            };
            Some(Mapping {
                pid,
                start: map.address.0,
                end: map.address.1,
                device: (map.dev.0.try_into().ok()?, map.dev.1.try_into().ok()?),
                path,
            })
        })
        .collect()
}

/// Whether a process (FUSE) answers for the file. Only numbers that the kernel gives to file systems
/// without a device of their own can be one.
fn is_in_user_space(mapping: &Mapping) -> bool {
    let (major, minor) = mapping.device;
    if major != 0 {
        return false;
    }
    let device = format!("{major}:{minor}");
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", mapping.pid));
    mounts.unwrap_or_default().lines().any(|mount| {
        mount.split(' ').nth(2) == Some(&device)
            && mount
                .split_once(" - ")
                .is_some_and(|(_, rest)| rest.starts_with("fuse"))
    })
}

fn is_overlay(file: &File) -> bool {
    // SAFETY: a structure of integers, for which all bits zero is a value.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and there is room for the answer.
    let result = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut status) };
    result == 0 && status.f_type == OVERLAYFS_SUPER_MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_however_it_is_opened() {
        let mappings = executable_mappings(std::process::id());
        let own = std::env::current_exe().expect("it has a path");
        let mapping = mappings.iter().find(|mapping| mapping.path == own);
        let mapping = mapping.expect("it is mapped");
        let by_mapping = open(mapping).expect("it can be read").id;
        let elsewhere = Mapping {
            start: 0,
            ..mapping.clone()
        };
        assert_eq!(open(&elsewhere).expect("it is at its path").id, by_mapping);
    }

    #[test]
    fn what_is_gone_is_an_error() {
        assert!(executable_mappings(u32::MAX).is_empty());
        let mapping = Mapping {
            pid: u32::MAX,
            start: 0,
            end: 1,
            device: (0, 1),
            path: "/bin/sh".into(),
        };
        assert!(open(&mapping).is_err());
    }
}
