//! Records in the ring buffer, from the kernel to user space.
//!
//! Every record begins with a [`Header`]. All are self-contained: losing one affects no other.

/// Most payload bytes in one [`DataRecord`]. Larger operations become several records. A power of
/// two large enough for nearly every HTTP head, small enough to leave the ring shared fairly.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// What a record tells: `Header::kind`.
#[repr(u16)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A [`DataRecord`], cut after its captured bytes.
    Data = 1,
    /// A [`ConnectionRecord`].
    Connection = 2,
    /// A [`ProcessRecord`].
    Process = 3,
    /// A [`ProgramRecord`], cut after its environment.
    Program = 5,
    /// A [`ContextRecord`].
    Context = 4,
    /// A [`CgroupRecord`].
    Cgroup = 10,
}

/// Bytes moved out of the process (else: into it).
pub const FLAG_SENT: u16 = 1;
/// The first byte of this direction of the connection is at `position`.
pub const FLAG_STREAM_START: u16 = 2;
/// A receive saw the end of the stream.
pub const FLAG_END_OF_STREAM: u16 = 4;

/// It is known what ran: the context in the record's `label`, or, where that is 0, the thread itself.
pub const FLAG_LABELLED: u16 = 16;
/// A [`ContextRecord`] of a process that had no context before.
pub const FLAG_FIRST_CONTEXT: u16 = 32;

/// What is [`FLAG_LABELLED`] is the context that its thread has run in since it began.
pub const FLAG_THREADS_OWN: u16 = 64;

/// Beginning of every record.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u16,
    /// `FLAG_*`.
    pub flags: u16,
    /// Thread-group id in the initial pid namespace.
    pub pid: u32,
    /// `CLOCK_MONOTONIC`, ns.
    pub at: u64,
}

/// `Socket::family` of IPv4 sockets and of v4-mapped IPv6 ones.
pub const FAMILY_INET: u8 = 2;
/// `Socket::family` of IPv6 sockets.
pub const FAMILY_INET6: u8 = 10;
/// `Socket::family` of `AF_UNIX` stream sockets.
pub const FAMILY_UNIX: u8 = 1;

/// `Socket::family` of TLS streams whose socket is not known.
pub const FAMILY_UNKNOWN: u8 = 0;

/// Set in the `Socket::cookie` of a TLS stream: what moves there is the plain text inside of TLS, and
/// the rest of the number tells it from all others since boot. The kernel counts its own cookies up
/// from 1 and never comes here.
pub const TLS_STREAM: u64 = 1 << 63;

/// A socket and its two ends.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Socket {
    /// The kernel's socket cookie: unique since boot, never reused. With [`TLS_STREAM`]: a TLS
    /// stream, whose socket the rest describes where it is known.
    pub cookie: u64,
    /// This end's address: 4 bytes of IPv4, 16 of IPv6, or for `AF_UNIX` 8 bytes that name it.
    pub local: [u8; 16],
    /// The other end's, likewise.
    pub remote: [u8; 16],
    /// Inode number of the network namespace.
    pub network_namespace: u32,
    /// This end's port, host byte order.
    pub local_port: u16,
    /// The other end's port, host byte order.
    pub remote_port: u16,
    /// `FAMILY_*`.
    pub family: u8,
    /// Zero.
    pub padding: [u8; 7],
}

/// Beginning of a [`DataRecord`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct DataHead {
    /// Kind [`Kind::Data`].
    pub header: Header,
    /// The socket.
    pub socket: Socket,
    /// Position of the first byte in its stream; the low 32 bits are TCP's own.
    pub position: u64,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Payload bytes in this record.
    pub captured: u32,
    /// Bytes that moved right after those and are not captured in any record.
    pub skipped: u32,
    /// As in [`ContextRecord`]; 0 where the process is not followed.
    pub epoch: u32,
    /// Name of the Python context that ran, where [`FLAG_LABELLED`] says so.
    pub label: u64,
}

/// Bytes that moved, or that they moved.
#[repr(C)]
pub struct DataRecord {
    /// Everything but the bytes.
    pub head: DataHead,
    /// The bytes; only `head.captured` of them are in the ring.
    pub payload: [u8; CHUNK_BYTES],
}

/// What happened to a connection: `ConnectionRecord::change`.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The process began to connect.
    Connecting = 1,
    /// The connect failed; `errno` says why.
    ConnectFailed = 2,
    /// An established connection broke; `errno` says why.
    Broken = 3,
    /// The other end sent its FIN.
    PeerFinished = 4,
    /// This end sent its FIN, or closed.
    Closed = 5,
    /// The socket of a TLS connection is known now, and was not when its last bytes were told.
    Connected = 6,
}

