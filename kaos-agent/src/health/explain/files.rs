//! Files that are mapped into a process, and those that it has open.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use procfs::ProcError;
use procfs::process::{FDTarget, MMapPath};

use crate::capture::event::Pid;

/// Paths, as the process sees them.
#[derive(Debug, Clone, Default)]
pub struct MappedFiles {
    /// The process's root directory, as we see it.
    root: PathBuf,
    mapped: BTreeSet<String>,
    open: BTreeSet<String>,
}

impl MappedFiles {
    /// Those of a process, now.
    ///
    /// # Errors
    /// It is gone, or may not be read.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let id = i32::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
        let process = procfs::process::Process::new(id).map_err(io_error)?;
        let mapped = process
            .maps()
            .map_err(io_error)?
            .into_iter()
            .filter_map(|map| match map.pathname {
                MMapPath::Path(path) => Some(text(&path)),
                _ => None,
            });
        let open = process.fd().map_err(io_error)?;
        let open = open
            .flatten()
            .filter_map(|descriptor| match descriptor.target {
                FDTarget::Path(path) => Some(text(&path)),
                _ => None,
            });
        Ok(Self {
            root: PathBuf::from(format!("/proc/{pid}/root")),
            mapped: mapped.collect(),
            open: open.collect(),
        })
    }

    /// Paths of mapped files whose name is accepted.
    pub fn mapped<'a>(
        &'a self,
        accepts: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = &'a str> {
        self.mapped
            .iter()
            .map(String::as_str)
            .filter(move |path| accepts(file_name(path)))
    }

    /// Paths of all mapped and open files.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.mapped.union(&self.open).map(String::as_str)
    }

    /// Whether the process has this directory.
    pub fn has_directory(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).is_dir()
    }

    /// Names in a directory of the process's.
    pub fn names_in(&self, path: &str) -> Vec<String> {
        fs::read_dir(self.root.join(path.trim_start_matches('/')))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    #[cfg(test)]
    pub fn for_test(mapped: &[&str]) -> Self {
        Self {
            root: PathBuf::from("/"),
            mapped: mapped.iter().map(|path| (*path).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// Last component of a path.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn text(path: &Path) -> String {
    let path = path.to_string_lossy();
    path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
}

fn io_error(error: ProcError) -> io::Error {
    match error {
        ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        ProcError::Io(error, _) => error,
        other => io::Error::other(other),
    }
}
