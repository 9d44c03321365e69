//! What capture tells the rest of the pipeline.
//!
//! A recording is a sequence of these, so everything that a span depends on must be in them:
//! no later stage asks the machine anything.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use kaos_ebpf::record::TLS_STREAM;
use serde::{Deserialize, Serialize};

use super::recording::RecordedChange;
use crate::time::{Nanos, WallOffset};

/// A process: the kernel's thread-group id in the initial pid namespace.
pub type Pid = u32;

/// A socket for as long as it lives: the kernel's socket cookie, which is never used again, so an
/// address that is reused for a new socket cannot be mistaken for the old one. Or a TLS connection
/// for as long as it lives, whose streams are the plain text inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId(pub u64);

impl SocketId {
    /// Whether it is a TLS connection.
    #[must_use]
    pub fn is_tls(self) -> bool {
        self.0 & TLS_STREAM != 0
    }
}

/// One thing that happened, in the order in which the kernel told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Bytes moved through a socket.
    Data(Data),
    /// A connection opened, failed or ended.
    Connection(ConnectionEvent),
    /// A process started, was described, or ended.
    Process(ProcessEvent),
    /// A Python context was made in a process that is followed.
    Context(ContextEvent),
    /// The wall clock was measured; holds for everything that begins from now on.
    Clock {
        /// When it was measured.
        at: Nanos,
        /// The offset found.
        offset: WallOffset,
    },
    /// The kernel could not deliver this many records since the last such event. Positions tell
    /// later which streams have a hole; this only counts.
    Lost {
        /// When it was noticed.
        at: Nanos,
        /// Records lost.
        records: u64,
    },
    /// A pod of this node was described, or is not observed any more.
    Pod(PodEvent),
    /// Who has an address of the cluster was told, or it is nobody's any more.
    Peer(PeerEvent),
}

impl Event {
    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Data(data) => data.at,
            Self::Connection(connection) => connection.at,
            Self::Process(process) => process.at,
            Self::Context(context) => context.at,
            Self::Pod(pod) => pod.at,
            Self::Peer(peer) => peer.at,
            Self::Clock { at, .. } | Self::Lost { at, .. } => *at,
        }
    }
}

/// Which way bytes move, seen from the process that owns the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// The process wrote them.
    Sent,
    /// The process read them.
    Received,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Sent => Self::Received,
            Self::Received => Self::Sent,
        }
    }
}

/// The two ends of a connection, seen from the process that owns the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Endpoints {
    /// TCP over IPv4 or IPv6; a v4-mapped IPv6 address is given as IPv4.
    Tcp {
        /// This end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
        /// Inode number of the network namespace that the socket lives in.
        network_namespace: u32,
    },
    /// An `AF_UNIX` stream socket. The numbers name the two sockets of the pair, scrambled so that
    /// they are no kernel addresses; the other end sees them exchanged.
    Unix {
        /// This end.
        local: u64,
        /// The other end.
        remote: u64,
    },
    /// A TLS connection whose socket is not known: its library gets and gives encrypted bytes in
    /// memory, and who carries them is not certain.
    Unknown,
}

impl Endpoints {
    /// Address of the other end, where it is an IP address.
    #[must_use]
    pub fn remote_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { remote, .. } => Some(remote.ip()),
            Self::Unix { .. } | Self::Unknown => None,
        }
    }
}

/// Bytes that one socket operation moved, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// End of the socket operation.
    pub at: Nanos,
    /// Process that moved them.
    pub pid: Pid,
    /// Thread that moved them.
    pub tid: u32,
    /// What that thread ran.
    pub label: Label,
    /// The socket.
    pub socket: SocketId,
    /// Its two ends.
    pub endpoints: Endpoints,
    /// Which way.
    pub direction: Direction,
    /// Position of the first byte in the stream. For TCP the low 32 bits are the kernel's own
    /// sequence position, on which both ends of a connection agree; higher bits count wraps since
    /// the first operation seen. For `AF_UNIX` it counts from the first operation seen. For TLS it
    /// counts the plain text, and the ends agree on it if both were seen from the start.
    pub position: u64,
    /// The bytes captured, from `position` on. May be empty.
    pub bytes: Bytes,
    /// Bytes that were moved after those but not captured: a gap of known size.
    pub skipped: u64,
    /// The first byte of this direction of the connection is known to be at `position`.
    pub stream_start: bool,
    /// The operation read the end of the stream (the peer will send no more).
    pub end_of_stream: bool,
}

/// What a thread ran when it did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Label {
    /// It is not known.
    #[default]
    Unknown,
    /// The thread itself, which does one thing at a time.
    Thread,
    /// A Python context (`contextvars.Context`), by its name: its address, scrambled. The name is
    /// used again when the context is gone.
    Context(u64),
    /// The same, and its thread has run in it since the thread began. It may be a copy of that of
    /// whoever started the thread, for whom the thread does not work any more.
    ThreadsOwn(u64),
}

/// Something happened to the contexts of a Python process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextEvent {
    /// When.
    pub at: Nanos,
    /// Process.
    pub pid: Pid,
    /// Thread.
    pub tid: u32,
    /// What happened.
    pub change: ContextChange,
}

/// What happened to contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextChange {
    /// One was made. What had its name before is gone.
    Made {
        /// Its name.
        context: u64,
        /// What it is a copy of; [`Label::Unknown`] where it is a copy of none that is known.
        origin: Label,
    },
    /// Some may have been made unseen: what was told of this process before says nothing about
    /// the contexts of now.
    Unseen,
}