/// A change in the life of a connection.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ConnectionRecord {
    /// Kind [`Kind::Connection`].
    pub header: Header,
    /// The socket.
    pub socket: Socket,
    /// A [`Change`].
    pub change: u32,
    /// Positive error number, or 0.
    pub errno: u32,
    /// Of who connects, as in a [`DataHead`]; else 0.
    pub tid: u32,
    /// As in a [`DataHead`].
    pub epoch: u32,
    /// As in a [`DataHead`].
    pub label: u64,
}

/// What happened to a process: `ProcessRecord::change`.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Forked by `parent`.
    Forked = 1,
    /// Executes another program; told by a [`ProgramRecord`].
    Executed = 2,
    /// The last thread ended.
    Exited = 3,
    /// It was selected by what it did: it began to listen on a selected port, or it was moved
    /// into a selected cgroup.
    Selected = 4,
}

/// The process is a candidate: user space must match its executable.
pub const FLAG_CANDIDATE: u16 = 8;

/// A change in the life of a process.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProcessRecord {
    /// Kind [`Kind::Process`].
    pub header: Header,
    /// A [`Life`].
    pub change: u32,
    /// Parent of a forked process, or 0.
    pub parent: u32,
}

/// Bytes of a program's path, with the terminating zero, that are told: what is longer is read from
/// `/proc`, and few are.
pub const PROGRAM_PATH_BYTES: usize = 256;
/// Bytes of a program's arguments that are told: the program and its script or module are the first.
pub const PROGRAM_ARGUMENTS_BYTES: usize = 1024;
/// Bytes of a program's environment that are told. A pod's has some KiB; with a hundred Services in
/// its namespace it may have more, and is then read from `/proc`.
pub const PROGRAM_ENVIRONMENT_BYTES: usize = 16 * 1024;

/// Beginning of a [`ProgramRecord`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProgramHead {
    /// Kind [`Kind::Program`].
    pub header: Header,
    /// Bytes of `arguments` that are there.
    pub arguments_bytes: u32,
    /// Bytes of the environment in this record.
    pub environment_bytes: u32,
    /// 1: there are more of them, or they could not be read.
    pub environment_cut: u32,
    /// Zero.
    pub padding: u32,
    /// The program's path as it was given to `execve`, of a script its interpreter's; up to the first
    /// zero.
    pub path: [u8; PROGRAM_PATH_BYTES],
    /// The arguments, each with a terminating zero, cut where they are longer.
    pub arguments: [u8; PROGRAM_ARGUMENTS_BYTES],
}

/// A process executes another program ([`Life::Executed`]), and what that was started with: some do
/// not run long enough to be looked at in `/proc`.
#[repr(C)]
pub struct ProgramRecord {
    /// Everything but the environment.
    pub head: ProgramHead,
    /// The environment, each variable with a terminating zero.
    pub environment: [u8; PROGRAM_ENVIRONMENT_BYTES],
}

/// A Python context was made. Contexts are named by their addresses, scrambled; an address is used
/// again when its context is gone.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ContextRecord {
    /// Kind [`Kind::Context`]. Where [`FLAG_LABELLED`] is not set, its origin is not known.
    pub header: Header,
    /// The new one.
    pub context: u64,
    /// The one that it was copied from, or 0 for that of a thread that runs in none.
    pub origin: u64,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Changes when such a record of the process was lost: what was told before says nothing about
    /// the contexts of now.
    pub epoch: u32,
}

/// Bytes of a cgroup's name, with the terminating zero, that are told. Those that hold a pod's UID
/// have at most 80.
pub const CGROUP_NAME_BYTES: usize = 128;

/// A cgroup of the v2 hierarchy was made.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CgroupRecord {
    /// Kind [`Kind::Cgroup`].
    pub header: Header,
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Name of its directory, up to the first zero, cut where it is longer.
    pub name: [u8; CGROUP_NAME_BYTES],
}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<CgroupRecord>() == 24 + CGROUP_NAME_BYTES);
    assert!(size_of::<Socket>() == 56);
    assert!(size_of::<DataHead>() == 104);
    assert!(size_of::<DataRecord>() == 104 + CHUNK_BYTES);
    assert!(size_of::<ConnectionRecord>() == 96);
    assert!(size_of::<ProcessRecord>() == 24);
    assert!(size_of::<ProgramHead>() == 32 + PROGRAM_PATH_BYTES + PROGRAM_ARGUMENTS_BYTES);
    assert!(PROGRAM_ENVIRONMENT_BYTES.is_power_of_two());
    assert!(PROGRAM_ARGUMENTS_BYTES.is_power_of_two());
    assert!(size_of::<ContextRecord>() == 40);
    assert!(CHUNK_BYTES.is_power_of_two());
};
