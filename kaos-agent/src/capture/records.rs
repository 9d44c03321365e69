//! Ring-buffer records to what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use kaos_ebpf::python::ThreadRecord;
use kaos_ebpf::record::{
    CgroupRecord, Change, ConnectionRecord, ContextRecord, DataHead, FAMILY_INET, FAMILY_INET6,
    FAMILY_UNIX, FAMILY_UNKNOWN, FLAG_CANDIDATE, FLAG_END_OF_STREAM, FLAG_FIRST_CONTEXT,
    FLAG_LABELLED, FLAG_SENT, FLAG_STREAM_START, FLAG_THREADS_OWN, Header, Kind, Life,
    ProcessRecord, ProgramHead, Socket,
};

use super::event::{
    ConnectionChange, ConnectionEvent, Data, Direction, Endpoints, Label, Pid, SocketId,
};
use super::processes::Program;
use crate::time::Nanos;

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// Bytes moved.
    Data(Data, Epoch),
    /// A connection changed.
    Connection(ConnectionEvent, Epoch),
    /// The ends of a TLS connection are known now, and were not when its last bytes were told.
    Connected(SocketId, Endpoints),
    /// A process changed.
    Process(ProcessNews),
    /// A process executes another program.
    Program(ProcessNews, Box<Program>),
    /// A Python context was made.
    Context(ContextNews),
    /// A cgroup was made.
    Cgroup(CgroupNews),
}

/// Changes when contexts of a Python process may have been made unseen.
pub type Epoch = u32;

/// A Python context was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextNews {
    /// When.
    pub at: Nanos,
    /// Process.
    pub pid: Pid,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub context: u64,
    /// What it is a copy of.
    pub origin: Label,
    /// The process's.
    pub epoch: Epoch,
    /// The process had none before, and it was not known where it would keep them.
    pub first: bool,
}

/// A new cgroup of the v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupNews {
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Name of its directory, cut where it is longer than any that holds a pod's UID.
    pub name: String,
}

/// News of a process, before user space has looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessNews {
    /// When.
    pub at: Nanos,
    /// Which.
    pub pid: Pid,
    /// Its parent, for a fork.
    pub parent: Pid,
    /// What happened.
    pub life: Life,
    /// Its executable must still be matched.
    pub candidate: bool,
}

/// Reads a record; `None` for one that our own programs cannot have written.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Record> {
    let header: Header = read(bytes)?;
    if header.kind == Kind::Data as u16 {
        data(bytes).map(|(data, epoch)| Record::Data(data, epoch))
    } else if header.kind == Kind::Connection as u16 {
        connection(bytes)
    } else if header.kind == Kind::Process as u16 {
        process(bytes).map(Record::Process)
    } else if header.kind == Kind::Program as u16 {
        program(bytes)
    } else if header.kind == Kind::Context as u16 {
        context(bytes).map(Record::Context)
    } else if header.kind == Kind::Cgroup as u16 {
        cgroup(bytes).map(Record::Cgroup)
    } else {
        None
    }
}

fn data(bytes: &[u8]) -> Option<(Data, Epoch)> {
    let head: DataHead = read(bytes)?;
    let payload = bytes.get(size_of::<DataHead>()..)?;
    let payload = payload.get(..head.captured as usize)?;
    let flags = head.header.flags;
    let data = Data {
        at: head.header.at,
        pid: head.header.pid,
        tid: head.tid,
        label: label(flags, head.label),
        socket: SocketId(head.socket.cookie),
        endpoints: endpoints(&head.socket)?,
        direction: if flags & FLAG_SENT != 0 {
            Direction::Sent
        } else {
            Direction::Received
        },
        position: head.position,
        bytes: Bytes::copy_from_slice(payload),
        skipped: u64::from(head.skipped),
        stream_start: flags & FLAG_STREAM_START != 0,
        end_of_stream: flags & FLAG_END_OF_STREAM != 0,
    };
    Some((data, head.epoch))
}

fn context(bytes: &[u8]) -> Option<ContextNews> {
    let record: ContextRecord = read(bytes)?;
    Some(ContextNews {
        at: record.header.at,
        pid: record.header.pid,
        tid: record.tid,
        context: record.context,
        origin: label(record.header.flags, record.origin),
        epoch: record.epoch,
        first: record.header.flags & FLAG_FIRST_CONTEXT != 0,
    })
}

