//! The loaded object: its programs and maps.

mod counters;
mod tables;

use std::io::Read as _;
use std::path::Path;

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::uprobe::UProbeLink;
use aya::programs::{BtfTracePoint, Iter, ProgramError, ProgramInfo, UProbe};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::process::{EXCLUDED, Process, SELECTED};
use kaos_ebpf::python::{PythonLayout, ThreadRecord};
use kaos_ebpf::settings::{CGROUPS_MATCH, CGROUPS_TELL, Settings};
use rand::Rng as _;

use self::tables::Tables;
use super::btf::read_offsets;
use super::error::CannotTrace;
use super::event::{Pid, SocketId};
use super::processes;
use super::programs::{ITERATORS, PROGRAMS, ProgramSpec, UPROBES};
use super::python::Programs;
use super::records::parse_threads;
use super::release;
use super::syscalls::SYSCALLS;
use super::uprobes::Attach;
use super::uprobes::links::{self, Attachment};
use super::uprobes::site::Site;
use crate::settings::{CaptureSettings, Selection};

/// Update an entry only if it is there (`BPF_EXIST`, include/uapi/linux/bpf.h).
const IF_PRESENT: u64 = 2;
/// Bytes read of the list of threads: a million of them.
const MOST_THREADS_BYTES: u64 = 16 * 1024 * 1024;
/// The reader is woken before its time when this share of the ring is full.
const WAKE_SHARE: u64 = 4;

/// The settings, as aya may write them into the object.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Global(Settings);

// SAFETY: `Settings` consists of integers only and has no padding (its size is asserted).
unsafe impl aya::Pod for Global {}

/// A process, as it stands in the map.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Entry(pub(super) Process);

// SAFETY: `Process` consists of integers only and has no padding (its size is asserted).
unsafe impl aya::Pod for Entry {}

/// The object in the kernel. Everything is detached and freed when it is dropped: nothing is
/// pinned.
pub struct Kernel {
    /// Keeps programs and maps alive.
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    processes: HashMap<MapData, u32, Entry>,
    cgroups: HashMap<MapData, u64, u8>,
    ports: HashMap<MapData, u16, u8>,
    http2_ports: HashMap<MapData, u16, u8>,
    muted: HashMap<MapData, u64, u8>,
    mutes: Array<MapData, u32>,
    /// What `mutes` holds.
    muted_times: u32,
    counters: PerCpuArray<MapData, u64>,
    tables: Tables,
    /// Programs that are loaded and, but for those of processes' functions, attached.
    programs_at_work: usize,
}

/// How a program fared.
#[derive(Debug)]
pub struct Attached {
    /// Which one.
    pub program: &'static ProgramSpec,
    /// How many instructions the verifier walked, or why it is not attached.
    pub outcome: Result<u32, String>,
}

impl Kernel {
    /// Loads the object with the settings of a run; attaches nothing yet.
    ///
    /// # Errors
    /// No BTF, no permission, or the kernel refuses the object.
    pub fn load(settings: &CaptureSettings, selection: &Selection) -> Result<Self, CannotTrace> {
        let global = Global(kernel_settings(settings, selection)?);
        let mut ebpf = EbpfLoader::new()
            .override_global("SETTINGS", &global, true)
            .map_max_entries("RING", settings.ring_bytes)
            .map_max_entries("CONNECTIONS", settings.max_connections)
            .map_max_entries("MUTED", settings.max_connections)
            .map_max_entries("TLS_CONNECTIONS", settings.max_connections)
            .load(
                &settings
                    .uprobes
                    .or_else(|| Attachment::detect().ok())
                    .unwrap_or_else(|| Attachment::expected(&release::running()))
                    .declare(kaos_ebpf::OBJECT),
            )
            .map_err(|error| cannot_load(&error))?;
        fill_syscalls(&mut ebpf).map_err(|error| broken("SYSCALLS", &error))?;
        let mut kernel = Self {
            ring: take(&mut ebpf, "RING", RingBuf::try_from)?,
            processes: take(&mut ebpf, "PROCESSES", HashMap::try_from)?,
            cgroups: take(&mut ebpf, "CGROUPS", HashMap::try_from)?,
            ports: take(&mut ebpf, "PORTS", HashMap::try_from)?,
            http2_ports: take(&mut ebpf, "HTTP2_PORTS", HashMap::try_from)?,
            muted: take(&mut ebpf, "MUTED", HashMap::try_from)?,
            mutes: take(&mut ebpf, "MUTES", Array::try_from)?,
            muted_times: 0,
            counters: take(&mut ebpf, "COUNTERS", PerCpuArray::try_from)?,
            tables: Tables::of(&mut ebpf, settings.max_connections)?,
            programs_at_work: 0,
            ebpf,
        };
        kernel
            .processes
            .insert(&std::process::id(), &Entry(Process::new(EXCLUDED)), 0)
            .map_err(|error| broken("PROCESSES", &error))?;
        Ok(kernel)
    }

