//! What user space tells the programs before they are loaded, and the values in their maps.

/// Constants of one run, written into the object's read-only data before loading, so that the
/// verifier knows their values.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Where the kernel keeps the registers of a syscall.
    pub registers: Registers,
    /// Random; scrambles kernel addresses that name `AF_UNIX` sockets.
    pub scramble: u64,
    /// Bytes in the ring from which on the reader is woken instead of waiting for its timer.
    pub wake_bytes: u64,
    /// Where the kernel keeps what we read.
    pub offsets: Offsets,
    /// Bytes captured at the head of a message.
    pub head_bytes: u32,
    /// Bytes captured at the tail of each larger socket operation.
    pub tail_bytes: u32,
    /// 1: every process is selected that is not excluded.
    pub select_all: u32,
    /// 1: a process that executes a program is a candidate until user space has matched its path.
    pub match_executables: u32,
    /// `CGROUPS_*`, or 0 where nothing is selected by cgroup.
    pub match_cgroups: u32,
    /// 1: the map of ports is not empty.
    pub match_ports: u32,
    /// Inode number of the agent's pid namespace: processes are named by their numbers in it. 0 for the
    /// initial one.
    pub pid_namespace: u32,
}

/// Where saved registers hold the arguments of a syscall or of a function and its result, and how a
/// 64-bit process is told. Members of `struct pt_regs` but for the thread pointer, whose names differ between architectures.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// The syscall's number, 32 bits of it.
    pub syscall: u32,
    /// Its second argument.
    pub second: u32,
    /// Its third argument.
    pub third: u32,
    /// The first four arguments of a function, which are next to each other.
    pub arguments: u32,
    /// 1: the fourth comes first.
    pub arguments_from_last: u32,
    /// Its result.
    pub result: u32,
    /// The register that tells the mode of the process.
    pub mode: u32,
    /// Where a `task_struct` keeps the thread pointer of user space.
    pub thread_pointer: u32,
    /// Bits of it that count.
    pub mode_mask: u64,
    /// What they are for a 64-bit process.
    pub mode_64_bit: u64,
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident = $structure:literal $path:literal,)*) => {
        /// Byte offsets of kernel fields, from the running kernel's BTF.
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Offsets {
            $($(#[$doc])* pub $name: u32,)*
        }

        impl Offsets {
    /// What to look for in BTF: structure, path of members (none: the structure's size), and
            /// where the offset goes.
            pub const FIELDS: &'static [(&'static str, &'static str, fn(&mut Offsets) -> &mut u32)] =
                &[$(($structure, $path, |offsets| &mut offsets.$name),)*];
        }
    };
}

offsets! {
    /// Address family.
    sock_family = "sock" "__sk_common.skc_family",
    /// TCP state.
    sock_state = "sock" "__sk_common.skc_state",
    /// Local port, host byte order.
    sock_local_port = "sock" "__sk_common.skc_num",
    /// Remote port, network byte order.
    sock_remote_port = "sock" "__sk_common.skc_dport",
    /// Local IPv4 address.
    sock_local_ip4 = "sock" "__sk_common.skc_rcv_saddr",
    /// Remote IPv4 address.
    sock_remote_ip4 = "sock" "__sk_common.skc_daddr",
    /// Local IPv6 address.
    sock_local_ip6 = "sock" "__sk_common.skc_v6_rcv_saddr",
    /// Remote IPv6 address.
    sock_remote_ip6 = "sock" "__sk_common.skc_v6_daddr",
    /// Network namespace.
    sock_net = "sock" "__sk_common.skc_net.net",
    /// Socket cookie, 0 until somebody asked for it.
    sock_cookie = "sock" "__sk_common.skc_cookie",
    /// Socket type (`SOCK_STREAM`), 16 bits.
    sock_type = "sock" "sk_type",
    /// Protocol, 16 bits.
    sock_protocol = "sock" "sk_protocol",
    /// Pending error, positive.
    sock_error = "sock" "sk_err",
    /// `RCV_SHUTDOWN` and `SEND_SHUTDOWN`.
    sock_shutdown = "sock" "sk_shutdown",
    /// Inode number of a network namespace.
    net_inode = "net" "ns.inum",
    /// End of what was written.
    tcp_write_seq = "tcp_sock" "write_seq",
    /// End of what was read.
    tcp_copied_seq = "tcp_sock" "copied_seq",
    /// End of what was received.
    tcp_rcv_nxt = "tcp_sock" "rcv_nxt",
    /// First byte not acknowledged.
    tcp_snd_una = "tcp_sock" "snd_una",
    /// Bytes received since the start.
    tcp_bytes_received = "tcp_sock" "bytes_received",
    /// Bytes acknowledged since the start.
    tcp_bytes_acked = "tcp_sock" "bytes_acked",
    /// Other socket of a pair.
    unix_peer = "unix_sock" "peer",
    /// Process of a thread.
    task_tgid = "task_struct" "tgid",
    /// First thread of a process.
    task_leader = "task_struct" "group_leader",
    /// Numbers of a thread, one for each pid namespace that it is in.
    task_numbers = "task_struct" "thread_pid",
    /// How deep the innermost of them is; the initial one is 0.
    numbers_level = "pid" "level",
    /// The numbers, from the initial namespace inwards.
    numbers_list = "pid" "numbers",
    /// One of them.
    number_value = "upid" "nr",
    /// Its namespace.
    number_namespace = "upid" "ns",
    /// How far they are apart.
    number_bytes = "upid" "",
    /// Inode number of a pid namespace.
    pid_namespace_inode = "pid_namespace" "ns.inum",
    /// What the threads of a process share.
    task_signal = "task_struct" "signal",
    /// Memory of a process.
    task_memory = "task_struct" "mm",
    /// Where its arguments begin.
    memory_arguments = "mm_struct" "arg_start",
    /// Where its arguments end.
    memory_arguments_end = "mm_struct" "arg_end",
    /// Where its environment begins.
    memory_environment = "mm_struct" "env_start",
    /// Where its environment ends.
    memory_environment_end = "mm_struct" "env_end",
    /// Path of the program that is executed.
    program_path = "linux_binprm" "interp",
    /// Cgroups of a task.
    task_cgroups = "task_struct" "cgroups",
    /// Threads of a process that are alive.
    signal_live = "signal_struct" "live",
    /// Cgroup of a set in the v2 hierarchy.
    css_set_default = "css_set" "dfl_cgrp",
    /// Directory of a cgroup.
    cgroup_node = "cgroup" "kn",
    /// Hierarchy of a cgroup.
    cgroup_root = "cgroup" "root",
    /// Its parent, as the embedded state of the core.
    cgroup_parent = "cgroup" "self.parent",
    /// Number of a hierarchy; the v2 hierarchy is 0.
    root_hierarchy = "cgroup_root" "hierarchy_id",
    /// Id of a directory: what `bpf_get_current_cgroup_id` and the inode number say.
    node_id = "kernfs_node" "id",
    /// Name of a directory, without those above it.
    node_name = "kernfs_node" "name",
}

/// Bit of `Settings::match_cgroups`: the map of cgroups is not empty, or may become so.
pub const CGROUPS_MATCH: u32 = 1;
/// Bit of `Settings::match_cgroups`: user space wants to know of new cgroups.
pub const CGROUPS_TELL: u32 = 2;

/// Where a syscall keeps its buffer: values of the map of syscalls.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferShape {
    /// The second argument points to the bytes.
    Plain = 1,
    /// The second argument points to `iovec`s, the third says how many.
    Vector = 2,
    /// The second argument points to a `msghdr`.
    Message = 3,
}

