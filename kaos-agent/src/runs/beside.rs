//! Processes with an OpenTelemetry SDK inside: what is left to it.
//!
//! An SDK is recognised by what it sends: a call whose `traceparent` names a span that nobody on the
//! way in named, or an export of traces. It makes the spans that its headers name, and a span for
//! what the process serves, unless its calls show that they are in no such span's trace. All else
//! it does not make, and is told.

use hashlink::LinkedHashMap;
use opentelemetry::{SpanId, TraceId};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::capture::event::Pid;
use crate::exchanges::exchange::{ExchangeId, Request};
use crate::identity::service::{BesideSdk, Service};
use crate::runs::w3c::Carried;

/// Span ids that headers named lately, over all processes. One that was forgotten and is forwarded
/// all the same would be taken for an SDK's, so there are as many as exchanges are known.
const MAX_NAMED: usize = 16_384;

/// Processes that may have told of an SDK, or serve something: those that are known at all.
const MAX_PROCESSES: usize = crate::identity::identities::MAX_PROCESSES;

/// SDKs that were found and are to be told of: beyond, a log line is missing.
const MAX_NEWS: usize = 64;

/// What shows that there is an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A call names a span that the process made itself.
    OwnSpan,
    /// It exports traces.
    Export,
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
}

#[derive(Debug, Default)]
struct Process {
    sdk: Option<Sdk>,
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
}

/// What is known of the SDKs in processes.
#[derive(Debug, Default)]
pub struct Beside {
    processes: FxHashMap<Pid, Process>,
    served: FxHashMap<ExchangeId, Served>,
    /// The oldest first.
    named: LinkedHashMap<(Pid, TraceId, SpanId), Named, FxBuildHasher>,
    news: Vec<(Pid, Sign)>,
}

impl Beside {
    /// A request is served from now on.
    pub fn served(&mut self, request: &Request, carried: Option<&Carried>) {
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
        };
        self.served.insert(request.id, served);
        let process = self.processes.entry(pid).or_default();
        process.serves.push(request.id);
    }

    /// A request is served no longer.
    pub fn ended(&mut self, id: ExchangeId) {
        if let Some(served) = self.served.remove(&id)
            && let Some(process) = self.processes.get_mut(&served.pid)
        {
            process.serves.retain(|other| *other != id);
            if process.serves.is_empty() && process.sdk.is_none() {
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

    /// SDKs that were found since this was asked last.
    pub fn take_news(&mut self) -> Vec<(Pid, Sign)> {
        std::mem::take(&mut self.news)
    }

    /// Notes that a process has an SDK. Returns what it serves, where that is new.
    fn found(&mut self, pid: Pid, sign: Sign) -> Vec<ExchangeId> {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            return Vec::new();
        }
        let process = self.processes.entry(pid).or_default();
        if process.sdk.is_some() {
            return Vec::new();
        }
        process.sdk = Some(Sdk::default());
        if self.news.len() < MAX_NEWS {
            self.news.push((pid, sign));
        }
        process.serves.clone()
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