    /// Loads every program of the tables, and attaches all but those for functions of processes,
    /// which wait until these are found. One that fails is reported, and the rest goes on.
    ///
    /// # Errors
    /// The kernel's BTF cannot be read.
    pub fn attach(&mut self) -> Result<Vec<Attached>, CannotTrace> {
        let btf = Btf::from_sys_fs().map_err(|error| CannotTrace {
            what: "cannot read the kernel's BTF".to_owned(),
            why: error.to_string(),
            remedy: "use a kernel built with CONFIG_DEBUG_INFO_BTF=y".to_owned(),
        })?;
        let mut attached: Vec<Attached> = PROGRAMS
            .iter()
            .map(|program| Attached {
                program,
                outcome: self.attach_one(program, &btf),
            })
            .collect();
        attached.extend(UPROBES.iter().map(|program| Attached {
            program,
            outcome: self.load_one(program),
        }));
        attached.extend(ITERATORS.iter().map(|program| Attached {
            program,
            outcome: self.load_iterator(program, &btf),
        }));
        self.programs_at_work = attached.iter().filter(|one| one.outcome.is_ok()).count();
        Ok(attached)
    }

    fn attach_one(&mut self, spec: &ProgramSpec, btf: &Btf) -> Result<u32, String> {
        let program: &mut BtfTracePoint = self
            .ebpf
            .program_mut(spec.hook)
            .ok_or("the object has no such program")?
            .try_into()
            .map_err(|error: ProgramError| error.to_string())?;
        program
            .load(spec.hook, btf)
            .map_err(|error| explain(&error))?;
        program.attach().map_err(|error| explain(&error))?;
        verified(program.info())
    }

    fn load_one(&mut self, spec: &ProgramSpec) -> Result<u32, String> {
        let program: &mut UProbe = self
            .ebpf
            .program_mut(spec.hook)
            .ok_or("the object has no such program")?
            .try_into()
            .map_err(|error: ProgramError| error.to_string())?;
        program.load().map_err(|error| explain(&error))?;
        verified(program.info())
    }

    fn load_iterator(&mut self, spec: &ProgramSpec, btf: &Btf) -> Result<u32, String> {
        let program = self.iterator(spec.hook)?;
        program.load("task", btf).map_err(|error| explain(&error))?;
        verified(program.info())
    }

    fn iterator(&mut self, name: &str) -> Result<&mut Iter, String> {
        let program = self.ebpf.program_mut(name);
        let program = program.ok_or("the object has no such program")?;
        program
            .try_into()
            .map_err(|error: ProgramError| error.to_string())
    }

    /// Selects a process from user space.
    ///
    /// # Errors
    /// The table is full.
    pub fn select(&mut self, pid: Pid) -> Result<(), String> {
        self.enter(pid, self.known(pid), 0)
    }

    /// What the table has of a process. Only this thread and programs in the time of the process write
    /// it, and they agree: the process is found and followed after it was selected.
    fn known(&self, pid: Pid) -> Process {
        self.processes
            .get(&pid, 0)
            .map_or_else(|_| Process::default(), |entry| entry.0)
    }

    fn enter(&mut self, pid: Pid, known: Process, flags: u64) -> Result<(), String> {
        let selected = Process {
            selection: SELECTED,
            ..known
        };
        self.processes
            .insert(&pid, &Entry(selected), flags)
            .map_err(|error| error.to_string())
    }

