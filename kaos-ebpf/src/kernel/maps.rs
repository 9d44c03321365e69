//! The maps. Their sizes here are replaced by the settings of the run.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use kaos_ebpf::counter::Counter;
use kaos_ebpf::process::Process;
use kaos_ebpf::python::sizes::STREAMS;
use kaos_ebpf::record::ProgramRecord;
use kaos_ebpf::settings::{SETTLED_SOCKETS as SETTLED_PLACES, SYSCALL_NUMBERS, defaults};

use super::connections::Connection;
use super::payload::Scratch;
use super::python::{Label, Stream};
use super::tls::carriers::Neighbours;
use super::tls::{Call, TlsKey};

/// Records for user space.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(defaults::RING_BYTES, 0);

/// What is counted, indexed by `Counter`.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::ALL.len() as u32, 0);

/// Processes by thread-group id.
#[map]
pub static PROCESSES: HashMap<u32, Process> = HashMap::with_max_entries(defaults::PROCESSES, 0);

/// Selected cgroups by their id, descendants included.
#[map]
pub static CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(defaults::CGROUPS, 0);

/// Selected listening ports.
#[map]
pub static PORTS: HashMap<u16, u8> = HashMap::with_max_entries(defaults::PORTS, 0);

/// Ports of collectors: HTTP/2 that is sent there is captured.
#[map]
pub static HTTP2_PORTS: HashMap<u16, u8> = HashMap::with_max_entries(defaults::HTTP2_PORTS, 0);

/// Connections of selected processes by socket cookie.
#[map]
pub static CONNECTIONS: LruHashMap<u64, Connection> =
    LruHashMap::with_max_entries(defaults::CONNECTIONS, 0);

/// Connections that user space wants muted, by socket cookie. A map of its own, since user space
/// writing into `CONNECTIONS` would undo what a program writes at the same time.
#[map]
pub static MUTED: LruHashMap<u64, u8> = LruHashMap::with_max_entries(defaults::CONNECTIONS, 0);

/// How often user space has added to `MUTED`: a connection is looked for there only when it did since.
#[map]
pub static MUTES: Array<u32> = Array::with_max_entries(1, 0);

/// Cookies of sockets of which nothing is looked at any more, each at the place that it gives.
#[map]
pub static SETTLED_SOCKETS: Array<u64> = Array::with_max_entries(SETTLED_PLACES, 0);

/// TLS connections of selected processes.
#[map]
pub static TLS_CONNECTIONS: LruHashMap<TlsKey, Connection> =
    LruHashMap::with_max_entries(defaults::CONNECTIONS, 0);

/// By thread: the call of a TLS function that it is in, or was.
#[map]
pub static TLS_CALLS: HashMap<u32, Call> = HashMap::with_max_entries(defaults::TLS_CALLS, 0);

/// By thread: halves of TLS connections whose other half is looked for.
#[map]
pub static TLS_NEIGHBOURS: LruHashMap<u32, Neighbours> =
    LruHashMap::with_max_entries(defaults::TLS_CALLS, 0);

/// `BufferShape` by syscall number of this architecture, 0 for none.
#[map]
pub static SYSCALLS: Array<u8> = Array::with_max_entries(SYSCALL_NUMBERS, 0);

/// Where operations are worked on: one for
/// sends and one for receives, which are programs of their own and may interleave on one CPU.
#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// Where the news of a program is put together.
#[map]
pub static PROGRAM: PerCpuArray<ProgramRecord> = PerCpuArray::with_max_entries(1, 0);

/// What ran when a stream of uvloop was last written to.
#[map]
pub static STREAM_LABELS: LruHashMap<Stream, Label> = LruHashMap::with_max_entries(STREAMS, 0);
