//! Stages 2 to 6 in a row.

use std::sync::Arc;

use super::collectors::Collectors;
use crate::capture::event::{
    ConnectionChange, ConnectionEvent, Direction, Endpoints, Event, Pid, SocketId,
};
use crate::exchanges::Exchanges;
use crate::exchanges::exchange::ExchangeEvent;
use crate::health::counters::Counters;
use crate::identity::identities::{AgentDefaults, Identities, Warning};
use crate::identity::service::Service;
use crate::protocols::Protocols;
use crate::protocols::part::Part;
use crate::runs::Runs;
use crate::runs::beside::News;
use crate::runs::span::FinishedSpan;
use crate::streams::Streams;
use crate::streams::chunk::Chunk;
use crate::telemetry::{Signal, Telemetry};
use crate::time::Nanos;

/// How often, in event time, the stages look for what has waited long enough. Short against every
/// wait that they know (the shortest is a tenth of a second), long against the work of looking.
const TICK: Nanos = 50_000_000;

/// What the stages need to know.
#[derive(Debug)]
pub struct StageSettings {
    /// What holds for processes that say nothing of their own.
    pub defaults: AgentDefaults,
    /// Connections that are followed at once.
    pub max_connections: usize,
    /// Seed of trace and span ids: random for a live agent, fixed for a replay.
    pub seed: u64,
}

/// Stages 2 to 6 in a row: events in, signals out. Without clock, I/O or randomness: the same
/// events and seed give the same signals.
pub struct Stages {
    streams: Streams,
    protocols: Protocols,
    exchanges: Exchanges,
    identities: Identities,
    runs: Runs,
    telemetry: Telemetry,
    collectors: Collectors,
    last_tick: Nanos,
    warnings: Vec<Warning>,
    // Between two stages; empty between two calls, kept for their memory.
    chunks: Vec<Chunk>,
    parts: Vec<Part>,
    exchange_events: Vec<ExchangeEvent>,
    spans: Vec<FinishedSpan>,
}

