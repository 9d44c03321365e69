//! Processes with an OpenTelemetry SDK inside: what is left to it.
//!
//! An SDK is recognised by what it sends: a call whose `traceparent` names a span that nobody on the
//! way in named, or an export of traces. It makes the spans that its headers name, and a span for
//! what the process serves, unless its calls show that they are in no such span's trace. All else
//! it does not make, and is told.
//!
//! Automatic instrumentation that the process was started with is taken for an SDK from its first
//! request on. It may make no spans: there is no instrumentation of every library. So where exports
//! would be seen and none is, some time after there was something to export, it counts no longer.

use hashlink::LinkedHashMap;
use opentelemetry::{SpanId, TraceId};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::capture::event::Pid;
use crate::exchanges::exchange::{ExchangeId, Request};
use crate::identity::service::{BesideSdk, Service};
use crate::runs::w3c::Carried;
use crate::time::Nanos;

/// Span ids that headers named lately, over all processes. One that was forgotten and is forwarded
/// all the same would be taken for an SDK's, so there are as many as exchanges are known.
const MAX_NAMED: usize = 16_384;

/// Processes that may have told of an SDK, or serve something: those that are known at all.
const MAX_PROCESSES: usize = crate::identity::identities::MAX_PROCESSES;

/// SDKs that were found and are to be told of: beyond, a log line is missing.
const MAX_NEWS: usize = 64;

/// How long, beside two times its batches' delay, an SDK may take to export the first span: to make a
/// connection, with a name to be looked up.
const FIRST_EXPORT: Nanos = 5_000_000_000;

/// What shows that there is an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A call names a span that the process made itself.
    OwnSpan,
    /// It exports traces.
    Export,
    /// It was started with automatic instrumentation.
    Started,
}

/// What became known of an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// There is one.
    Found(Sign),
    /// The process was started with one, which does not show.
    NotShown,
}

/// Where a span id was seen in the headers of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// In a request that it served.
    Inbound,
    /// In a call that it made.
    Outbound,
}

/// Does the SDK make a span for what the process serves?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ServerSpans {
    /// Nothing shows that it does not.
    #[default]
    Assumed,
    /// Its calls are in the trace of such a span.
    Seen,
    /// Its calls begin traces of their own.
    Absent,
}

/// What an SDK does.
#[derive(Debug, Clone, Copy, Default)]
struct Sdk {
    server_spans: ServerSpans,
    /// It makes spans for calls: one carried such a span's id.
    has_client_spans: bool,
    evidence: Evidence,
}

/// What an SDK is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Evidence {
    /// What it sent.
    #[default]
    Sent,
    /// How the process was started.
    Started {
        /// When it had the first span to export.
        since: Option<Nanos>,
    },
}

#[derive(Debug, Default)]
struct Process {
    sdk: Option<Sdk>,
    /// How it was started shows nothing: no span was exported.
    is_not_shown: bool,
    /// Requests that it serves now.
    serves: Vec<ExchangeId>,
}

/// A request that is served now.
#[derive(Debug)]
struct Served {
    pid: Pid,
    /// The trace that it came with.
    inbound: Option<TraceId>,
    /// The trace of the first call that it caused.
    outbound: Option<TraceId>,
    /// An SDK that makes a span for it exports that.
    is_exported: bool,
}

/// What is known of the SDKs in processes.
#[derive(Debug, Default)]
pub struct Beside {
    processes: FxHashMap<Pid, Process>,
    served: FxHashMap<ExchangeId, Served>,
    /// The oldest first.
    named: LinkedHashMap<(Pid, TraceId, SpanId), Named, FxBuildHasher>,
    news: Vec<(Pid, News)>,
}

impl Beside {
    /// A process begins to serve a request: what does it mean how it was started?
    pub fn started(&mut self, pid: Pid, service: &Service, now: Nanos) -> Started {
        if !service.is_instrumented || service.beside_sdk == BesideSdk::Always {
            return Started::Same;
        }
        let Some(process) = self.processes.get_mut(&pid) else {
            return Started::Found(self.found(pid, Sign::Started));
        };
        match process.sdk {
            None if !process.is_not_shown => Started::Found(self.found(pid, Sign::Started)),
            Some(Sdk {
                evidence: Evidence::Started { since: Some(since) },
                ..
            }) if shows_exports(service) && now > since.saturating_add(patience(service)) => {
                process.sdk = None;
                process.is_not_shown = true;
                self.tell(pid, News::NotShown);
                Started::NotShown
            }
            _ => Started::Same,
        }
    }

