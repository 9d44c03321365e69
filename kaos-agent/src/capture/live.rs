//! The front end for kernels from 6.3 on: BTF tracepoints.

mod life;

use std::io;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use aya::programs::uprobe::UProbeLink;
use kaos_ebpf::counter::Counter;
use rustc_hash::{FxHashMap, FxHashSet};

use super::clock::{Clock, monotonic};
use super::error::CannotTrace;
use super::event::{ConnectionChange, Event, Label, PeerEvent, Pid, SocketId};
use super::front_end::FrontEnd;
use super::kernel::{Attached, Kernel};
use super::peers::PeerNews;
use super::pods::Pods;
use super::processes;
use super::python::Pythons;
use super::records::{Epoch, Record, parse};
use super::release;
use super::ring::{Bell, Waiter};
use super::selection;
use super::tls;
use super::uprobes::mappings::MappingWatch;
use super::uprobes::site::Finder;
use super::uprobes::{FINDERS, FINDERS_WITHOUT_PYTHON, Uprobes};
use crate::health::counters::Counters;
use crate::settings::{CaptureSettings, Selection};

/// How often the clock is measured and the kernel's loss counter is read.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

crate::counters! {
    /// What the reader of the ring saw and lost.
    pub struct ReaderCounters: "capture" {
        /// Records that could not be read: a defect, never the workload's doing.
        unreadable_records,
        /// Records of candidates whose executable did not match.
        rejected_records,
        /// Times that contexts of a Python process may have been made unseen.
        unseen_contexts,
        /// Processes described.
        described_processes,
        /// Processes whose end was not told: they were rejected before it, or its record was lost.
        ended_unseen,
    }
}

/// Kernel hooks at work.
pub struct Live {
    kernel: Kernel,
    uprobes: Uprobes<UProbeLink>,
    pythons: Pythons,
    waiter: Waiter,
    poll_interval: Duration,
    selection: Selection,
    pods: Option<Pods>,
    peers: Option<Receiver<PeerNews>>,
    described: FxHashSet<Pid>,
    /// Told, and not told to have ended.
    alive: FxHashSet<Pid>,
    /// Selected when they ran already, and not described yet.
    found_running: Vec<Pid>,
    /// Candidates turned down, whose records may still be in the ring; until it is empty.
    rejected: FxHashSet<Pid>,
    /// Of the Python processes that are followed.
    epochs: FxHashMap<Pid, Epoch>,
    /// Known, and not told yet: of processes that ran at the start, and see [`tls::hold_back`].
    held: Vec<Event>,
    clock: Clock,
    last_housekeeping: Option<Instant>,
    last_sweep: Instant,
    told_lost: u64,
    counters: ReaderCounters,
}

impl Live {
    /// Loads and attaches everything, and selects what runs already. Also tells how each program
    /// fared.
    ///
    /// # Errors
    /// It cannot work here: the first needed program that could not be attached says why.
    pub fn start(
        settings: &CaptureSettings,
        selection: Selection,
    ) -> Result<(Self, Vec<Attached>), CannotTrace> {
        release::check(&release::running())?;
        let mut kernel = Kernel::load(settings, &selection)?;
        let waiter = Waiter::new(kernel.ring()).map_err(|error| CannotTrace {
            what: "cannot wait for the ring buffer".to_owned(),
            why: error.to_string(),
            remedy: "raise the limit of open files".to_owned(),
        })?;
        // Cgroups and ports before the hooks, processes after them: what starts in between is seen
        // by the one or by the other.
        if let Selection::Matching(selectors) = &selection {
            for id in selection::cgroup_ids(selectors) {
                kernel.select_cgroup(id).map_err(table_full)?;
            }
            for port in &selectors.ports {
                kernel.select_port(*port).map_err(table_full)?;
            }
        }
        let attached = kernel.attach()?;
        let failed = attached
            .iter()
            .find_map(|one| Some((one.program, one.outcome.as_ref().err()?)))
            .filter(|(program, _)| program.needed);
        if let Some((program, failure)) = failed {
            return Err(CannotTrace {
                what: format!("cannot attach to the tracepoint {}", program.hook),
                why: failure.clone(),
                remedy: "run `kaos-agent doctor` to see what this machine lacks".to_owned(),
            });
        }
        let finders = if settings.contexts {
            FINDERS
        } else {
            FINDERS_WITHOUT_PYTHON
        };
        let uprobes = start_uprobes(&waiter, finders);
        let mut live = Self {
            kernel,
            uprobes,
            pythons: Pythons::default(),
            waiter,
            poll_interval: settings.poll_interval,
            selection,
            pods: None,
            peers: None,
            described: FxHashSet::default(),
            alive: FxHashSet::default(),
            found_running: Vec::new(),
            rejected: FxHashSet::default(),
            epochs: FxHashMap::default(),
            held: Vec::new(),
            clock: Clock::default(),
            last_housekeeping: None,
            last_sweep: Instant::now(),
            told_lost: 0,
            counters: ReaderCounters::default(),
        };
        live.select_running()?;
        // What runs in them is known when we say that we are ready, and so is what they are: one
        // may be killed before anything of it is read.
        live.pythons.look(&mut live.kernel, Instant::now());
        let mut told = Vec::new();
        live.housekeeping(&mut told);
        live.describe_running(&mut told);
        live.held = told;
        Ok((live, attached))
    }

