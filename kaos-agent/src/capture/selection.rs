//! Which processes and cgroups match the selectors now. What comes later is the kernel's part.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use procfs::net::TcpState;
use rustc_hash::{FxHashMap, FxHashSet};

use super::event::Pid;
use super::processes;
use crate::settings::Selectors;

/// Parents of a process that are looked at. Real trees are a tenth as deep.
const MAX_ANCESTORS: usize = 256;

/// Ids of the selected cgroups and all below them: the inode numbers of their directories.
#[must_use]
pub fn cgroup_ids(selectors: &Selectors) -> Vec<u64> {
    cgroup_directories(selectors)
        .iter()
        .filter_map(|directory| Some(fs::metadata(directory).ok()?.ino()))
        .collect()
}

/// Whether an executable's path matches.
#[must_use]
pub fn matches_executable(globs: &[GlobMatcher], path: &str) -> bool {
    globs.iter().any(|glob| glob.is_match(path))
}

/// Why a process is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The selector that matches, as it is written on the command line.
    pub selector: String,
    /// The process that it matches: the one asked about, or the nearest of its ancestors.
    pub matches: Pid,
}

/// The rule by which a process is selected now; that of the nearest ancestor where none matches
/// itself.
#[must_use]
pub fn rule_of(selectors: &Selectors, pid: Pid) -> Option<Rule> {
    // A chain of parents has no end where a number was given to a new process while it was walked.
    std::iter::successors(Some(pid), |child| processes::parent(*child))
        .take(MAX_ANCESTORS)
        .find_map(|matches| {
            let selector = selector_of(selectors, matches)?;
            Some(Rule { selector, matches })
        })
}

/// The selector that matches this very process.
fn selector_of(selectors: &Selectors, pid: Pid) -> Option<String> {
    if selectors.pids.contains(&pid) {
        return Some(format!("--pid {pid}"));
    }
    let path = processes::executable(pid).unwrap_or_default();
    if let Some(glob) = selectors
        .executables
        .iter()
        .find(|glob| glob.is_match(&path))
    {
        // Where a pattern had no `/`, one was put before it.
        let pattern = glob.glob().glob();
        let pattern = pattern.strip_prefix("**/").unwrap_or(pattern);
        return Some(format!("--exe {pattern}"));
    }
    let listens = |port: &&u16| listeners(&[**port]).contains(&pid);
    if let Some(port) = selectors.ports.iter().find(listens) {
        return Some(format!("--port {port}"));
    }
    let is_below = |top: &&PathBuf| {
        let mut directories = below(top).into_iter();
        directories.any(|directory| members(&directory).contains(&pid))
    };
    let top = selectors.cgroups.iter().find(is_below)?;
    Some(format!("--cgroup {}", top.display()))
}

/// Processes that run now and match, with all their descendants.
#[must_use]
pub fn matching_processes(selectors: &Selectors) -> BTreeSet<Pid> {
    let mut chosen: BTreeSet<Pid> = selectors.pids.iter().copied().collect();
    if !selectors.executables.is_empty() {
        chosen.extend(processes::all().filter(|pid| {
            processes::executable(*pid)
                .is_some_and(|path| matches_executable(&selectors.executables, &path))
        }));
    }
    if !selectors.ports.is_empty() {
        chosen.extend(listeners(&selectors.ports));
    }
    for directory in cgroup_directories(selectors) {
        chosen.extend(members(&directory));
    }
    with_descendants(chosen)
}

/// Processes in a cgroup itself.
fn members(cgroup: &Path) -> Vec<Pid> {
    let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    members
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

fn cgroup_directories(selectors: &Selectors) -> Vec<PathBuf> {
    selectors
        .cgroups
        .iter()
        .flat_map(|top| below(top))
        .collect()
}

/// A directory and all below it.
fn below(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(directory) = open.pop() {
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        open.extend(
            below
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        found.push(directory);
    }
    found
}

/// Processes that hold a listening socket on one of the ports, in whichever network namespace.
fn listeners(ports: &[u16]) -> Vec<Pid> {
    let mut inodes_of_namespace: FxHashMap<u64, FxHashSet<u64>> = FxHashMap::default();
    processes::all()
        .filter(|pid| {
            // One that ended meanwhile, or may not be read, holds nothing.
            let Some(process) = i32::try_from(*pid)
                .ok()
                .and_then(|pid| procfs::process::Process::new(pid).ok())
            else {
                return false;
            };
            let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/net")) else {
                return false;
            };
            let inodes = inodes_of_namespace
                .entry(namespace.ino())
                .or_insert_with(|| listening_inodes(&process, ports));
            !inodes.is_empty() && holds_socket(&process, inodes)
        })
        .collect()
}

fn listening_inodes(process: &procfs::process::Process, ports: &[u16]) -> FxHashSet<u64> {
    [process.tcp(), process.tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry.state == TcpState::Listen && ports.contains(&entry.local_address.port())
        })
        .map(|entry| entry.inode)
        .collect()
}

fn holds_socket(process: &procfs::process::Process, inodes: &FxHashSet<u64>) -> bool {
    process.fd().into_iter().flatten().flatten().any(|open| {
        matches!(open.target, procfs::process::FDTarget::Socket(inode) if inodes.contains(&inode))
    })
}

fn with_descendants(mut chosen: BTreeSet<Pid>) -> BTreeSet<Pid> {
    let mut children: FxHashMap<Pid, Vec<Pid>> = FxHashMap::default();
    for pid in processes::all() {
        if let Some(parent) = processes::parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut open: Vec<Pid> = chosen.iter().copied().collect();
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if chosen.insert(*child) {
                open.push(*child);
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_their_descendants_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let selectors = Selectors {
            ports: vec![port],
            ..Selectors::default()
        };
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is there");
        let found = matching_processes(&selectors);
        let (this, sleeping) = (std::process::id(), child.id());
        let rule = rule_of(&selectors, sleeping);
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(
            found.contains(&this) && found.contains(&sleeping),
            "{found:?}"
        );
        assert!(!found.contains(&1));
        let rule = rule.expect("the child is selected with its parent");
        assert_eq!(rule.selector, format!("--port {port}"));
        assert_eq!(rule.matches, this);
        assert_eq!(rule_of(&selectors, 1), None);
    }
}