    /// A request is served from now on. `is_exported` says whether an SDK that makes a span for it
    /// exports that.
    pub fn served(&mut self, request: &Request, carried: Option<&Carried>, is_exported: bool) {
        let pid = request.actor.pid;
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            return;
        }
        if let Some(carried) = carried {
            self.name(pid, carried, Named::Inbound);
        }
        let served = Served {
            pid,
            inbound: carried.map(|carried| carried.trace_id),
            outbound: None,
            is_exported,
        };
        self.served.insert(request.id, served);
        let process = self.processes.entry(pid).or_default();
        process.serves.push(request.id);
    }

    /// A request is served no longer.
    pub fn ended(&mut self, id: ExchangeId, now: Nanos) {
        if let Some(served) = self.served.remove(&id)
            && let Some(process) = self.processes.get_mut(&served.pid)
        {
            process.serves.retain(|other| *other != id);
            if let Some(Sdk {
                evidence: Evidence::Started { since },
                ..
            }) = &mut process.sdk
                && served.is_exported
            {
                since.get_or_insert(now);
            }
            if process.serves.is_empty() && process.sdk.is_none() && !process.is_not_shown {
                self.processes.remove(&served.pid);
            }
        }
    }

    /// A process is gone.
    pub fn exited(&mut self, pid: Pid) {
        for id in self.processes.remove(&pid).unwrap_or_default().serves {
            self.served.remove(&id);
        }
    }

    /// A process exports traces. Returns the requests that it serves, where that is new.
    pub fn exports(&mut self, pid: Pid) -> Vec<ExchangeId> {
        self.found(pid, Sign::Export)
    }

    /// A call carries a context that no request in flight came with; `cause` is the served request
    /// that caused it, where that is known.
    pub fn called(
        &mut self,
        request: &Request,
        carried: &Carried,
        cause: Option<ExchangeId>,
    ) -> Fresh {
        let pid = request.actor.pid;
        match self.name(pid, carried, Named::Outbound) {
            // Forwarded after the request was answered.
            Some(Named::Inbound) => return Fresh::No,
            Some(Named::Outbound) => return Fresh::Again,
            None => {}
        }
        let serves = self.found(pid, Sign::OwnSpan);
        let server_spans = self.server_spans(pid, carried.trace_id, cause);
        if let Some(Process { sdk: Some(sdk), .. }) = self.processes.get_mut(&pid) {
            sdk.has_client_spans = true;
            if sdk.server_spans != ServerSpans::Seen {
                sdk.server_spans = server_spans.unwrap_or(sdk.server_spans);
            }
        }
        Fresh::First { serves }
    }

    /// What a call in this trace shows of the spans for what the process serves.
    fn server_spans(
        &mut self,
        pid: Pid,
        trace_id: TraceId,
        cause: Option<ExchangeId>,
    ) -> Option<ServerSpans> {
        let serves = &self.processes.get(&pid)?.serves;
        let mut inbound = serves.iter().filter_map(|id| self.served.get(id)?.inbound);
        if inbound.any(|inbound| inbound == trace_id) {
            return Some(ServerSpans::Seen);
        }
        let served = self.served.get_mut(&cause?)?;
        let above = served.inbound.or(served.outbound);
        served.outbound.get_or_insert(trace_id);
        above.map(|above| match above == trace_id {
            true => ServerSpans::Seen,
            false => ServerSpans::Absent,
        })
    }

    /// What is told of a process.
    #[must_use]
    pub fn share(&self, pid: Pid, service: &Service) -> Share {
        match (service.beside_sdk, self.sdk(pid)) {
            (BesideSdk::Always, _) | (_, None) => Share::All,
            (BesideSdk::Never, Some(_)) => Share::Nothing,
            (BesideSdk::Complement, Some(sdk)) => match sdk.server_spans {
                ServerSpans::Absent => Share::NotItsCalls,
                ServerSpans::Assumed | ServerSpans::Seen => Share::OtherCalls,
            },
        }
    }

    /// Are connections told that the process could not make? There is no header that could show
    /// whose they are.
    #[must_use]
    pub fn tells_failed_connects(&self, pid: Pid, service: &Service) -> bool {
        match self.share(pid, service) {
            Share::All => true,
            Share::Nothing => false,
            Share::OtherCalls | Share::NotItsCalls => {
                self.sdk(pid).is_none_or(|sdk| !sdk.has_client_spans)
            }
        }
    }

    fn sdk(&self, pid: Pid) -> Option<Sdk> {
        self.processes.get(&pid)?.sdk
    }

    /// What became known of SDKs since this was asked last.
    pub fn take_news(&mut self) -> Vec<(Pid, News)> {
        std::mem::take(&mut self.news)
    }

    fn tell(&mut self, pid: Pid, news: News) {
        if self.news.len() < MAX_NEWS {
            self.news.push((pid, news));
        }
    }

    /// Notes that a process has an SDK. Returns what it serves, where that is new.
    fn found(&mut self, pid: Pid, sign: Sign) -> Vec<ExchangeId> {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            return Vec::new();
        }
        let process = self.processes.entry(pid).or_default();
        if let Some(sdk) = &mut process.sdk {
            sdk.evidence = Evidence::Sent;
            return Vec::new();
        }
        let evidence = match sign {
            Sign::OwnSpan | Sign::Export => Evidence::Sent,
            Sign::Started => Evidence::Started { since: None },
        };
        process.sdk = Some(Sdk {
            evidence,
            ..Sdk::default()
        });
        let serves = process.serves.clone();
        self.tell(pid, News::Found(sign));
        serves
    }

    /// Remembers that a header named a span; returns where it was named before.
    fn name(&mut self, pid: Pid, carried: &Carried, named: Named) -> Option<Named> {
        let key = (pid, carried.trace_id, carried.span_id);
        if let Some(before) = self.named.get(&key) {
            return Some(*before);
        }
        if self.named.len() >= MAX_NAMED {
            self.named.pop_front();
        }
        self.named.insert(key, named);
        None
    }
}

