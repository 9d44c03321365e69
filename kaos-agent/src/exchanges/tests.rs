//! Tests of stages 2 to 4 together: from events to exchanges.

mod conversation;
mod cuts;
mod ignored;
mod losses;
mod rpc;
mod rules;

use super::exchange::{Exchange, ExchangeEvent};
use super::{ExchangeCounters, Exchanges, Limits, reading};
use crate::capture::event::{Event, SocketId};
use crate::protocols::limits::ProtocolCounters;
use crate::protocols::{self, Protocols};
use crate::streams::{self, StreamCounters, Streams};
use crate::time::Nanos;

/// The three stages.
pub(super) struct Stages {
    streams: Streams,
    protocols: Protocols,
    exchanges: Exchanges,
    told: Vec<ExchangeEvent>,
}

impl Stages {
    pub(super) fn new() -> Self {
        Self::with(protocols::limits::Limits::default())
    }

    fn with(limits: protocols::limits::Limits) -> Self {
        Self {
            streams: Streams::new(streams::Limits::default()),
            protocols: Protocols::new(limits, reading),
            exchanges: Exchanges::new(Limits::default()),
            told: Vec::new(),
        }
    }

    pub(super) fn run(mut self, events: &[Event]) -> Self {
        let mut chunks = Vec::new();
        for event in events {
            self.streams.push(event, &mut chunks);
        }
        self.take(chunks)
    }

    /// The agent stops.
    fn finish(mut self, now: Nanos) -> Self {
        let mut chunks = Vec::new();
        self.streams.finish(now, &mut chunks);
        self.take(chunks)
    }

    fn take(mut self, chunks: Vec<streams::chunk::Chunk>) -> Self {
        let mut parts = Vec::new();
        for chunk in chunks {
            self.protocols.push(chunk, &mut parts);
        }
        for part in parts {
            self.exchanges.push(part, &mut self.told);
        }
        self
    }

    /// Exchanges that ended, in the order in which they did.
    pub(super) fn ended(&self) -> Vec<&Exchange> {
        self.told
            .iter()
            .filter_map(|event| match event {
                ExchangeEvent::Ended(exchange) => Some(&**exchange),
                _ => None,
            })
            .collect()
    }

    /// Exchanges that ended, a line each: target, status, sizes of both bodies, outcome.
    fn lines(&self) -> Vec<String> {
        self.ended().iter().map(|ended| line(ended)).collect()
    }

    fn opaque(&mut self) -> Vec<SocketId> {
        self.protocols.take_opaque()
    }

    fn counters(&self) -> (&StreamCounters, &ProtocolCounters, &ExchangeCounters) {
        (
            self.streams.counters(),
            self.protocols.counters(),
            self.exchanges.counters(),
        )
    }
}

fn line(exchange: &Exchange) -> String {
    let body = |body: &super::exchange::Body| match body.missing_bytes {
        0 => format!("{}", body.wire_bytes),
        missing => format!("{}-{missing}", body.wire_bytes),
    };
    let response = exchange
        .response
        .as_ref()
        .map_or("-".to_string(), |response| {
            format!("{}:{}", response.status, body(&response.body))
        });
    format!(
        "{}:{} {response} {:?}",
        exchange.request.target,
        body(&exchange.request_body),
        exchange.outcome
    )
}

/// Lines of the exchanges that end with these events.
fn told(events: &[Event]) -> Vec<String> {
    Stages::new().run(events).lines()
}
