//! Probes in the code of traced processes.
//!
//! - **In:** what processes map so that it can be executed, as the kernel tells it
//!   ([`mappings`]), and which processes are traced.
//! - **Out:** programs attached to the functions that the [`Finder`]s look for, one link for each
//!   program and file, however many processes use the file; gone when its last user is gone.
//! - **Keeps:** the files that were looked at, with their users.
//! - **Limits:** [`MOST_FILES`] known files, [`MOST_PROBED_FILES`] probed ones, [`MOST_SITES`] in each;
//!   a file is read in bounded pieces ([`image`]).
//! - **Loses:** mappings that found no room (`uprobes.lost_mappings`; all users are looked at again),
//!   files over the limits (`uprobes.over_limit`) or that cannot be read (`uprobes.unreadable`),
//!   sites that cannot be attached to (`uprobes.refused`).
//!
//! A probe hits in every process that maps its file; programs look whose hit it is first.

pub mod data;
mod exports;
pub mod file;
pub mod image;
pub mod links;
pub mod mappings;
pub mod prologue;
pub mod site;
#[cfg(test)]
mod tests;
pub mod tracebacks;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashlink::LruCache;
use rustc_hash::{FxHashMap, FxHashSet};

use self::file::{FileId, MappedFile};
use self::image::Image;
use self::mappings::{Mapping, MappingWatch};
use self::site::{Finder, Site};
use super::event::Pid;

/// Files that are remembered as looked at, so that each is read once.
const MOST_FILES: usize = 8_192;
/// Files that are probed at a time: one for each version of a library on a node, and each
/// container image may bring its own.
const MOST_PROBED_FILES: usize = 512;
/// Sites in one file.
const MOST_SITES: usize = 64;
/// Mappings that wait until the processes that made them are known.
const MOST_PENDING: usize = 16_384;
/// How long a file without users stays probed: programs that run one after the other share it.
const LINGER: Duration = Duration::from_secs(1);

crate::counters! {
    /// What became of files and probes.
    pub struct UprobeCounters: "uprobes" {
        /// Executable mappings of traced processes.
        mappings,
        /// Mappings that the kernel could not tell.
        lost_mappings,
        /// Files looked at.
        files,
        /// Files of those that cannot be read.
        unreadable,
        /// Files that were probed.
        probed_files,
        /// Files that are no longer probed, since nobody uses them.
        released_files,
        /// Sites attached to.
        sites,
        /// Sites that the kernel refused.
        refused,
        /// Files or sites passed over because there are too many.
        over_limit,
    }
}

/// Who looks for functions.
pub static FINDERS: &[Finder] = &[super::tls::FINDER, super::python::finder::FINDER];
/// Who does where Python processes are not to be looked into.
pub static FINDERS_WITHOUT_PYTHON: &[Finder] = &[super::tls::FINDER];

/// Attaches programs. What it returns detaches when it is dropped.
pub trait Attach {
    /// What holds an attachment.
    type Link;

    /// Attaches one program to places in a file, in all processes.
    ///
    /// # Errors
    /// The kernel refuses it, in words for a person.
    fn attach(&mut self, program: &str, file: &Path, sites: &[&Site])
    -> Result<Self::Link, String>;
}

/// A file that is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbedFile {
    /// Its path in the process that mapped it first.
    pub path: PathBuf,
    /// What is probed in it.
    pub sites: Vec<Site>,
    /// Why some of it is not, if so.
    pub failures: Vec<String>,
}

/// What there is to probe in a file. What is no ELF file of this machine has nothing.
fn sites_in(file: &File, finders: &[Finder]) -> Vec<Site> {
    let functions = finders.iter().flat_map(|finder| finder.functions);
    let names: Vec<&'static str> = functions.copied().collect();
    match Image::read(file, &names) {
        Ok(image) if !image.is_empty() => finders
            .iter()
            .flat_map(|finder| (finder.sites)(&image))
            .collect(),
        _ => Vec::new(),
    }
}

/// A file with something to probe, as `explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedFile {
    /// Its path in the process.
    pub path: PathBuf,
    /// What there is to probe in it.
    pub sites: Vec<Site>,
}

/// What there is to probe in a process, without doing so.
#[must_use]
pub fn inspect(pid: Pid) -> Vec<InspectedFile> {
    let mut files: Vec<InspectedFile> = Vec::new();
    for mapping in file::executable_mappings(pid) {
        if files.iter().any(|file| file.path == mapping.path) {
            continue;
        }
        let Ok(mapped) = file::open(&mapping) else {
            continue;
        };
        let sites = sites_in(&mapped.file, FINDERS);
        if !sites.is_empty() {
            files.push(InspectedFile {
                path: mapping.path,
                sites,
            });
        }
    }
    files
}

