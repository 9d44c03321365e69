//! A language for what happens and what comes of it.
//!
//! A script is a list of statements, separated by `;`, each a millisecond after the one before it:
//!
//! | statement | meaning |
//! |---|---|
//! | `serve s P [options]` | process `P` receives a request that is called `s` |
//! | `call c P [options]` | process `P` sends a request that is called `c` |
//! | `understood s` | it is known what `s`, which has the option `later`, asks for: nothing known |
//! | `understood s m=T/a` | the same: a call of an MCP tool, with a traceparent in its message |
//! | `respond s` | the first byte of its response moves |
//! | `end s [options]` | it is over: see [`meanings`](super::meanings) |
//! | `fail c P [ms] [to=ADDRESS]` | `P` could not connect, which took so long |
//! | `exit P` | the process is gone |
//! | `exports P` | it exports spans |
//! | `wait N` | so many milliseconds go by |
//! | `clock N` | the wall clock is now so many seconds ahead of the monotonic one |
//! | `service P settings` | `excluded=REGEX`, `server=off`, `client=off`, `sampler=NAME`, `sdk=MODE`, `tls=on` (to its collector), `agent=NAME`, `model=URL`, `tools=URL`, `peer=URL` |
//!
//! Options: `@x` names the connection (two ends of one name are joined; without it an exchange has
//! one of its own), `h=T/a` sends the traceparent of trace `T` and span `a`, sampled (`h=T/a/00`:
//! with these flags), `ts=…` the tracestate, `url=/…` the target, `ago=N` the first byte moved so
//! many milliseconds before the statement, `later` lets it wait for `understood`, `as=otlp` makes it
//! the request of an OTLP exporter, `to=ADDRESS` names its server, `op=…` is what it asks for
//! ([`meanings`](super::meanings)).
//!
//! What comes of it is one line per span in the order in which they began:
//! `name trace:parent`, where the trace has the name in the header or `#name` of the exchange that
//! began it, the parent that of the span, or `-`; then ` remote` if the parent is in another
//! process, ` after trace:span` if it is linked to a request that was over, ` off` if the span is not
//! exported, ` +Ns` the clock, ` {…}` the tracestate, ` […]` what an exchange is beyond HTTP. Spans of
//! runs are `loop`, `step1` and `tool.X`, and those of batches `call.X`, with what became of them, and
//! but for the first from when to when, in milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};
use regex::Regex;

use super::spelled::{became, part};
use super::{MILLISECOND, RequestBuilder, meanings, service};
use crate::capture::event::Pid;
use crate::exchanges::exchange::{Actor, ConnectFailure, ExchangeEvent, ExchangeId, Request};
use crate::exchanges::meaning::Operation;
use crate::exchanges::rpc::mcp::{McpKind, McpMessage, McpRequest};
use crate::identity::agent::Authority;
use crate::identity::service::{BesideSdk, Destination, Protocol, Sampler, SdkTraces, Service};
use crate::runs::cause::{CauseSource, LINKED_FOR, OneInFlight};
use crate::runs::counters::RunCounters;
use crate::runs::ids::Ids;
use crate::runs::span::{FinishedSpan, Subject};
use crate::runs::traces::REMEMBERED_FOR;
use crate::runs::{Limits, Runs};
use crate::time::{Nanos, WallOffset};

const SEED: u64 = 42;
const SECOND: i64 = 1_000_000_000;
/// When scripts begin, in milliseconds.
pub(super) const START: Nanos = 1_000;

/// What a script came to.
pub struct Outcome {
    pub lines: Vec<String>,
    /// Names of the spans in the order in which they were handed on.
    pub order: Vec<String>,
    pub counters: RunCounters,
    /// What is still kept long after the end.
    pub kept: usize,
}

/// Runs a script to its end.
pub fn run(script: &str) -> Outcome {
    run_with(script, Limits::default(), OneInFlight::default())
}

/// The lines of [`run`], joined by `; `.
pub fn spans(script: &str) -> String {
    run(script).lines.join("; ")
}