    /// Makes a candidate a selected process, if it still runs.
    pub fn confirm(&mut self, pid: Pid) {
        // A candidate that ended has lost its entry, and must not get one again.
        let _ = self.enter(pid, self.known(pid), IF_PRESENT);
    }

    /// Follows a process no more.
    pub fn reject(&mut self, pid: Pid) {
        // It may have ended by itself.
        let _ = self.processes.remove(&pid);
    }

    /// Selects a cgroup.
    ///
    /// # Errors
    /// The table is full.
    pub fn select_cgroup(&mut self, id: u64) -> Result<(), String> {
        self.cgroups
            .insert(&id, &1, 0)
            .map_err(|error| error.to_string())
    }

    /// Selects what is moved into a cgroup, or made below it, no more.
    pub fn forget_cgroup(&mut self, id: u64) {
        // It may be gone by itself.
        let _ = self.cgroups.remove(&id);
    }

    /// Selects who listens on a port from now on.
    ///
    /// # Errors
    /// The table is full.
    pub fn select_port(&mut self, port: u16) -> Result<(), String> {
        self.ports
            .insert(&port, &1, 0)
            .map_err(|error| error.to_string())
    }

    /// Captures nothing more of a connection.
    pub fn mute(&mut self, socket: SocketId) {
        // An LRU map has always room; a failure costs only what muting would save. The programs look
        // when the number has changed, whatever it is.
        let _ = self.muted.insert(&socket.0, &1, 0);
        self.muted_times = self.muted_times.wrapping_add(1);
        let _ = self.mutes.set(0, &self.muted_times, 0);
    }

    /// Captures HTTP/2 on new connections to this port.
    pub fn capture_http2_to(&mut self, port: u16) {
        // Where there is no room they are muted, as others are.
        let _ = self.http2_ports.insert(&port, &1, 0);
    }

    /// The ring, for reading and waiting.
    pub fn ring(&mut self) -> &mut RingBuf<MapData> {
        &mut self.ring
    }

    /// One counter, summed over the CPUs.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counter_by_cpu(counter).iter().sum()
    }

    fn counter_by_cpu(&self, counter: Counter) -> Vec<u64> {
        self.counters
            .get(&(counter as u32), 0)
            .map(|values| values.to_vec())
            .unwrap_or_default()
    }
}

impl Attach for Kernel {
    type Link = UProbeLink;

    fn attach(
        &mut self,
        program: &str,
        file: &Path,
        sites: &[&Site],
    ) -> Result<UProbeLink, String> {
        links::attach(&mut self.ebpf, program, file, sites).map_err(|error| explain(&error))
    }
}