/// A probed file with what keeps it so.
struct Probed<Link> {
    file: Arc<ProbedFile>,
    users: FxHashSet<Pid>,
    /// Detached when dropped.
    _links: Vec<Link>,
    /// Since when nobody uses it.
    unused_since: Option<Instant>,
}

/// The probes of all traced processes.
pub struct Uprobes<Link> {
    finders: &'static [Finder],
    /// `None` where the kernel does not tell mappings: then files are found when a process is
    /// selected or executes a program.
    watch: Option<MappingWatch>,
    /// Told, and not looked at yet.
    pending: Vec<Mapping>,
    /// All users must be looked at again.
    rescan: bool,
    /// Sites of the files that were looked at; empty for most.
    known: LruCache<FileId, Arc<ProbedFile>>,
    probed: FxHashMap<FileId, Probed<Link>>,
    /// Traced processes, and which probed files they use.
    processes: FxHashMap<Pid, BTreeSet<FileId>>,
    counters: UprobeCounters,
}

impl<Link> Uprobes<Link> {
    /// Nothing is probed yet.
    #[must_use]
    pub fn new(finders: &'static [Finder], watch: Option<MappingWatch>) -> Self {
        Self {
            finders,
            watch,
            pending: Vec::new(),
            rescan: false,
            known: LruCache::new(MOST_FILES),
            probed: FxHashMap::default(),
            processes: FxHashMap::default(),
            counters: UprobeCounters::default(),
        }
    }