/// The same with other limits, or another source of causes.
pub fn run_with<S: CauseSource>(script: &str, limits: Limits, source: S) -> Outcome {
    let mut stage = Stage {
        runs: Runs::with_source(limits, SEED, source),
        ids: Ids::new(SEED),
        now: START * MILLISECOND,
        requests: BTreeMap::new(),
        connections: Vec::new(),
        operations: BTreeMap::new(),
        services: BTreeMap::new(),
        drawn: BTreeMap::new(),
        made: 0,
        trace_names: BTreeMap::new(),
        span_names: BTreeMap::new(),
        finished: Vec::new(),
    };
    for statement in script.split(';') {
        let words: Vec<&str> = statement.split_whitespace().collect();
        if !words.is_empty() {
            stage.step(&words);
        }
    }
    stage.runs.finish(stage.now, &mut stage.finished);
    for span in &stage.finished {
        let name = match &span.subject {
            Subject::Exchange(_) | Subject::ConnectFailure(_) => continue,
            Subject::Loop(_) => "loop".to_owned(),
            Subject::Step(step) => format!("step{}", step.number),
            Subject::Tool(tool) => format!("tool.{}", tool.name),
            Subject::BatchedCall(call) => {
                let name = call.message().and_then(|(_, call)| call.name.as_deref());
                format!("call.{}", name.unwrap_or_default())
            }
        };
        let id = span.context.span_id().to_bytes();
        stage.span_names.insert(id, name);
    }
    let order = stage
        .finished
        .iter()
        .map(|span| stage.name(span).to_owned());
    let order = order.collect();
    let drawn = &stage.drawn;
    stage
        .finished
        .sort_by_key(|span| drawn[&span.context.span_id().to_bytes()]);
    Outcome {
        lines: stage.finished.iter().map(|span| stage.line(span)).collect(),
        order,
        counters: *stage.runs.counters(),
        kept: {
            for _ in 0..2 {
                stage.now += 2 * REMEMBERED_FOR + LINKED_FOR;
                stage.runs.tick(stage.now, &mut stage.finished);
            }
            stage.runs.traces.kept() + stage.runs.agents.kept() + stage.runs.asking.len()
        },
    }
}

struct Stage<S> {
    runs: Runs<S>,
    /// The same sequence that the stage draws from, to know the names of ids.
    ids: Ids,
    /// How many ids were drawn before each span's.
    drawn: BTreeMap<[u8; 8], usize>,
    /// Spans that the stage made by itself.
    made: u64,
    now: Nanos,
    requests: BTreeMap<String, Arc<Request>>,
    operations: BTreeMap<String, Arc<Operation>>,
    connections: Vec<String>,
    services: BTreeMap<Pid, Service>,
    trace_names: BTreeMap<[u8; 16], String>,
    span_names: BTreeMap<[u8; 8], String>,
    finished: Vec<FinishedSpan>,
}

impl<S: CauseSource> Stage<S> {
    fn step(&mut self, words: &[&str]) {
        self.now += MILLISECOND;
        match *words {
            ["serve", name, process, ref options @ ..] => {
                let request = self.request(name, process, options).server().build();
                self.start(name, request);
            }
            ["call", name, process, ref options @ ..] => {
                let request = self.request(name, process, options).client().build();
                self.start(name, request);
            }
            ["understood", name, ref message @ ..] => {
                let (id, at) = (self.requests[name].id, self.now);
                let operation = message.first().map(|message| {
                    let context = message.strip_prefix("m=").expect("a message");
                    let traceparent = self.traceparent(context);
                    Arc::new(mcp_call(traceparent))
                });
                self.push(ExchangeEvent::Understood { id, at, operation });
            }
            ["respond", name] => {
                let request = Arc::clone(&self.requests[name]);
                let (id, actor, at) = (request.id, request.actor, self.now);
                self.push(ExchangeEvent::Responding { id, at, actor });
            }
            ["end", name, ref options @ ..] => {
                let operation = self.operations.get(name);
                let request = &self.requests[name];
                let exchange = meanings::ended(request, operation, options, self.now);
                self.push(ExchangeEvent::Ended(Box::new(exchange)));
            }
            ["fail", name, process, ref options @ ..] => {
                let mut took = 0;
                let mut server = None;
                for option in options {
                    match option.strip_prefix("to=") {
                        Some(address) => server = Some(address),
                        None => took = number(option),
                    }
                }
                let mut request = RequestBuilder::get("/").client();
                if let Some(server) = server {
                    request = request.served_at(server);
                }
                let id = self.name_ids(name);
                let pid = self.pid(process);
                let failure = ConnectFailure {
                    id,
                    actor: Actor {
                        pid,
                        tid: pid,
                        label: crate::capture::event::Label::Unknown,
                    },
                    endpoints: request.build().endpoints,
                    at: self.now - took * MILLISECOND,
                    failed_at: self.now,
                    errno: libc::ECONNREFUSED,
                };
                self.push(ExchangeEvent::ConnectFailed(failure));
            }
            ["exports", process] => {
                let pid = self.pid(process);
                self.runs.exports_spans(pid, &self.services[&pid]);
            }
            ["exit", process] => {
                let (pid, at) = (self.pid(process), self.now);
                self.push(ExchangeEvent::ProcessExited { pid, at });
            }
            ["wait", ms] => {
                self.now += number(ms) * MILLISECOND;
                self.runs.tick(self.now, &mut self.finished);
            }
            ["clock", seconds] => {
                let seconds = i64::try_from(number(seconds)).expect("a small number");
                self.runs.clock(WallOffset(seconds * SECOND));
            }
            ["service", process, ref settings @ ..] => {
                let pid = self.pid(process);
                let service = self.services.get_mut(&pid).expect("made by pid()");
                for setting in settings {
                    set(service, setting);
                }
            }
            _ => panic!("no such statement: {words:?}"),
        }
    }

