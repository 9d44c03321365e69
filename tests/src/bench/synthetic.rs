//! Recordings that are made up, for `replay`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use kaos_agent::capture::event::{
    Data, Direction, Endpoints, Event, Label, ProcessChange, ProcessEvent, ProcessInfo, SocketId,
};
use kaos_agent::capture::recording::Writer;
use kaos_agent::settings::RecordedContents;
use kaos_agent::time::WallOffset;

/// Exchanges that a server serves over some connections in turn.
#[derive(Debug, Clone, Copy)]
pub struct Exchanges {
    /// Name of the file.
    pub name: &'static str,
    /// How many.
    pub count: u32,
    /// Bytes of a request's body.
    request_bytes: usize,
    /// Bytes of a response's body.
    response_bytes: usize,
}

/// Chats with some history: a request of 24 KiB, an answer of 4 KiB.
pub const CHAT: Exchanges = Exchanges {
    name: "chat",
    count: 20_000,
    request_bytes: 24 << 10,
    response_bytes: 4 << 10,
};

/// The smallest that are usual: a question and an answer in a few bytes.
pub const SMALL: Exchanges = Exchanges {
    name: "small",
    count: 100_000,
    request_bytes: 16,
    response_bytes: 16,
};

const PID: u32 = 4242;
/// Connections that take turns, each with one exchange at a time.
const CONNECTIONS: u32 = 64;
/// Between two events, ns.
const STEP: u64 = 10_000;
/// Most payload bytes in one event: what a record of the ring holds.
const CHUNK_BYTES: usize = 16 << 10;

impl Exchanges {
    /// Fewer of the same.
    pub fn reduced(self, divisor: u32) -> Self {
        Self {
            count: self.count / divisor,
            ..self
        }
    }

    /// Writes the recording.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn record(&self, file: &Path) {
        let mut writer =
            Writer::create(file, RecordedContents::Redactable).expect("it is a new file");
        let mut push = |event| writer.push(&event).expect("the file is writable");
        push(Event::Clock {
            at: 1,
            offset: WallOffset(1_700_000_000_000_000_000),
        });
        push(Event::Process(ProcessEvent {
            at: 1,
            pid: PID,
            change: ProcessChange::Described(Box::new(ProcessInfo {
                executable: "/usr/bin/server".to_owned(),
                name: "server".to_owned(),
                ..ProcessInfo::default()
            })),
        }));
        let mut at = STEP;
        let mut positions = vec![(0, 0); CONNECTIONS as usize];
        for number in 0..self.count {
            let connection = number % CONNECTIONS;
            let (read, written) = &mut positions[connection as usize];
            for (direction, position, operations) in [
                (Direction::Received, read, self.request(number)),
                (Direction::Sent, written, self.response(number)),
            ] {
                for bytes in &operations {
                    push(data(connection, direction, *position, at, bytes));
                    *position += bytes.len() as u64;
                    at += STEP;
                }
            }
        }
        writer.finish().expect("the file is writable");
    }

    /// Bytes of one request and its response.
    pub fn bytes_per_exchange(&self) -> usize {
        [self.request(0), self.response(0)]
            .iter()
            .flatten()
            .map(Bytes::len)
            .sum()
    }

    /// Bytes of all.
    pub fn payload_bytes(&self) -> u64 {
        u64::from(self.count) * self.bytes_per_exchange() as u64
    }

    fn request(&self, number: u32) -> Vec<Bytes> {
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: model:8000\r\naccept: */*\r\n\
             accept-encoding: gzip, deflate\r\nconnection: keep-alive\r\n\
             user-agent: python-httpx/0.28.1\r\ncontent-length: {}\r\n\
             content-type: application/json\r\n\r\n",
            self.request_bytes
        );
        operations(head, body(self.request_bytes, number))
    }

    fn response(&self, number: u32) -> Vec<Bytes> {
        let head = format!(
            "HTTP/1.1 200 OK\r\ndate: Fri, 02 Jan 2026 03:04:05 GMT\r\nserver: uvicorn\r\n\
             content-length: {}\r\ncontent-type: application/json\r\n\r\n",
            self.response_bytes
        );
        operations(head, body(self.response_bytes, !number))
    }
}

/// Heads and bodies are operations of their own, as Python's servers and clients make them.
fn operations(head: String, body: Vec<u8>) -> Vec<Bytes> {
    let body = Bytes::from(body);
    let chunks = (0..body.len()).step_by(CHUNK_BYTES);
    let chunks = chunks.map(|from| body.slice(from..body.len().min(from + CHUNK_BYTES)));
    std::iter::once(Bytes::from(head)).chain(chunks).collect()
}

/// JSON of exactly this many bytes, different for each seed: text that compresses like text.
fn body(bytes: usize, seed: u32) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "agent ",
        "model ",
        "answer ",
        "question ",
        "weather ",
        "tomorrow ",
        "tool ",
        "result ",
        "the ",
        "of ",
        "and ",
        "is ",
        "what ",
        "because ",
        "seven ",
        "number ",
    ];
    let (before, after) = (r#"{"text":""#, r#""}"#);
    let mut text = before.to_owned();
    let mut state = u64::from(seed);
    while text.len() < bytes {
        // Knuth's linear congruential generator (MMIX); its high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(state >> 60) as usize]);
    }
    text.truncate(bytes - after.len());
    text.push_str(after);
    text.into_bytes()
}

fn data(connection: u32, direction: Direction, position: u64, at: u64, bytes: &Bytes) -> Event {
    // Ports of clients begin where the kernel takes them from.
    let port = 32_768 + u16::try_from(connection).expect("there are few connections");
    Event::Data(Data {
        at,
        pid: PID,
        tid: PID,
        label: Label::Unknown,
        socket: SocketId(u64::from(connection) + 1),
        endpoints: Endpoints::Tcp {
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            network_namespace: 1,
        },
        direction,
        position,
        bytes: bytes.clone(),
        skipped: 0,
        stream_start: position == 0,
        end_of_stream: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaos_agent::capture::recording::Reader;

    #[test]
    fn a_recording_holds_all_payload() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("recording");
        let exchanges = Exchanges { count: 130, ..CHAT };
        exchanges.record(&file);
        let payload: u64 = Reader::open(&file)
            .expect("a recording")
            .map(|event| match event.expect("it is whole") {
                Event::Data(data) => data.bytes.len() as u64,
                _ => 0,
            })
            .sum();
        assert_eq!(payload, exchanges.payload_bytes());
        assert_eq!(body(16, 0).len(), 16);
    }
}