/// A change in the life of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionEvent {
    /// When.
    pub at: Nanos,
    /// Process that owns the socket, as far as it is known (the last one that used it).
    pub pid: Pid,
    /// The socket.
    pub socket: SocketId,
    /// Its two ends.
    pub endpoints: Endpoints,
    /// What happened.
    pub change: ConnectionChange,
}

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionChange {
    /// The process began to connect. The local port may not be known yet.
    Connecting,
    /// The connection was refused, timed out, or was unreachable.
    ConnectFailed {
        /// The kernel's error number, positive (`ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`, …).
        errno: i32,
    },
    /// It broke after it was established.
    Broken {
        /// The kernel's error number, positive (`ECONNRESET`, `ETIMEDOUT`, `EPIPE`, …).
        errno: i32,
    },
    /// The other end said that it will send no more (FIN).
    PeerFinished,
    /// This end finished or closed it.
    Closed,
    /// The process began to connect, and it is known who did. (Recordings of version 2 have
    /// [`ConnectionChange::Connecting`] instead.)
    ConnectingIn {
        /// Thread.
        tid: u32,
        /// What ran in it.
        label: Label,
    },
}

impl ConnectionChange {
    /// The process began to connect.
    #[must_use]
    pub fn is_connecting(self) -> bool {
        matches!(self, Self::Connecting | Self::ConnectingIn { .. })
    }
}

/// A change in the life of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEvent {
    /// When.
    pub at: Nanos,
    /// Which.
    pub pid: Pid,
    /// What happened.
    pub change: ProcessChange,
}

/// What happened to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RecordedChange", into = "RecordedChange")]
pub enum ProcessChange {
    /// It was forked.
    Forked {
        /// By whom.
        parent: Pid,
    },
    /// It executes another program now; all that was described before is void.
    Executed,
    /// What it is. Comes before its first data, and again after it executed another program.
    Described(Box<ProcessInfo>),
    /// It is gone.
    Exited,
}

/// What is known of a process, as read from `/proc` when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Path of its executable, as the process sees it.
    pub executable: String,
    /// Short name (`/proc/PID/comm`).
    pub name: String,
    /// Command line without its values: the program and, for an interpreter, the script or
    /// module. Never whole, since arguments carry secrets.
    pub command: Vec<String>,
    /// Path of its cgroup in the v2 hierarchy.
    pub cgroup: String,
    /// Variables that the agent may read (`identity::environment` has the list), sorted by name.
    pub environment: Vec<(String, String)>,
    /// What was read around it.
    #[serde(skip)]
    pub surroundings: Surroundings,
    /// What instruments it from its start on.
    #[serde(skip)]
    pub instrumentation: Option<Instrumentation>,
}

/// Automatic instrumentation of OpenTelemetry that a process is started with, by its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instrumentation {
    /// `opentelemetry-instrument`, or the Operator's, in `PYTHONPATH`.
    Python,
    /// `--require` or `--import` of the package or of the Operator's file.
    Node,
    /// `-javaagent`.
    Java,
    /// The profiler that the environment names.
    DotNet,
}

/// What is around a process: its files, and how its pod looks from within. All that can be read only
/// while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// Name of its container, where the kubelet says it.
    pub container: Option<String>,
    /// Addresses of its pod's own network, in order, but for those that lead nowhere else; `None` in
    /// the node's network.
    pub addresses: Option<Vec<IpAddr>>,
    /// Where it looks first for a host whose name has no dot.
    pub search_domain: Option<String>,
    /// The files of certificates that its environment names.
    pub certificates: Vec<CertificateFile>,
}

/// A file of certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFile {
    /// Its path, as the process's environment names it.
    pub path: String,
    /// Its certificates, as PEM; or why there are none.
    pub pem: Result<Bytes, String>,
}

/// News of a pod of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEvent {
    /// When it was heard of.
    pub at: Nanos,
    /// The pod's UID, in lower case with dashes.
    pub uid: String,
    /// What it is now; `None` where it is observed no more.
    pub pod: Option<Box<PodInfo>>,
}

/// What the API server says of a pod, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PodInfo {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The node that it runs on.
    pub node: Option<String>,
    /// What made it, the nearest that is not made by something else: kind and name.
    pub workload: Option<(String, String)>,
    /// Its labels that identity reads, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Its annotations that identity reads, sorted by key.
    pub annotations: Vec<(String, String)>,
    /// Its containers, in the order of its specification.
    pub containers: Vec<ContainerInfo>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Its name.
    pub name: String,
    /// Id that the runtime gave it last, without the runtime's name.
    pub id: Option<String>,
    /// Its image, as specified.
    pub image: String,
    /// How often it was restarted.
    pub restarts: u32,
    /// It prepares the pod and ends before the others begin.
    pub is_init: bool,
    /// Variables of its specification that the agent may read, sorted by name; not those that are
    /// taken from elsewhere.
    pub environment: Vec<(String, String)>,
}

/// News of who has an address of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerEvent {
    /// When it was heard of.
    pub at: Nanos,
    /// UID of the Service or pod.
    pub uid: String,
    /// What it is now; `None` where it is gone.
    pub peer: Option<Box<PeerInfo>>,
}

/// Whom one calls at some addresses of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct PeerInfo {
    /// The addresses: virtual ones of a Service, or those of a pod.
    pub addresses: Vec<IpAddr>,
    /// What calls itself so at them (`service.name`), as far as that is known.
    pub service_name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the Service, where it is one.
    pub cluster_service: Option<String>,
}