fn label(flags: u16, context: u64) -> Label {
    match context {
        _ if flags & FLAG_LABELLED == 0 => Label::Unknown,
        0 => Label::Thread,
        context if flags & FLAG_THREADS_OWN != 0 => Label::ThreadsOwn(context),
        context => Label::Context(context),
    }
}

fn connection(bytes: &[u8]) -> Option<Record> {
    let record: ConnectionRecord = read(bytes)?;
    let errno = i32::try_from(record.errno).ok()?;
    let socket = SocketId(record.socket.cookie);
    let endpoints = endpoints(&record.socket)?;
    let change = match record.change {
        change if change == Change::Connected as u32 => {
            return Some(Record::Connected(socket, endpoints));
        }
        change if change == Change::Connecting as u32 => ConnectionChange::ConnectingIn {
            tid: record.tid,
            label: label(record.header.flags, record.label),
        },
        change if change == Change::ConnectFailed as u32 => {
            ConnectionChange::ConnectFailed { errno }
        }
        change if change == Change::Broken as u32 => ConnectionChange::Broken { errno },
        change if change == Change::PeerFinished as u32 => ConnectionChange::PeerFinished,
        change if change == Change::Closed as u32 => ConnectionChange::Closed,
        _ => return None,
    };
    let event = ConnectionEvent {
        at: record.header.at,
        pid: record.header.pid,
        socket,
        endpoints,
        change,
    };
    Some(Record::Connection(event, record.epoch))
}

fn process(bytes: &[u8]) -> Option<ProcessNews> {
    let record: ProcessRecord = read(bytes)?;
    let life = [Life::Forked, Life::Exited, Life::Selected]
        .into_iter()
        .find(|life| *life as u32 == record.change)?;
    Some(ProcessNews {
        at: record.header.at,
        pid: record.header.pid,
        parent: record.parent,
        life,
        candidate: record.header.flags & FLAG_CANDIDATE != 0,
    })
}

fn program(bytes: &[u8]) -> Option<Record> {
    let head: ProgramHead = read(bytes)?;
    let path = head.path.split(|byte| *byte == 0).next()?;
    let arguments = head.arguments.get(..head.arguments_bytes as usize)?;
    let environment = bytes.get(size_of::<ProgramHead>()..)?;
    let environment = environment.get(..head.environment_bytes as usize)?;
    let program = Program::new(path, arguments, environment, head.environment_cut == 0);
    let news = ProcessNews {
        at: head.header.at,
        pid: head.header.pid,
        parent: 0,
        life: Life::Executed,
        candidate: head.header.flags & FLAG_CANDIDATE != 0,
    };
    Some(Record::Program(news, Box::new(program)))
}

fn cgroup(bytes: &[u8]) -> Option<CgroupNews> {
    let record: CgroupRecord = read(bytes)?;
    let name = record.name.split(|byte| *byte == 0).next()?;
    Some(CgroupNews {
        id: record.id,
        name: String::from_utf8_lossy(name).into_owned(),
    })
}

fn endpoints(socket: &Socket) -> Option<Endpoints> {
    let address = |bytes: &[u8; 16], port| {
        let ip = match socket.family {
            FAMILY_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
            // A dual-stack socket shows IPv4 peers as v4-mapped addresses.
            _ => IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical(),
        };
        SocketAddr::new(ip, port)
    };
    match socket.family {
        FAMILY_INET | FAMILY_INET6 => Some(Endpoints::Tcp {
            local: address(&socket.local, socket.local_port),
            remote: address(&socket.remote, socket.remote_port),
            network_namespace: socket.network_namespace,
        }),
        FAMILY_UNIX => Some(Endpoints::Unix {
            local: name(&socket.local),
            remote: name(&socket.remote),
        }),
        FAMILY_UNKNOWN if SocketId(socket.cookie).is_tls() => Some(Endpoints::Unknown),
        _ => None,
    }
}

fn name(bytes: &[u8; 16]) -> u64 {
    let (name, _) = bytes.split_first_chunk().expect("sixteen bytes hold eight");
    u64::from_ne_bytes(*name)
}

/// Marks the record types, all of them plain integers without padding.
trait Plain: Copy {}
impl Plain for Header {}
impl Plain for DataHead {}
impl Plain for ConnectionRecord {}
impl Plain for ProcessRecord {}
impl Plain for ProgramHead {}
impl Plain for CgroupRecord {}
impl Plain for ContextRecord {}
impl Plain for ThreadRecord {}

/// Threads, as the iterator over them tells them.
#[must_use]
pub fn parse_threads(bytes: &[u8]) -> Vec<ThreadRecord> {
    let records = bytes.chunks_exact(size_of::<ThreadRecord>());
    records.filter_map(read).collect()
}

fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: there are enough bytes, any bits are a value of a plain type, and the read does not
    // ask for alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use kaos_ebpf::record::{PROGRAM_ARGUMENTS_BYTES, PROGRAM_PATH_BYTES};

    use super::*;

    fn bytes_of<T: Plain>(record: &T) -> Vec<u8> {
        let start: *const T = record;
        // SAFETY: a plain type has no padding, so all its bytes are initialised.
        unsafe { std::slice::from_raw_parts(start.cast::<u8>(), size_of::<T>()) }.to_vec()
    }

    fn socket(family: u8, local: &[u8], remote: &[u8]) -> Socket {
        let mut socket = Socket {
            cookie: 7,
            family,
            local_port: 8000,
            remote_port: 40_000,
            network_namespace: 5,
            ..Socket::default()
        };
        socket.local[..local.len()].copy_from_slice(local);
        socket.remote[..remote.len()].copy_from_slice(remote);
        socket
    }

    fn head(flags: u16, captured: u32) -> DataHead {
        DataHead {
            header: Header {
                kind: Kind::Data as u16,
                flags,
                pid: 1,
                at: 2,
            },
            socket: socket(FAMILY_INET, &[127, 0, 0, 1], &[10, 0, 0, 2]),
            position: 1 << 32,
            tid: 3,
            captured,
            skipped: 9,
            epoch: 4,
            label: 11,
        }
    }

    #[test]
    fn data_is_read_whole() {
        let mut bytes = bytes_of(&head(FLAG_SENT | FLAG_STREAM_START | FLAG_LABELLED, 3));
        bytes.extend_from_slice(b"GETxx");
        let Some(Record::Data(data, epoch)) = parse(&bytes) else {
            panic!("it is data");
        };
        assert_eq!(data.bytes, "GET");
        assert_eq!((data.pid, data.tid, data.at, data.skipped), (1, 3, 2, 9));
        assert_eq!((data.label, epoch), (Label::Context(11), 4));
        assert_eq!(data.direction, Direction::Sent);
        assert!(data.stream_start && !data.end_of_stream);
        assert_eq!(
            data.endpoints,
            Endpoints::Tcp {
                local: "127.0.0.1:8000".parse().expect("an address"),
                remote: "10.0.0.2:40000".parse().expect("an address"),
                network_namespace: 5,
            }
        );
    }

    #[test]
    fn a_program_is_read_whole() {
        let mut head = ProgramHead {
            header: Header {
                kind: Kind::Program as u16,
                flags: FLAG_CANDIDATE,
                pid: 1,
                at: 2,
            },
            arguments_bytes: 21,
            environment_bytes: 25,
            environment_cut: 0,
            padding: 0,
            path: [0; PROGRAM_PATH_BYTES],
            arguments: [0; PROGRAM_ARGUMENTS_BYTES],
        };
        head.path[..15].copy_from_slice(b"/usr/bin/python");
        head.arguments[..21].copy_from_slice(b"python\0-m\0agent\0-key\0");
        let mut bytes = bytes_of(&head);
        bytes.extend_from_slice(b"AGENT_NAME=a\0SECRET=b\0X=\0");
        let Some(Record::Program(news, program)) = parse(&bytes) else {
            panic!("it is a program");
        };
        assert_eq!((news.pid, news.at, news.life), (1, 2, Life::Executed));
        assert!(news.candidate);
        let expected = Program::new(
            b"/usr/bin/python",
            b"python\0-m\0agent\0-key\0",
            b"AGENT_NAME=a\0SECRET=b\0X=\0",
            true,
        );
        assert_eq!(*program, expected);
        assert_eq!(parse(&bytes[..bytes.len() - 2]), None, "it is cut");
    }

    #[test]
    fn v4_mapped_addresses_are_ipv4() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        let Some(Endpoints::Tcp { remote, .. }) =
            endpoints(&socket(FAMILY_INET6, &mapped, &mapped))
        else {
            panic!("it is TCP");
        };
        assert_eq!(remote.to_string(), "127.0.0.1:40000");
    }

    #[test]
    fn short_and_foreign_records_are_refused() {
        let whole = bytes_of(&head(0, 0));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(parse(&bytes_of(&head(0, 1))), None, "payload is missing");
        let mut foreign = whole;
        foreign[0] = 99;
        assert_eq!(parse(&foreign), None);
    }
}
