//! Which pods are captured: their UIDs stand in the paths of their cgroups.
//!
//! The kernel selects what is made below a selected cgroup by itself, so it is enough to select a
//! pod's own cgroup before the first of its containers is made. The kubelet makes it some hundred
//! milliseconds earlier; the kernel tells at once of every new cgroup, and news of pods may come
//! before or after that.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};

use rustc_hash::FxHashMap;

use super::clock::monotonic;
use super::event::{Event, Pid, PodEvent, PodInfo};
use super::kernel::Kernel;
use super::processes;
use super::records::CgroupNews;
use super::ring::Bell;
use crate::identity::container::{container_id, pod_uid, pod_uid_in_name};

/// Directories that one search looks at: a node with 500 pods has some ten thousand.
const MOST_DIRECTORIES: usize = 100_000;

/// News of a pod, from whoever watches the API server.
#[derive(Debug)]
pub struct PodNews {
    /// Its UID.
    pub uid: String,
    /// What it is; `None` where it is to be captured no more.
    pub pod: Option<Box<PodInfo>>,
}

/// Where news of pods are put in.
#[derive(Debug)]
pub struct PodSender {
    news: Sender<PodNews>,
    bell: Bell,
}

impl PodSender {
    /// Hands news on; false where nobody listens any more.
    pub fn send(&self, news: PodNews) -> bool {
        let is_heard = self.news.send(news).is_ok();
        self.bell.ring();
        is_heard
    }
}

/// Both ends of the way that news of pods take. `bell` wakes the reader. Unbounded: the watcher
/// tells each pod of this node once per change, and the reader empties it ten times a second.
#[must_use]
pub fn channel(bell: Bell) -> (PodSender, Receiver<PodNews>) {
    let (sender, receiver) = mpsc::channel();
    (PodSender { news: sender, bell }, receiver)
}

/// The pods that are captured.
#[derive(Debug)]
pub struct Pods {
    news: Receiver<PodNews>,
    /// Root of the v2 hierarchy.
    hierarchy: PathBuf,
    /// Capture containers that prepare a pod, too.
    init_containers: bool,
    wanted: FxHashMap<String, Box<PodInfo>>,
    /// Cgroups that could not be selected because the kernel's table is full.
    refused: u64,
}

impl Pods {
    /// Captures what `news` tells of.
    #[must_use]
    pub fn new(news: Receiver<PodNews>, hierarchy: PathBuf, init_containers: bool) -> Self {
        Self {
            news,
            hierarchy,
            init_containers,
            wanted: FxHashMap::default(),
            refused: 0,
        }
    }

    /// Cgroups of pods that are not captured because the kernel's table is full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes the news that came in. Returns processes that ran already and are captured from now
    /// on.
    pub fn take_news(&mut self, kernel: &mut Kernel, events: &mut Vec<Event>) -> Vec<Pid> {
        let mut running = Vec::new();
        while let Ok(PodNews { uid, pod }) = self.news.try_recv() {
            events.push(Event::Pod(PodEvent {
                at: monotonic(),
                uid: uid.clone(),
                pod: pod.clone(),
            }));
            match pod {
                Some(pod) => {
                    let is_new = self.wanted.insert(uid.clone(), pod).is_none();
                    if is_new {
                        running.extend(self.select(&uid, None, kernel));
                    } else {
                        self.drop_init_containers(&uid, kernel);
                    }
                }
                None => {
                    if self.wanted.remove(&uid).is_some() {
                        deselect(&self.directories_of(&uid), kernel);
                    }
                }
            }
        }
        running
    }

    /// A cgroup was made. Returns processes that run in it already.
    pub fn cgroup_made(&mut self, made: &CgroupNews, kernel: &mut Kernel) -> Vec<Pid> {
        match pod_uid_in_name(&made.name) {
            Some(uid) if self.wanted.contains_key(&uid) => self.select(&uid, Some(made.id), kernel),
            _ => Vec::new(),
        }
    }