    /// Readable when a process has mapped something.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watch.iter().flat_map(MappingWatch::descriptors)
    }

    /// What became of files and probes.
    #[must_use]
    pub fn counters(&self) -> &UprobeCounters {
        &self.counters
    }

    /// How many files are probed now.
    #[must_use]
    pub fn probed(&self) -> usize {
        self.probed.len()
    }

    /// Whether a process is traced.
    #[must_use]
    pub fn follows(&self, pid: Pid) -> bool {
        self.processes.contains_key(&pid)
    }

    /// The probed files that a process uses.
    pub fn files_of(&self, pid: Pid) -> impl Iterator<Item = &Arc<ProbedFile>> {
        let files = self.processes.get(&pid).into_iter().flatten();
        files.filter_map(|id| Some(&self.probed.get(id)?.file))
    }

    /// Takes over what was mapped until now. Call it before the records of processes are read, and
    /// [`settle`](Self::settle) after: then whoever mapped something is known by then.
    pub fn collect(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let lost = watch.take(&mut self.pending);
        let over = self.pending.len().saturating_sub(MOST_PENDING);
        self.pending.truncate(MOST_PENDING);
        let lost = lost + over as u64;
        self.counters.lost_mappings += lost;
        self.rescan |= lost > 0;
    }

    /// Looks at what was collected, and at everything that lost mappings may hide. Returns the
    /// processes that use more probed files now than before.
    pub fn settle(&mut self, attach: &mut impl Attach<Link = Link>) -> Vec<Pid> {
        let mut changed = Vec::new();
        for mapping in std::mem::take(&mut self.pending) {
            if self.processes.contains_key(&mapping.pid) && self.mapped(&mapping, attach) {
                changed.push(mapping.pid);
            }
        }
        if std::mem::take(&mut self.rescan) {
            let processes: Vec<Pid> = self.processes.keys().copied().collect();
            for pid in processes {
                if self.look_at(pid, attach) {
                    changed.push(pid);
                }
            }
        }
        self.release(Instant::now());
        changed
    }

    /// A process is traced from now on, or executes another program: all that it has mapped is
    /// looked at. Returns whether it uses other probed files than before.
    pub fn started(&mut self, pid: Pid, attach: &mut impl Attach<Link = Link>) -> bool {
        let before = self.forget(pid);
        self.processes.insert(pid, BTreeSet::new());
        self.look_at(pid, attach);
        before != self.processes.get(&pid).cloned().unwrap_or_default()
    }

    /// A traced process was forked: it has what its parent has.
    pub fn forked(&mut self, parent: Pid, child: Pid) {
        let files = self.processes.get(&parent).cloned().unwrap_or_default();
        self.forget(child);
        for id in &files {
            if let Some(probed) = self.probed.get_mut(id) {
                probed.users.insert(child);
            }
        }
        self.processes.insert(child, files);
    }

    /// A process ended, or is not traced any more.
    pub fn ended(&mut self, pid: Pid) {
        self.forget(pid);
    }

    fn forget(&mut self, pid: Pid) -> BTreeSet<FileId> {
        let files = self.processes.remove(&pid).unwrap_or_default();
        for id in &files {
            if let Some(probed) = self.probed.get_mut(id) {
                probed.users.remove(&pid);
                if probed.users.is_empty() {
                    probed.unused_since = Some(Instant::now());
                }
            }
        }
        files
    }

    fn look_at(&mut self, pid: Pid, attach: &mut impl Attach<Link = Link>) -> bool {
        let mut news = false;
        for mapping in file::executable_mappings(pid) {
            news |= self.mapped(&mapping, attach);
        }
        news
    }

    /// A traced process has mapped a file; true where that is probed and was not used by it before.
    fn mapped(&mut self, mapping: &Mapping, attach: &mut impl Attach<Link = Link>) -> bool {
        self.counters.mappings += 1;
        let Ok(MappedFile { file, id }) = file::open(mapping) else {
            self.counters.unreadable += 1;
            return false;
        };
        if !self.probed.contains_key(&id) {
            let found = self.sites_of(id, &file, &mapping.path);
            if found.sites.is_empty() {
                return false;
            }
            if self.probed.len() >= MOST_PROBED_FILES {
                self.counters.over_limit += 1;
                return false;
            }
            let probed = self.probe(&file, &found, attach);
            self.probed.insert(id, probed);
        }
        let (Some(files), Some(probed)) = (
            self.processes.get_mut(&mapping.pid),
            self.probed.get_mut(&id),
        ) else {
            return false;
        };
        probed.users.insert(mapping.pid);
        probed.unused_since = None;
        files.insert(id)
    }

    /// What there is to probe in a file, which is read only if it was not before.
    fn sites_of(&mut self, id: FileId, file: &File, path: &Path) -> Arc<ProbedFile> {
        if let Some(known) = self.known.get(&id) {
            return Arc::clone(known);
        }
        self.counters.files += 1;
        let mut sites = sites_in(file, self.finders);
        if sites.len() > MOST_SITES {
            self.counters.over_limit += 1;
            sites.truncate(MOST_SITES);
        }
        let found = Arc::new(ProbedFile {
            path: path.to_owned(),
            sites,
            failures: Vec::new(),
        });
        self.known.insert(id, Arc::clone(&found));
        found
    }

    /// Attaches to a file, each program with one link. What the kernel refuses is told, and the rest
    /// goes on.
    fn probe(
        &mut self,
        file: &File,
        found: &ProbedFile,
        attach: &mut impl Attach<Link = Link>,
    ) -> Probed<Link> {
        for site in &found.sites {
            // The kernel does not always bring the page in by itself. That it cannot be read says
            // the attachment.
            let _ = file.read_at(&mut [0], site.offset);
        }
        // Through our own descriptor: the process may be gone by now, its path another file's.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let programs: BTreeSet<&'static str> =
            found.sites.iter().map(|site| site.program).collect();
        let mut probed = found.clone();
        let mut links = Vec::new();
        for program in programs {
            let sites: Vec<&Site> = found
                .sites
                .iter()
                .filter(|site| site.program == program)
                .collect();
            match attach.attach(program, &path, &sites) {
                Ok(link) => {
                    tracing::debug!("{program} is attached to {}", found.path.display());
                    self.counters.sites += sites.len() as u64;
                    links.push(link);
                }
                Err(failure) => {
                    self.counters.refused += sites.len() as u64;
                    tracing::warn!(
                        "{program} is not attached to {}: {failure}",
                        found.path.display()
                    );
                    probed.failures.push(format!("{program}: {failure}"));
                }
            }
        }
        self.counters.probed_files += 1;
        Probed {
            file: Arc::new(probed),
            users: FxHashSet::default(),
            _links: links,
            unused_since: None,
        }
    }

    /// Detaches from what nobody has used for a while.
    fn release(&mut self, now: Instant) {
        let before = self.probed.len();
        self.probed.retain(|_, probed| {
            probed
                .unused_since
                .is_none_or(|since| now.saturating_duration_since(since) < LINGER)
        });
        self.counters.released_files += (before - self.probed.len()) as u64;
    }
}