    fn push(&mut self, event: ExchangeEvent) {
        let services = |pid| self.services.get(&pid).cloned().map(Arc::new);
        self.runs.push(event, &services, &mut self.finished);
        while self.made < self.runs.traces.made() {
            self.draw(&format!("+{}", self.made));
            self.made += 1;
        }
    }

    fn start(&mut self, name: &str, request: Request) {
        let request = Arc::new(request);
        self.requests.insert(name.to_owned(), Arc::clone(&request));
        let (id, at) = (request.id, request.at);
        self.push(ExchangeEvent::Started(request));
        if let Some(operation) = self.operations.get(name) {
            let operation = Some(Arc::clone(operation));
            self.push(ExchangeEvent::Understood { id, at, operation });
        }
    }

    fn request(&mut self, name: &str, process: &str, options: &[&str]) -> RequestBuilder {
        let mut target = "/";
        let mut connection = name;
        let mut at = self.now;
        let mut traceparent = None;
        let mut state = None;
        let mut is_otlp = false;
        let mut is_understood_later = false;
        let mut server = None;
        for option in options {
            match option.split_once('=') {
                None if *option == "later" => is_understood_later = true,
                None => connection = option,
                Some(("h", context)) => traceparent = Some(self.traceparent(context)),
                Some(("ts", value)) => state = Some(value),
                Some(("url", url)) => target = url,
                Some(("as", "otlp")) => is_otlp = true,
                Some(("to", address)) => server = Some(address),
                Some(("op", operation)) => {
                    is_understood_later = true;
                    let operation = Arc::new(meanings::operation(operation));
                    self.operations.insert(name.to_owned(), operation);
                }
                Some(("ago", ms)) => at -= number(ms) * MILLISECOND,
                Some(_) => panic!("no such option: {option}"),
            }
        }
        let mut request = if is_otlp {
            RequestBuilder::new("POST", "/v1/traces").header("content-type", "application/json")
        } else {
            RequestBuilder::get(target)
        };
        request = request
            .id(self.name_ids(name).0)
            .pid(self.pid(process))
            .connection(self.connection(connection))
            .at(at);
        if let Some(server) = server {
            request = request.served_at(server).header("host", server);
        }
        if is_understood_later {
            request = request.understood_later();
        }
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", &traceparent);
        }
        if let Some(state) = state {
            request = request.header("tracestate", state);
        }
        request
    }

    /// `T/a` or `T/a/flags`
    fn traceparent(&mut self, context: &str) -> String {
        let mut parts = context.split('/');
        let trace = parts.next().expect("a trace");
        let span = parts.next().expect("a span");
        let flags = parts.next().unwrap_or("01");
        let mut trace_id = [0; 16];
        trace_id[..trace.len()].copy_from_slice(trace.as_bytes());
        let mut span_id = [0; 8];
        span_id[..span.len()].copy_from_slice(span.as_bytes());
        self.trace_names.insert(trace_id, trace.to_owned());
        self.span_names.insert(span_id, span.to_owned());
        let trace_id = TraceId::from_bytes(trace_id);
        let span_id = SpanId::from_bytes(span_id);
        format!("00-{trace_id}-{span_id}-{flags}")
    }

    /// Names the ids that the stage will draw for the next exchange, and numbers it.
    fn name_ids(&mut self, name: &str) -> ExchangeId {
        self.draw(name);
        ExchangeId(self.drawn.len() as u64)
    }

    /// Draws the ids that the stage draws for its next span.
    fn draw(&mut self, name: &str) {
        let trace_id = self.ids.trace_id().to_bytes();
        let span_id = self.ids.span_id().to_bytes();
        self.drawn.insert(span_id, self.drawn.len());
        self.trace_names.insert(trace_id, format!("#{name}"));
        self.span_names.insert(span_id, name.to_owned());
    }

    fn connection(&mut self, name: &str) -> u16 {
        let known = self.connections.iter().position(|other| other == name);
        let number = known.unwrap_or_else(|| {
            self.connections.push(name.to_owned());
            self.connections.len() - 1
        });
        u16::try_from(number).expect("few connections")
    }

    /// The process's number is that of its letter.
    fn pid(&mut self, process: &str) -> Pid {
        let pid = Pid::from(process.as_bytes()[0]);
        let named = || service(process);
        self.services.entry(pid).or_insert_with(named);
        pid
    }

    fn name(&self, span: &FinishedSpan) -> &str {
        &self.span_names[&span.context.span_id().to_bytes()]
    }

    fn line(&self, span: &FinishedSpan) -> String {
        let name = self.name(span);
        let trace = &self.trace_names[&span.context.trace_id().to_bytes()];
        let parent = span.parent.map_or("-", |parent| {
            self.span_names[&parent.span_id.to_bytes()].as_str()
        });
        let mut line = format!("{name} {trace}:{parent}");
        if span.parent.is_some_and(|parent| parent.remote) {
            line += " remote";
        }
        if let Some(link) = &span.link {
            let trace = &self.trace_names[&link.trace_id().to_bytes()];
            let linked = &self.span_names[&link.span_id().to_bytes()];
            line += &format!(" after {trace}:{linked}");
        }
        if !span.exported {
            line += " off";
        }
        if span.clock != WallOffset::default() {
            line += &format!(" +{}s", span.clock.0 / SECOND);
        }
        let state = span.context.trace_state().header();
        if !state.is_empty() {
            line += &format!(" {{{state}}}");
        }
        line + &part(&span.part) + &became(&span.subject)
    }
}

