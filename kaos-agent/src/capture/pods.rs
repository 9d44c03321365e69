//! Which pods are captured: their UIDs stand in the paths of their cgroups.
//!
//! The kernel selects what is made below a selected cgroup by itself, so it is enough to select a
//! pod's own cgroup before the first of its containers is made. The kubelet makes it some hundred
//! milliseconds earlier; the kernel tells at once of every new cgroup, and news of pods may come
//! before or after that.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use procfs::process::MountInfos;
use rustc_hash::FxHashMap;

use super::clock::monotonic;
use super::event::{ContainerInfo, Event, Pid, PodEvent, PodInfo, ProcessInfo};
use super::kernel::Kernel;
use super::processes;
use super::records::CgroupNews;
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

/// The pods that are captured.
#[derive(Debug)]
pub struct Pods {
    news: Receiver<PodNews>,
    /// Root of the v2 hierarchy.
    hierarchy: PathBuf,
    /// Capture containers that prepare a pod, too.
    init_containers: bool,
    wanted: FxHashMap<String, Wanted>,
    /// Directories below which cgroups of pods were found: one for each class of service.
    parents: BTreeSet<PathBuf>,
    /// Cgroups that could not be selected because the kernel's table is full.
    refused: u64,
}

/// A pod that is captured.
#[derive(Debug)]
struct Wanted {
    pod: Box<PodInfo>,
    /// Its cgroup, once that was found.
    directory: Option<PathBuf>,
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
            parents: BTreeSet::new(),
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
                    if let Some(wanted) = self.wanted.get_mut(&uid) {
                        wanted.pod = pod;
                        self.drop_init_containers(&uid, kernel);
                    } else {
                        let directory = None;
                        self.wanted.insert(uid.clone(), Wanted { pod, directory });
                        running.extend(self.select(&uid, None, kernel));
                    }
                }
                None => {
                    if self.wanted.contains_key(&uid) {
                        deselect(&self.directories_of(&uid), kernel);
                        self.wanted.remove(&uid);
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

    /// A process belongs to a container that is not wanted: true where it is, and its container is
    /// selected no more.
    pub fn exclude(&mut self, info: &ProcessInfo, kernel: &mut Kernel) -> bool {
        if !self.excludes(&info.cgroup, info.surroundings.container.as_deref()) {
            return false;
        }
        // Else what it forks would be selected for the cgroup that it is in.
        if let Some(uid) = pod_uid(&info.cgroup) {
            let mut directories = self.directories_of(&uid);
            let id = container_id(&info.cgroup);
            directories.retain(|directory| {
                id.is_some() && container_id(&directory.to_string_lossy()) == id
            });
            deselect(&directories, kernel);
        }
        true
    }

    /// The container of this cgroup is not wanted. Its name is known with its first process, its id
    /// by what the API server tells some time after that.
    fn excludes(&self, cgroup: &str, name: Option<&str>) -> bool {
        if self.init_containers {
            return false;
        }
        let pod = pod_uid(cgroup).and_then(|uid| self.wanted.get(&uid));
        let containers = pod.map_or(&[][..], |wanted| &wanted.pod.containers);
        let id = container_id(cgroup);
        let is_it = |container: &ContainerInfo| match name {
            Some(name) => container.name == name,
            None => id.is_some() && container.id.as_deref() == id,
        };
        containers
            .iter()
            .any(|container| container.is_init && is_it(container))
    }

    /// Selects the pod's cgroup, then all below it, then all processes in them: what is made
    /// meanwhile is selected by the kernel.
    fn select(&mut self, uid: &str, known: Option<u64>, kernel: &mut Kernel) -> Vec<Pid> {
        let mut running = Vec::new();
        if let Some(id) = known {
            self.refused += u64::from(kernel.select_cgroup(id).is_err());
        }
        let mut directories = self.directories_of(uid);
        directories.retain(|directory| !self.excludes(&directory.to_string_lossy(), None));
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
    fn drop_init_containers(&mut self, uid: &str, kernel: &mut Kernel) {
        let has_init = |pod: &PodInfo| pod.containers.iter().any(|container| container.is_init);
        if !self
            .wanted
            .get(uid)
            .is_some_and(|wanted| has_init(&wanted.pod))
        {
            return;
        }
        let mut directories = self.directories_of(uid);
        directories.retain(|directory| self.excludes(&directory.to_string_lossy(), None));
        deselect(&directories, kernel);
    }

    /// The pod's cgroup and all below it; none where it is not made yet.
    fn directories_of(&mut self, uid: &str) -> Vec<PathBuf> {
        let known = self.wanted.get(uid).and_then(|it| it.directory.clone());
        let Some(top) = known.or_else(|| self.find(uid)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut open = vec![top];
        while let Some(directory) = open.pop()
            && found.len() < MOST_DIRECTORIES
        {
            open.extend(directories_in(&directory));
            found.push(directory);
        }
        found
    }

    /// Looks for the pod's cgroup: beside those of other pods, then everywhere.
    fn find(&mut self, uid: &str) -> Option<PathBuf> {
        let is_it = |directory: &PathBuf| pod_of(directory).as_deref() == Some(uid);
        let mut beside = self
            .parents
            .iter()
            .flat_map(|parent| directories_in(parent));
        let found = beside
            .find(is_it)
            .or_else(|| find_below(&self.hierarchy, &is_it))?;
        self.parents.extend(found.parent().map(Path::to_owned));
        if let Some(wanted) = self.wanted.get_mut(uid) {
            wanted.directory = Some(found.clone());
        }
        Some(found)
    }
}

/// The first directory, those further up first, that is the one looked for.
fn find_below(hierarchy: &Path, is_it: &impl Fn(&PathBuf) -> bool) -> Option<PathBuf> {
    let mut open = VecDeque::from([hierarchy.to_owned()]);
    for _ in 0..MOST_DIRECTORIES {
        let directory = open.pop_front()?;
        if is_it(&directory) {
            return Some(directory);
        }
        // Another pod's: there is nothing below it for us.
        if pod_of(&directory).is_none() {
            open.extend(directories_in(&directory));
        }
    }
    None
}

/// UID of the pod whose cgroup a directory is.
fn pod_of(directory: &Path) -> Option<String> {
    pod_uid_in_name(&directory.file_name()?.to_string_lossy())
}

fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
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
    unified_among(mounts)
}

fn unified_among(mounts: MountInfos) -> Option<PathBuf> {
    let mut mounts: Vec<PathBuf> = mounts
        .into_iter()
        .filter(|mount| mount.fs_type == "cgroup2")
        .map(|mount| mount.mount_point)
        .collect();
    // The node's own, where another is mounted further down.
    mounts.sort_by_key(|path| path.as_os_str().len());
    mounts.into_iter().next()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use procfs::FromBufRead as _;

    use super::*;

    const UID: &str = "01234567-89ab-cdef-0123-456789abcdef";
    const OTHER: &str = "fedcba98-7654-3210-fedc-ba9876543210";

    fn unified(mounts: &str) -> Option<String> {
        let mounts = MountInfos::from_buf_read(mounts.as_bytes()).expect("mounts");
        Some(unified_among(mounts)?.to_string_lossy().into_owned())
    }

    #[test]
    fn the_unified_hierarchy_is_the_nodes_own() {
        let pure = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(unified(pure).as_deref(), Some("/sys/fs/cgroup"));
        let hybrid = "30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - tmpfs tmpfs ro,mode=755\n\
            31 30 0:27 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,name=systemd\n\
            32 30 0:28 / /sys/fs/cgroup/unified rw shared:6 - cgroup2 cgroup2 rw\n\
            33 30 0:29 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n";
        assert_eq!(unified(hybrid).as_deref(), Some("/sys/fs/cgroup/unified"));
        // That of a container with a hierarchy of its own, which comes first.
        let nested = format!(
            "90 80 0:26 /x /run/containers/1/rootfs/sys/fs/cgroup rw - cgroup2 cgroup rw\n{pure}"
        );
        assert_eq!(unified(&nested).as_deref(), Some("/sys/fs/cgroup"));
        let only_v1 = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(unified(only_v1), None);
    }

    #[test]
    fn a_cgroup_is_found_wherever_it_is_and_remembered() {
        let root = tempfile::tempdir().expect("a directory");
        let make = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(&path).expect("directories");
            path
        };
        make(&format!("kubepods/besteffort/pod{OTHER}/pod{UID}"));
        let (_sender, news) = mpsc::channel();
        let mut pods = Pods::new(news, root.path().to_owned(), false);
        let pod = Box::default();
        let directory = None;
        pods.wanted
            .insert(UID.to_owned(), Wanted { pod, directory });
        assert!(pods.directories_of(UID).is_empty());

        let container = make(&format!("kubepods/burstable/pod{UID}/c1"));
        let top = container.parent().expect("the pod").to_owned();
        assert_eq!(pods.directories_of(UID), [top.clone(), container]);
        let burstable = top.parent().expect("the class").to_owned();
        assert_eq!(pods.parents, BTreeSet::from([burstable]));
        // Beside it another is found without a walk.
        pods.hierarchy = PathBuf::from("/nowhere");
        let sibling = make(&format!("kubepods/burstable/pod{OTHER}"));
        assert_eq!(pods.directories_of(OTHER), [sibling]);
        // What is known is not looked for again.
        pods.parents.clear();
        assert_eq!(pods.directories_of(UID).len(), 2);
    }
}