    /// A bell that ends a wait.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn bell(&self) -> io::Result<Bell> {
        self.waiter.bell()
    }

    /// Captures the pods that it is told of from now on. The selection must name pods.
    pub fn follow_pods(&mut self, pods: Pods) {
        self.pods = Some(pods);
    }

    /// Tells who has which address of the cluster from now on.
    pub fn follow_peers(&mut self, peers: Receiver<PeerNews>) {
        self.peers = Some(peers);
    }

    /// Selects what matches and runs already, until a second look finds nothing new: what is
    /// forked by a selected process is the kernel's part.
    fn select_running(&mut self) -> Result<(), CannotTrace> {
        let Selection::Matching(selectors) = &self.selection else {
            self.probe_running();
            return Ok(());
        };
        let mut selected = FxHashSet::default();
        loop {
            let mut news = false;
            for pid in selection::matching_processes(selectors) {
                if pid != std::process::id() && selected.insert(pid) {
                    self.kernel.select(pid).map_err(table_full)?;
                    news = true;
                }
            }
            if !news {
                break;
            }
        }
        // One that ended meanwhile did so unseen, and its number will be somebody else's.
        for pid in selected {
            if processes::executable(pid).is_none() {
                self.kernel.reject(pid);
            } else {
                self.uprobes.started(pid, &mut self.kernel);
                self.notice_interpreter(pid);
                self.found_running.push(pid);
            }
        }
        self.found_running.sort_unstable();
        Ok(())
    }

    /// Where all processes are selected, each is when it first uses a socket. That is too late for
    /// those that use TLS already.
    fn probe_running(&mut self) {
        for pid in processes::all().filter(|pid| *pid != std::process::id()) {
            let uses_tls = self.uprobes.started(pid, &mut self.kernel);
            if !uses_tls || self.kernel.select(pid).is_err() {
                self.uprobes.ended(pid);
            }
        }
    }

    /// Tells what processes are that were selected when they ran already: before their data, since
    /// one may be killed before that is read.
    fn describe_running(&mut self, events: &mut Vec<Event>) {
        for pid in std::mem::take(&mut self.found_running) {
            // One that ended before it was selected did so unseen, and its number will be somebody
            // else's.
            if processes::executable(pid).is_none() {
                self.kernel.reject(pid);
                continue;
            }
            if !self.uprobes.follows(pid) {
                self.uprobes.started(pid, &mut self.kernel);
            }
            self.describe(pid, None, monotonic(), events);
        }
    }

    fn housekeeping(&mut self, events: &mut Vec<Event>) {
        let due = self
            .last_housekeeping
            .is_none_or(|last| last.elapsed() >= HOUSEKEEPING);
        if !due {
            return;
        }
        self.last_housekeeping = Some(Instant::now());
        self.kernel.count_entries();
        if let Some((at, offset)) = self.clock.measure() {
            events.push(Event::Clock { at, offset });
        }
        let lost = self.kernel.counter(Counter::RingFull);
        if lost > self.told_lost {
            events.push(Event::Lost {
                at: monotonic(),
                records: lost - self.told_lost,
            });
            self.told_lost = lost;
        }
    }

    fn news_of_pods(&mut self, events: &mut Vec<Event>) {
        if let Some(pods) = &mut self.pods {
            let running = pods.take_news(&mut self.kernel, events);
            self.found_running.extend(running);
        }
    }

    fn news_of_peers(&mut self, events: &mut Vec<Event>) {
        let news = self.peers.iter().flat_map(Receiver::try_iter);
        events.extend(news.map(|PeerNews { uid, peer }| {
            let at = monotonic();
            Event::Peer(PeerEvent { at, uid, peer })
        }));
    }
}

