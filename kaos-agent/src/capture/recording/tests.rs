//! What is written can be read, and whatever is wrong with a file is told.

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::capture::event::{
    CertificateFile, ConnectionChange, ConnectionEvent, ContextChange, ContextEvent, Data,
    Direction, Endpoints, Event, Instrumentation, Label, PeerEvent, PeerInfo, ProcessChange,
    ProcessEvent, ProcessInfo, SocketId, Surroundings,
};
use crate::settings::RecordedContents;
use crate::time::WallOffset;

fn endpoints() -> Endpoints {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8000));
    Endpoints::Tcp {
        local: address,
        remote: address,
        network_namespace: 4,
    }
}

fn data(at: u64, bytes: &[u8]) -> Event {
    Event::Data(Data {
        at,
        pid: 7,
        tid: 8,
        label: Label::Context(9),
        socket: SocketId(at),
        endpoints: endpoints(),
        direction: Direction::Sent,
        position: 1 << 32,
        bytes: Bytes::copy_from_slice(bytes),
        skipped: 3,
        stream_start: true,
        end_of_stream: false,
    })
}

fn events() -> Vec<Event> {
    let info = ProcessInfo {
        executable: "/usr/bin/python3".to_owned(),
        environment: vec![("OTEL_SERVICE_NAME".to_owned(), "agent".to_owned())],
        ..ProcessInfo::default()
    };
    let change = ProcessChange::Described(Box::new(info));
    let refused = ConnectionChange::ConnectFailed { errno: 111 };
    vec![
        Event::Clock {
            at: 1,
            offset: WallOffset(-5),
        },
        Event::Process(ProcessEvent {
            at: 2,
            pid: 7,
            change,
        }),
        data(3, b"GET /a HTTP/1.1\r\n\r\n"),
        data(4, b""),
        Event::Connection(ConnectionEvent {
            at: 5,
            pid: 7,
            socket: SocketId(9),
            endpoints: Endpoints::Unix {
                local: 1,
                remote: 2,
            },
            change: refused,
        }),
        Event::Lost { at: 6, records: 2 },
        Event::Context(ContextEvent {
            at: 7,
            pid: 7,
            tid: 8,
            change: ContextChange::Made {
                context: 9,
                origin: Label::Thread,
            },
        }),
        Event::Peer(PeerEvent {
            at: 8,
            uid: "u".to_owned(),
            peer: Some(Box::new(PeerInfo {
                addresses: vec!["10.96.0.1".parse().unwrap()],
                service_name: "models".to_owned(),
                namespace: "team".to_owned(),
                cluster_service: Some("modelapi-models".to_owned()),
            })),
        }),
        // More than a second later: another block.
        data(2_000_000_000, b"GET /b HTTP/1.1\r\n\r\n"),
    ]
}

struct TestFile {
    path: PathBuf,
    _directory: TempDir,
}

impl TestFile {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self {
            path: directory.path().join("test.kaosrec"),
            _directory: directory,
        }
    }

    fn writer(&self) -> Writer {
        Writer::create(&self.path, RecordedContents::Redactable).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }
}

fn recorded(events: &[Event]) -> Vec<u8> {
    let file = TestFile::new();
    let mut writer = file.writer();
    events.iter().for_each(|event| writer.push(event).unwrap());
    writer.finish().unwrap();
    file.bytes()
}

/// The events that can be read, and the error that follows them.
fn read(recording: &[u8]) -> (Vec<Event>, Option<String>) {
    let mut events = Vec::new();
    let reader = match Reader::new(Cursor::new(recording)) {
        Ok(reader) => reader,
        Err(error) => return (events, Some(error.to_string())),
    };
    for event in reader {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error.to_string())),
        }
    }
    (events, None)
}

fn error(recording: &[u8]) -> String {
    read(recording).1.unwrap()
}

#[test]
fn what_is_written_can_be_read() {
    assert_eq!(read(&recorded(&events())), (events(), None));
    assert_eq!(read(&recorded(&[])), (Vec::new(), None));
}

#[test]
fn what_is_around_a_process_is_kept() {
    let surroundings = Surroundings {
        container: Some("agent".to_owned()),
        addresses: Some(vec!["10.244.0.7".parse().unwrap()]),
        search_domain: Some("team.svc.cluster.local".to_owned()),
        certificates: vec![CertificateFile {
            path: "/ca.pem".to_owned(),
            pem: Ok(Bytes::from_static(b"-----BEGIN")),
        }],
    };
    let info = ProcessInfo {
        cgroup: "/kubepods".to_owned(),
        surroundings,
        ..ProcessInfo::default()
    };
    let described = |info: ProcessInfo| {
        Event::Process(ProcessEvent {
            at: 2,
            pid: 7,
            change: ProcessChange::Described(Box::new(info)),
        })
    };
    let instrumented = |info: &ProcessInfo| ProcessInfo {
        instrumentation: Some(Instrumentation::Python),
        ..info.clone()
    };
    let events = vec![
        described(instrumented(&info)),
        described(instrumented(&ProcessInfo::default())),
        described(info),
        described(ProcessInfo::default()),
    ];
    assert_eq!(read(&recorded(&events)), (events, None));
}