/// Would exports of this service be seen? Inside of TLS not all are.
fn shows_exports(service: &Service) -> bool {
    let mut destination = service.traces.iter();
    destination.all(|destination| !destination.endpoint.starts_with("https:"))
}

/// How long after the first span that an SDK has to export none is expected any more.
fn patience(service: &Service) -> Nanos {
    let delay = service.batching.schedule_delay.as_nanos();
    let delay = Nanos::try_from(delay).unwrap_or(Nanos::MAX);
    delay.saturating_mul(2).saturating_add(FIRST_EXPORT)
}

/// What it means how a process was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// Nothing, or nothing new.
    Same,
    /// There is an SDK, which makes spans of these requests, too.
    Found(Vec<ExchangeId>),
    /// Nothing any more.
    NotShown,
}

/// Is the span that a call's header names one that the process made for it?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fresh {
    /// No: the process was called with it once.
    No,
    /// It did, for this call.
    First {
        /// Served requests whose spans are the SDK's too, as is known only now.
        serves: Vec<ExchangeId>,
    },
    /// It did, for several calls, of which an earlier one was the first: a client that tries again,
    /// or a span that the process made by hand.
    Again,
}

/// What is told of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All: no SDK was seen in it, or it makes no difference.
    All,
    /// Calls whose headers do not show that the SDK tells them, as HTTP: what they mean may be told
    /// by the SDK.
    OtherCalls,
    /// Those, and what the process serves.
    NotItsCalls,
    /// Nothing.
    Nothing,
}

impl Share {
    /// What the process serves is told.
    #[must_use]
    pub fn has_server_spans(self) -> bool {
        matches!(self, Self::All | Self::NotItsCalls)
    }

    /// Spans for more than HTTP are told: models, tools, agents and their runs.
    #[must_use]
    pub fn has_meaning(self) -> bool {
        self == Self::All
    }
}
