//! Takes the secrets out of events before they are written to a recording.
//!
//! - **In:** events, in the kernel's order.
//! - **Out:** the same, secrets overwritten with characters of the same number, so that positions,
//!   lengths and the syntax of HTTP and JSON stay as they were.
//! - **Keeps:** per socket and direction, where in which message the stream is, and a scanner.
//! - **Limits:** [`MAX_SOCKETS`], the longest unused is forgotten; some 400 bytes each.
//! - **Loses:** contents that it cannot understand are masked whole: what is not HTTP/1, what follows
//!   a hole in the framing until the other direction speaks, compressed bodies.
//!
//! It makes no difference how the bytes are cut into events. After a hole, what may be the rest of
//! a secret is masked up to a place where a secret that began in the hole must have ended.

mod environment;
mod framing;
mod head;
mod mask;
mod patterns;
mod scanner;
mod tokens;

pub use environment::redact as redact_variable;
pub use tokens::mask_tokens;

use std::collections::VecDeque;

use hashlink::LruCache;

use self::framing::Framing;
use self::head::RequestKind;
use crate::capture::event::{Data, Direction, PodEvent, ProcessChange, ProcessEvent, SocketId};
use crate::settings::RecordedContents;

/// The text with its secrets masked: those in JSON and queries, and those that show by their shape.
#[must_use]
pub fn redact_text(text: String) -> String {
    let mut bytes = text.into_bytes();
    scanner::Scanner::default().redact(&mut bytes);
    // A character is masked whole or not at all, so this is UTF-8 as before.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sockets whose state is kept. One that is forgotten and used again is masked until its next
/// message, so a full table costs contents, never secrets.
const MAX_SOCKETS: usize = 65_536;

/// Takes the secrets out of events.
pub struct Redactor {
    contents: RecordedContents,
    sockets: LruCache<SocketId, Socket>,
    forgotten: u64,
}

/// State of one connection.
#[derive(Default)]
struct Socket {
    sent: Stream,
    received: Stream,
    /// Direction that moved bytes last.
    last: Option<Direction>,
    /// Requests without a final response yet.
    requests: VecDeque<RequestKind>,
}

/// State of one direction.
#[derive(Default)]
struct Stream {
    framing: Framing,
    /// Position after the last byte.
    next: Option<u64>,
}

impl Redactor {
    /// A redactor that knows no connection yet.
    #[must_use]
    pub fn new(contents: RecordedContents) -> Self {
        Self {
            contents,
            sockets: LruCache::new(MAX_SOCKETS),
            forgotten: 0,
        }
    }

    /// Masks the secrets in the bytes of `data`, of which `bytes` is a copy.
    pub fn redact_data(&mut self, data: &Data, bytes: &mut [u8]) {
        if self.sockets.len() == MAX_SOCKETS && !self.sockets.contains_key(&data.socket) {
            self.sockets.remove_lru();
            self.forgotten += 1;
        }
        let socket = self
            .sockets
            .entry(data.socket)
            .or_insert_with(Socket::default);
        let turned = socket.last != Some(data.direction);
        socket.last = Some(data.direction);
        let stream = match data.direction {
            Direction::Sent => &mut socket.sent,
            Direction::Received => &mut socket.received,
        };
        let requests = &mut socket.requests;
        if turned {
            stream.framing.on_turn();
        }
        match stream.next {
            _ if data.stream_start => stream.framing = Framing::default(),
            None => {}
            Some(next) => match data.position.checked_sub(next) {
                Some(0) => {}
                Some(hole) => stream.framing.on_hole(hole, requests),
                None => stream.framing.on_lost(requests),
            },
        }
        stream.framing.redact(bytes, requests, self.contents);
        if data.skipped > 0 {
            stream.framing.on_hole(data.skipped, requests);
        }
        stream.next = Some(
            data.position
                .saturating_add(data.bytes.len() as u64)
                .saturating_add(data.skipped),
        );
    }

    /// Connections that were forgotten because too many were open.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The event with the secrets of the process's environment masked.
    #[must_use]
    pub fn redact_process(&self, event: &ProcessEvent) -> ProcessEvent {
        let mut redacted = event.clone();
        if let ProcessChange::Described(info) = &mut redacted.change {
            for (name, value) in &mut info.environment {
                environment::redact(name, value);
            }
        }
        redacted
    }

    /// The event with the secrets of the containers' environments masked.
    #[must_use]
    pub fn redact_pod(&self, event: &PodEvent) -> PodEvent {
        let mut redacted = event.clone();
        let containers = redacted.pod.iter_mut().flat_map(|pod| &mut pod.containers);
        for (name, value) in containers.flat_map(|container| &mut container.environment) {
            environment::redact(name, value);
        }
        redacted
    }
}

#[cfg(test)]
mod tests;