impl FrontEnd for Live {
    fn wait(&mut self) {
        self.waiter.wait(self.poll_interval);
    }

    fn read(&mut self, most: usize, events: &mut Vec<Event>) -> bool {
        events.append(&mut self.held);
        self.housekeeping(events);
        self.uprobes.collect();
        self.news_of_pods(events);
        self.news_of_peers(events);
        self.describe_running(events);
        for _ in 0..most {
            let Some(item) = self.kernel.ring().next() else {
                self.rejected.clear();
                self.sweep(events);
                for pid in self.uprobes.settle(&mut self.kernel) {
                    self.notice_interpreter(pid);
                    self.pythons.mapped(pid, Instant::now());
                }
                self.pythons.look(&mut self.kernel, Instant::now());
                self.held = tls::hold_back(events, monotonic());
                return false;
            };
            let record = parse(&item);
            drop(item);
            match record {
                Some(Record::Process(news)) => self.process_news(news, None, events),
                Some(Record::Program(news, program)) => {
                    self.process_news(news, Some(&program), events);
                }
                Some(Record::Cgroup(made)) => {
                    if let Some(pods) = &mut self.pods {
                        let running = pods.cgroup_made(&made, &mut self.kernel);
                        self.found_running.extend(running);
                    }
                }
                Some(Record::Data(data, epoch)) if !self.rejected.contains(&data.pid) => {
                    if !self.describe(data.pid, None, data.at, events) {
                        continue;
                    }
                    if data.label != Label::Unknown {
                        self.epoch(data.pid, data.at, epoch, events);
                    }
                    events.push(Event::Data(data));
                }
                Some(Record::Connection(connection, epoch))
                    if !self.rejected.contains(&connection.pid) =>
                {
                    // Connections end after their processes, which are not to be described again.
                    let pid = connection.pid;
                    let is_known = self.described.contains(&pid);
                    if (is_known || processes::executable(pid).is_some())
                        && !self.describe(pid, None, connection.at, events)
                    {
                        continue;
                    }
                    if let ConnectionChange::ConnectingIn { label, .. } = connection.change
                        && label != Label::Unknown
                    {
                        self.epoch(pid, connection.at, epoch, events);
                    }
                    events.push(Event::Connection(connection));
                }
                Some(Record::Context(news)) if !self.rejected.contains(&news.pid) => {
                    if self.describe(news.pid, None, news.at, events) {
                        self.context_news(news, events);
                    }
                }
                Some(Record::Connected(socket, endpoints)) => {
                    tls::connected(events, socket, endpoints);
                }
                Some(_) => self.counters.rejected_records += 1,
                None => self.counters.unreadable_records += 1,
            }
        }
        true
    }

    fn mute(&mut self, socket: SocketId) {
        self.kernel.mute(socket);
    }

    fn capture_http2_to(&mut self, port: u16) {
        self.kernel.capture_http2_to(port);
    }
}

impl Counters for Live {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.kernel.visit(visit);
        self.uprobes.counters().visit(visit);
        self.pythons.counters().visit(visit);
        self.counters.visit(visit);
        let refused = self.pods.as_ref().map_or(0, Pods::refused);
        visit("capture.pod_cgroups_refused", refused);
    }

    fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.kernel.levels(visit);
        visit("uprobes.files_probed", self.uprobes.probed() as u64);
    }
}

/// Prepares the probes in processes. Without the news of mappings they still find what a process has
/// mapped when it is selected.
fn start_uprobes(waiter: &Waiter, finders: &'static [Finder]) -> Uprobes<UProbeLink> {
    let watch = MappingWatch::start().and_then(|watch| {
        watch
            .descriptors()
            .try_for_each(|descriptor| waiter.watch(&descriptor))?;
        Ok(watch)
    });
    if let Err(error) = &watch {
        tracing::warn!(
            "libraries that a process loads later are not found: \
             the kernel does not tell what is mapped: {error}"
        );
    }
    Uprobes::new(finders, watch.ok())
}

fn table_full(why: String) -> CannotTrace {
    CannotTrace {
        what: "cannot select everything that matches".to_owned(),
        why,
        remedy: "select less, or use --all".to_owned(),
    }
}