impl Stages {
    /// Has seen nothing yet.
    #[must_use]
    pub fn new(settings: StageSettings) -> Self {
        Self {
            streams: Streams::new(crate::streams::Limits {
                connections: settings.max_connections,
                ..crate::streams::Limits::default()
            }),
            protocols: Protocols::new(
                crate::protocols::limits::Limits::default(),
                crate::exchanges::reading,
            ),
            exchanges: Exchanges::new(crate::exchanges::Limits::default()),
            identities: Identities::new(settings.defaults),
            runs: Runs::new(crate::runs::Limits::default(), settings.seed),
            telemetry: Telemetry::new(),
            collectors: Collectors::default(),
            last_tick: 0,
            warnings: Vec::new(),
            chunks: Vec::new(),
            parts: Vec::new(),
            exchange_events: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Something happened; appends what there is to export because of it.
    pub fn push(&mut self, event: &Event, signals: &mut Vec<Signal>) {
        match event {
            Event::Process(process) => {
                self.identities.push(process, &mut self.warnings);
                if let Some(service) = self.identities.service(process.pid) {
                    self.collectors.service(&service);
                }
            }
            Event::Pod(pod) => self.identities.push_pod(pod, &mut self.warnings),
            Event::Peer(peer) => self.identities.push_peer(peer),
            Event::Clock { offset, .. } => self.runs.clock(*offset),
            Event::Context(context) => self.runs.context(context),
            Event::Connection(connection) => self.connection(connection),
            Event::Data(data) if data.direction == Direction::Sent => {
                if self.leads_to_collector(data.pid, &data.endpoints) && self.collectors.sent(data)
                {
                    self.exports_spans(data.pid);
                }
            }
            Event::Data(_) | Event::Lost { .. } => {}
        }
        // Of contexts there are the most by far, and nothing comes out of them by themselves.
        if !matches!(event, Event::Context(_)) {
            self.streams.push(event, &mut self.chunks);
            self.flow(signals);
        }
        let at = event.at();
        if at >= self.last_tick + TICK {
            self.tick(at, signals);
        }
    }

    /// Time goes by; appends what has waited long enough.
    pub fn tick(&mut self, now: Nanos, signals: &mut Vec<Signal>) {
        self.last_tick = self.last_tick.max(now);
        self.identities.tick(now);
        for pid in self.collectors.unread(now) {
            self.exports_spans(pid);
        }
        self.streams.tick(now, &mut self.chunks);
        self.flow(signals);
        self.runs.tick(now, &mut self.spans);
        self.flow(signals);
    }

    /// The agent stops: everything open ends.
    pub fn finish(&mut self, now: Nanos, signals: &mut Vec<Signal>) {
        let now = now.max(self.last_tick);
        self.streams.finish(now, &mut self.chunks);
        self.flow(signals);
        self.runs.finish(now, &mut self.spans);
        self.flow(signals);
    }

    /// Whether connections that are new from now on are followed.
    pub fn admit(&mut self, admits: bool) {
        self.streams.admit(admits);
    }

    /// Memory is short: gives up the messages that wait for the rest of a head or an event; appends
    /// what there is to export because of it.
    pub fn shed(&mut self, now: Nanos, signals: &mut Vec<Signal>) {
        let now = now.max(self.last_tick);
        self.protocols.shed(now, &mut self.parts);
        self.flow(signals);
    }

    /// Connections that nobody wants to see more of since this was asked last.
    pub fn take_opaque(&mut self) -> Vec<SocketId> {
        let mut opaque = self.protocols.take_opaque();
        opaque.append(&mut self.streams.take_refused());
        opaque
    }

    /// Settings of traced processes that cannot be honoured, since this was asked last.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Ports to which HTTP/2 is read, since this was asked last.
    pub fn take_collector_ports(&mut self) -> Vec<u16> {
        self.collectors.take_ports()
    }

    /// A connection to a collector begins or ends.
    fn connection(&mut self, connection: &ConnectionEvent) {
        let ConnectionEvent {
            at, pid, socket, ..
        } = *connection;
        match connection.change {
            ConnectionChange::Connecting | ConnectionChange::ConnectingIn { .. } => {
                if self.leads_to_collector(pid, &connection.endpoints) {
                    self.collectors.connecting(socket, pid, at);
                }
            }
            ConnectionChange::ConnectFailed { .. } => self.collectors.failed(socket),
            ConnectionChange::Broken { .. } | ConnectionChange::Closed => {
                if self.collectors.ended(socket) {
                    self.exports_spans(pid);
                }
            }
            ConnectionChange::PeerFinished => {}
        }
    }

    fn leads_to_collector(&self, pid: Pid, endpoints: &Endpoints) -> bool {
        if let Endpoints::Tcp { remote, .. } = endpoints
            && let Some(service) = self.identities.service(pid)
        {
            return service.exports_over_grpc_to(*remote);
        }
        false
    }

    fn exports_spans(&mut self, pid: Pid) {
        if let Some(service) = self.identities.service(pid) {
            self.runs.exports_spans(pid, &service);
        }
    }

    /// What became known of SDKs in processes since this was asked last, with their services.
    pub fn take_sdks(&mut self) -> Vec<(Pid, News, Option<Arc<Service>>)> {
        let found = self.runs.take_sdks().into_iter();
        found
            .map(|(pid, news)| (pid, news, self.identities.service(pid)))
            .collect()
    }

    /// Hands on what each stage has put out, until nothing is left between them.
    fn flow(&mut self, signals: &mut Vec<Signal>) {
        for chunk in self.chunks.drain(..) {
            self.protocols.push(chunk, &mut self.parts);
        }
        for asked in self.protocols.take_asked() {
            if self.collectors.asked(&asked) {
                self.exports_spans(asked.pid);
            }
        }
        for part in self.parts.drain(..) {
            self.exchanges.push(part, &mut self.exchange_events);
        }
        let services = |pid| self.identities.service(pid);
        for event in self.exchange_events.drain(..) {
            self.runs.push(event, &services, &mut self.spans);
        }
        for mut span in self.spans.drain(..) {
            let address = span.called_address();
            span.peer = address.and_then(|address| self.identities.peer_at(address));
            self.telemetry.push(span, signals);
        }
        for session in self.runs.take_sessions() {
            self.telemetry
                .push_session(session, self.runs.wall_clock(), signals);
        }
    }
}

impl Counters for Stages {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        self.streams.counters().visit(visit);
        self.protocols.counters().visit(visit);
        self.exchanges.counters().visit(visit);
        self.identities.counters().visit(visit);
        self.runs.counters().visit(visit);
        self.runs.source().counters().visit(visit);
        self.telemetry.counters().visit(visit);
    }

    fn levels(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("streams.connections", self.streams.connections() as u64);
        visit("exchanges.open", self.exchanges.open() as u64);
        visit("runs.mcp_sessions_open", self.runs.mcp_sessions() as u64);
        visit("identity.processes", self.identities.processes() as u64);
        visit("identity.peers", self.identities.peers() as u64);
    }
}