    /// A process in this cgroup belongs to a container that is not wanted.
    #[must_use]
    pub fn excludes(&self, cgroup: &str) -> bool {
        if self.init_containers {
            return false;
        }
        let pod = pod_uid(cgroup).and_then(|uid| self.wanted.get(&uid));
        let (Some(pod), Some(id)) = (pod, container_id(cgroup)) else {
            return false;
        };
        pod.containers
            .iter()
            .any(|container| container.is_init && container.id.as_deref() == Some(id))
    }

    /// Selects the pod's cgroup, then all below it, then all processes in them: what is made
    /// meanwhile is selected by the kernel.
    fn select(&mut self, uid: &str, known: Option<u64>, kernel: &mut Kernel) -> Vec<Pid> {
        let mut running = Vec::new();
        if let Some(id) = known {
            self.refused += u64::from(kernel.select_cgroup(id).is_err());
        }
        let mut directories = self.directories_of(uid);
        directories.retain(|directory| !self.excludes(&directory.to_string_lossy()));
        for id in directories.iter().filter_map(|directory| id_of(directory)) {
            self.refused += u64::from(kernel.select_cgroup(id).is_err());
        }
        for pid in directories.iter().flat_map(|path| members(path)) {
            if kernel.select(pid).is_ok() {
                running.push(pid);
            }
        }
        running
    }

    /// Which container prepares the pod may become known only after it began.
    fn drop_init_containers(&self, uid: &str, kernel: &mut Kernel) {
        let has_init = |pod: &PodInfo| pod.containers.iter().any(|container| container.is_init);
        if !self.wanted.get(uid).is_some_and(|pod| has_init(pod)) {
            return;
        }
        let mut directories = self.directories_of(uid);
        directories.retain(|directory| self.excludes(&directory.to_string_lossy()));
        deselect(&directories, kernel);
    }

    /// The pod's cgroup and all below it; none where it is not made yet.
    fn directories_of(&self, uid: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = VecDeque::from([(self.hierarchy.clone(), false)]);
        let mut seen = 0;
        while let Some((directory, is_of_pod)) = open.pop_front() {
            seen += 1;
            if seen > MOST_DIRECTORIES {
                break;
            }
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            let named = pod_uid_in_name(&name);
            // Another pod's: there is nothing below it for us.
            if !is_of_pod && named.as_ref().is_some_and(|named| named != uid) {
                continue;
            }
            let is_of_pod = is_of_pod || named.is_some();
            let below = fs::read_dir(&directory).into_iter().flatten().flatten();
            open.extend(
                below
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| (entry.path(), is_of_pod)),
            );
            if is_of_pod {
                found.push(directory);
            }
        }
        found
    }
}

fn deselect(directories: &[PathBuf], kernel: &mut Kernel) {
    for id in directories.iter().filter_map(|directory| id_of(directory)) {
        kernel.forget_cgroup(id);
    }
    for pid in directories.iter().flat_map(|path| members(path)) {
        kernel.reject(pid);
    }
}

fn id_of(directory: &Path) -> Option<u64> {
    Some(fs::metadata(directory).ok()?.ino())
}

/// Processes in a cgroup that the agent can see.
fn members(directory: &Path) -> Vec<Pid> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for processes of another pid namespace.
    list.lines()
        .filter_map(|line| line.parse::<Pid>().ok())
        .filter(|pid| *pid != 0 && processes::executable(*pid).is_some())
        .collect()
}

/// Where the v2 hierarchy is mounted: the only mount, or the one below a hybrid layout.
#[must_use]
pub fn unified_hierarchy() -> Option<PathBuf> {
    let mounts = procfs::process::Process::myself().ok()?.mountinfo().ok()?;
    let mut mounts: Vec<PathBuf> = mounts
        .into_iter()
        .filter(|mount| mount.fs_type == "cgroup2")
        .map(|mount| mount.mount_point)
        .collect();
    // The node's own, where another is mounted further down.
    mounts.sort_by_key(|path| path.as_os_str().len());
    mounts.into_iter().next()
}