impl Programs for Kernel {
    fn threads(&mut self) -> Result<Vec<ThreadRecord>, String> {
        let program = self.iterator("threads")?;
        let link = program.attach().map_err(|error| explain(&error))?;
        let link = program.take_link(link).map_err(|error| explain(&error))?;
        let mut bytes = Vec::new();
        link.into_file()
            .map_err(|error| chain(&error))?
            .take(MOST_THREADS_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(parse_threads(&bytes))
    }

    fn follow(&mut self, pid: Pid, layout: &PythonLayout) -> Result<(), String> {
        let followed = Process {
            is_python: 1,
            python: *layout,
            ..self.known(pid)
        };
        self.processes
            .insert(&pid, &Entry(followed), IF_PRESENT)
            .map_err(|error| error.to_string())
    }
}

fn verified(info: Result<ProgramInfo, ProgramError>) -> Result<u32, String> {
    let info = info.map_err(|error| explain(&error))?;
    Ok(info.verified_instruction_count().unwrap_or_default())
}

fn kernel_settings(
    settings: &CaptureSettings,
    selection: &Selection,
) -> Result<Settings, CannotTrace> {
    let (offsets, registers) = read_offsets()?;
    let (select_all, match_executables, match_cgroups, match_ports) = match selection {
        Selection::All => (true, false, 0, false),
        Selection::Matching(selectors) => (
            false,
            !selectors.executables.is_empty(),
            match (&selectors.pods, selectors.cgroups.is_empty()) {
                (Some(_), _) => CGROUPS_MATCH | CGROUPS_TELL,
                (None, false) => CGROUPS_MATCH,
                (None, true) => 0,
            },
            !selectors.ports.is_empty(),
        ),
    };
    Ok(Settings {
        offsets,
        registers,
        scramble: rand::rng().next_u64(),
        wake_bytes: u64::from(settings.ring_bytes) / WAKE_SHARE,
        head_bytes: settings.head_bytes,
        tail_bytes: settings.tail_bytes,
        select_all: select_all.into(),
        match_executables: match_executables.into(),
        match_cgroups,
        match_ports: match_ports.into(),
        pid_namespace: processes::pid_namespace().unwrap_or(0),
    })
}

fn fill_syscalls(ebpf: &mut Ebpf) -> Result<(), aya::maps::MapError> {
    let map = ebpf
        .map_mut("SYSCALLS")
        .ok_or_else(|| aya::maps::MapError::InvalidName {
            name: "SYSCALLS".to_owned(),
        })?;
    let mut shapes: Array<_, u8> = Array::try_from(map)?;
    for (number, shape) in SYSCALLS {
        let index = u32::try_from(*number).expect("a test checks that all numbers fit");
        shapes.set(index, &(*shape as u8), 0)?;
    }
    Ok(())
}

fn take<T>(
    ebpf: &mut Ebpf,
    name: &str,
    convert: impl FnOnce(aya::maps::Map) -> Result<T, aya::maps::MapError>,
) -> Result<T, CannotTrace> {
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| broken(name, &"the object has no such map"))?;
    convert(map).map_err(|error| broken(name, &error))
}

fn broken(map: &str, error: &dyn std::fmt::Display) -> CannotTrace {
    CannotTrace {
        what: format!("cannot use the map {map}"),
        why: error.to_string(),
        remedy: "lower --ring-bytes or --max-connections if memory is short, else report it"
            .to_owned(),
    }
}

fn cannot_load(error: &EbpfError) -> CannotTrace {
    let why = chain(error);
    let remedy = if why.contains("os error 1)") || why.contains("os error 13)") {
        "run as root, or with the capabilities BPF and PERFMON"
    } else if why.contains("os error 12)") || why.contains("os error 7)") {
        "lower --ring-bytes or --max-connections"
    } else {
        "run `kaos-agent doctor`, and report what it says"
    };
    CannotTrace {
        what: "cannot load the eBPF object".to_owned(),
        why,
        remedy: remedy.to_owned(),
    }
}

/// An error of a program, in one line: the verifier's verdict without its whole log.
fn explain(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            tracing::debug!("the verifier says:\n{log}");
            let verdict = log
                .lines()
                .rev()
                .find(|line| {
                    let is_statistics = ["processed ", "stack depth", "verification time"]
                        .iter()
                        .any(|start| line.starts_with(start));
                    !line.trim().is_empty() && !is_statistics
                })
                .unwrap_or("it gives no reason");
            format!("the kernel refuses it ({io_error}): {verdict}")
        }
        other => chain(other),
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels before 6.3 have none of these two tracepoints, but one with arguments of the same types.
    /// What their verifiers accept there, those of 6.3 and later accept in its own place.
    #[test]
    #[ignore = "kernel: loads programs, needs root"]
    fn the_socket_programs_pass_the_verifier_of_kernels_without_their_tracepoints() {
        const MOST: u32 = 100_000;
        let nothing = Selection::Matching(crate::settings::Selectors::default());
        let mut kernel = Kernel::load(&CaptureSettings::default(), &nothing).expect("it loads");
        let btf = Btf::from_sys_fs().expect("it is there");
        for name in ["sock_send_length", "sock_recv_length"] {
            let program = kernel.ebpf.program_mut(name).expect("it is there");
            let program: &mut BtfTracePoint = program.try_into().expect("it is one");
            let loaded = program.load("inet_sock_set_state", &btf);
            loaded.unwrap_or_else(|error| panic!("{name}: {}", explain(&error)));
            let walked = verified(program.info()).expect("it is loaded");
            println!("{name}: {walked}");
            assert!(walked < MOST, "{name}: {walked}");
        }
    }
}