#[test]
fn large_payloads_make_several_blocks() {
    let body = "x".repeat(300_000);
    let request = format!("POST / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n{body}");
    let events: Vec<_> = (1..10).map(|at| data(at, request.as_bytes())).collect();
    assert_eq!(read(&recorded(&events)), (events, None));
}

#[test]
fn what_is_written_is_counted() {
    let file = TestFile::new();
    let mut writer = file.writer();
    events()
        .iter()
        .for_each(|event| writer.push(event).unwrap());
    let counters = writer.finish().unwrap();
    let expected = RecordingCounters {
        events: 9,
        payload_bytes: 38,
        file_bytes: file.bytes().len() as u64,
        connections_forgotten: 0,
    };
    assert_eq!(counters, expected);
}

#[test]
fn secrets_are_not_written() {
    let request = |key: &str| data(1, format!("GET /?key={key} HTTP/1.1\r\n\r\n").as_bytes());
    assert_eq!(read(&recorded(&[request("abc")])).0, [request("***")]);
}

#[test]
fn a_killed_writer_leaves_all_but_the_last_block() {
    let file = TestFile::new();
    let mut writer = file.writer();
    events()
        .iter()
        .for_each(|event| writer.push(event).unwrap());
    let (readable, error) = read(&file.bytes());
    assert_eq!(readable, events()[..8]);
    assert!(
        error
            .unwrap()
            .starts_with("the file ends after record 8 without an end mark")
    );
    writer.tick(3_000_000_000).unwrap();
    assert_eq!(read(&file.bytes()).0, events());
}

#[test]
fn a_writer_that_wrote_nothing_leaves_no_file() {
    let file = TestFile::new();
    drop(file.writer());
    assert!(!file.path.exists());
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let file = TestFile::new();
    std::fs::write(&file.path, "precious").unwrap();
    let error = Writer::create(&file.path, RecordedContents::Redactable)
        .err()
        .unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(file.bytes(), b"precious");
}

#[test]
fn wrong_files_are_told_apart() {
    let recording = recorded(&events());
    assert!(error(b"").starts_with("not a recording"));
    assert!(error(b"{\"resourceSpans\":[]}").starts_with("not a recording"));
    assert!(error(&recording[..12]).starts_with("the header is damaged"));

    let mut other_version = b"KAOSREC\n\x07\x00\x059.9.\n".to_vec();
    let checksum = format::checksum(&[&other_version]);
    other_version.extend_from_slice(&checksum.to_le_bytes());
    assert_eq!(
        error(&other_version),
        "format version 7 of kaos-agent 9.9.\\n is not this one's, which is 5; replay it with \
         kaos-agent 9.9.\\n",
    );
}

#[test]
fn hostile_sizes_allocate_nothing() {
    let mut recording = recorded(&[]);
    recording.truncate(recording.len() - format::BlockHeader::SIZE);
    let hostile = format::BlockHeader {
        compressed_bytes: u32::MAX,
        bytes: 1,
        records: 1,
    };
    recording.extend_from_slice(&hostile.encode(&[]));
    assert!(error(&recording).starts_with("damaged at record 1 (a block's size is impossible)"));
}

#[test]
fn hostile_contents_make_no_sense_but_no_panic() {
    for contents in [
        &b""[..],
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00\x05\x00",
    ] {
        let mut recording = recorded(&[]);
        recording.truncate(recording.len() - format::BlockHeader::SIZE);
        let compressed = zstd::bulk::compress(contents, 1).unwrap();
        let header = format::BlockHeader {
            compressed_bytes: u32::try_from(compressed.len()).unwrap(),
            bytes: 100,
            records: 9,
        };
        recording.extend_from_slice(&header.encode(&compressed));
        recording.extend_from_slice(&compressed);
        assert!(error(&recording).starts_with("damaged at record 1 ("));
    }
}

proptest! {
    #[test]
    fn truncation_is_told(cut in 0.0..1.0) {
        let recording = recorded(&events());
        let length = (recording.len() as f64 * cut) as usize;
        let (readable, error) = read(&recording[..length]);
        prop_assert!(events().starts_with(&readable));
        prop_assert!(error.is_some());
    }

    #[test]
    fn flipped_bits_are_told(place in 0.0..1.0, bit in 0_u8..8) {
        let mut recording = recorded(&events());
        let at = (recording.len() as f64 * place) as usize;
        recording[at] ^= 1_u8 << bit;
        let (readable, error) = read(&recording);
        prop_assert!(events().starts_with(&readable));
        prop_assert!(error.is_some());
    }
}