/// What a probed function of a TLS library does: the cookie of its probes.
///
/// The functions' first argument is the connection (`SSL *`), then come, where bytes are moved, their
/// buffer and its length.
#[repr(u64)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFunction {
    /// Reads; returns how many bytes, 0 at the end of the stream.
    Read = 1,
    /// Reads; returns 1 where it did, and writes how many bytes through its fourth argument.
    ReadEx = 2,
    /// As `ReadEx`, but returns 0 only at the end of the stream.
    ReadInner = 3,
    /// Writes; returns how many bytes.
    Write = 4,
    /// Writes; returns 1 where it did, and writes how many bytes through its fourth argument.
    WriteEx = 5,
    /// Makes a connection and returns it.
    New = 6,
    /// Makes a connection new again.
    Clear = 7,
    /// Frees a connection.
    Free = 8,
    /// Moves early data, by calling one of the others.
    Early = 9,
}

/// Entries of the map of syscalls: numbers at or above it have no buffer that we read.
pub const SYSCALL_NUMBERS: u32 = 512;

/// Places of the table of sockets of which nothing is looked at any more, a power of two. Two that
/// share one cost look-ups.
pub const SETTLED_SOCKETS: u32 = 4096;
const _: () = assert!(SETTLED_SOCKETS.is_power_of_two());

/// Bytes of a value of the maps of connections, which only the programs read.
pub const CONNECTION_BYTES: usize = 96;
/// Bytes of a key of the map of TLS connections.
pub const TLS_KEY_BYTES: usize = 16;

/// Stated defaults of the maps' sizes and of the budgets.
pub mod defaults {
    /// Ring buffer: an eighth of a second of 5 000 exchanges a second with 10 KiB each; the reader
    /// is woken long before. Its pages are mapped twice, so they count double as resident memory.
    pub const RING_BYTES: u32 = 8 * 1024 * 1024;
    /// Connections followed at a time, the least recently used one goes first: a busy node's
    /// agents have some hundreds.
    pub const CONNECTIONS: u32 = 16_384;
    /// Processes followed at a time.
    pub const PROCESSES: u32 = 32_768;
    /// Cgroups followed at a time.
    pub const CGROUPS: u32 = 8_192;
    /// Threads that use a TLS library at a time; calls of more are not seen, and are counted.
    pub const TLS_CALLS: u32 = 4_096;
    /// Listening ports that can be selected.
    pub const PORTS: u32 = 1_024;
    /// Ports of collectors: a node has one, or a few.
    pub const HTTP2_PORTS: u32 = 64;
    /// Head of a message: more than a request with its system prompt and tools usually has.
    pub const HEAD_BYTES: u32 = 64 * 1024;
    /// Tail of a large operation: `usage` stands last in a model's answer.
    pub const TAIL_BYTES: u32 = 16 * 1024;
    /// Most that either budget can be set to.
    pub const MOST_BUDGET_BYTES: u32 = 1024 * 1024;
}

const _: () = assert!(size_of::<Settings>() == size_of::<Offsets>() + size_of::<Registers>() + 44);
const _: () = assert!(size_of::<Registers>() == 48 && align_of::<Settings>() == 8);