/// A call of an MCP tool with a context in its message.
fn mcp_call(traceparent: String) -> Operation {
    let message = McpMessage {
        method: Some("tools/call".to_owned()),
        name: Some("add".to_owned()),
        traceparent: Some(traceparent),
        ..McpMessage::default()
    };
    Operation::Mcp(Box::new(McpRequest {
        kind: McpKind::Messages,
        session_id: None,
        protocol_version: None,
        messages: vec![message],
    }))
}

fn set(service: &mut Service, setting: &str) {
    match setting.split_once('=').expect("a setting") {
        ("excluded", pattern) => {
            let pattern = Regex::new(pattern).expect("a pattern");
            service.excluded_urls.push(pattern);
        }
        ("agent", name) => service.agent.name = Some(name.to_owned()),
        ("model", url) => {
            service.agent.model = Some("configured".to_owned());
            service.agent.model_api = Authority::of_url(url);
        }
        ("tools", url) => {
            let authority = Authority::of_url(url).expect("a URL");
            service
                .agent
                .mcp_servers
                .push(("calc".to_owned(), authority));
        }
        ("peer", url) => {
            let authority = Authority::of_url(url).expect("a URL");
            service.agent.peers.push(("worker".to_owned(), authority));
        }
        ("server", "off") => service.http_server_spans = false,
        ("client", "on") => service.http_client_spans = true,
        ("client", "off") => service.http_client_spans = false,
        ("sampler", "always_on") => service.sampler = Sampler::AlwaysOn,
        ("sampler", "always_off") => service.sampler = Sampler::AlwaysOff,
        ("sampler", "parentbased_always_off") => service.sampler = Sampler::ParentBasedAlwaysOff,
        ("sdk", "always") => service.beside_sdk = BesideSdk::Always,
        ("sdk", "unexported") => {
            service.beside_sdk = BesideSdk::Always;
            service.sdk_traces = SdkTraces::Nowhere;
        }
        ("tls", "on") => {
            service.traces = Some(Destination {
                endpoint: "https://collector:4318/v1/traces".to_owned(),
                named: None,
                protocol: Protocol::HttpProtobuf,
                headers: Vec::new(),
                timeout: Duration::default(),
                compression: None,
                certificate: None,
            });
        }
        ("sdk", "instrumented") => service.is_instrumented = true,
        ("sdk", "never") => service.beside_sdk = BesideSdk::Never,
        _ => panic!("no such setting: {setting}"),
    }
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}
