//! Who caused which call: `causes.py` says so in the calls' own URLs, and the spans are held against
//! that.

mod backend;
mod client;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use self::backend::Backend;
use self::client::{Client, Manner};
use crate::agent::{Agent, Stats};
use crate::bench::tls::Tls;
use crate::received::Span;
use crate::receiver::Receiver;
use crate::workloads::{Runtime, Server, Workloads};

/// Calls of each request: `CALLS` in `causes.py`.
pub const CALLS: usize = 4;

/// How the causes of calls were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes {
    /// The request that made the call is its parent.
    pub right: usize,
    /// It is linked to the request that left running what made the call, and has the same parent as that,
    /// which is none without a `traceparent`.
    pub linked: usize,
    /// It has no parent and no link.
    pub unknown: usize,
    /// Something else is its parent, or what it is linked to.
    pub wrong: usize,
}

impl Causes {
    /// Counts the calls among spans.
    #[must_use]
    pub fn of(spans: &[Span]) -> Self {
        Self::of_requests(spans, |_| true)
    }

    /// Counts those of some requests, by their numbers.
    #[must_use]
    pub fn of_requests(spans: &[Span], is_counted: impl Fn(usize) -> bool) -> Self {
        let requests: BTreeMap<&str, (&str, &Span)> = spans
            .iter()
            .filter(|span| span.kind == "SERVER")
            .filter_map(|span| Some((span.span_id.as_str(), (ident(span, "/in/")?, span))))
            .collect();
        let mut causes = Self::default();
        for call in spans.iter().filter(|span| span.kind == "CLIENT") {
            let Some(ident) = ident(call, "/out/") else {
                continue;
            };
            if !ident.parse().is_ok_and(&is_counted) {
                continue;
            }
            let its = |span_id: &str| {
                let (of, request) = requests.get(span_id)?;
                (*of == ident).then_some(*request)
            };
            let is_beside = |request: &Span| request.parent_id == call.parent_id;
            *match (call.parent_id.as_str(), &call.links[..]) {
                ("", []) => &mut causes.unknown,
                (_, [(_, linked)]) if its(linked).is_some_and(is_beside) => &mut causes.linked,
                (parent, []) if its(parent).is_some() => &mut causes.right,
                _ => &mut causes.wrong,
            } += 1;
        }
        causes
    }

    /// How many there are.
    #[must_use]
    pub fn calls(self) -> usize {
        self.right + self.linked + self.unknown + self.wrong
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            right,
            linked,
            unknown,
            wrong,
        } = self;
        write!(
            f,
            "{right:>6} right {linked:>6} linked {unknown:>6} unknown {wrong:>6} wrong"
        )
    }
}

/// A request that a server makes on its own.
#[must_use]
pub fn is_poll(span: &Span) -> bool {
    span.kind == "CLIENT" && span.attribute("url.full").ends_with("/polled")
}

/// What stands behind this in the path of a span's URL, up to the next slash.
fn ident<'span>(span: &'span Span, before: &str) -> Option<&'span str> {
    let url = [span.attribute("url.path"), span.attribute("url.full")];
    let (_, rest) = url.into_iter().find_map(|url| url.split_once(before))?;
    rest.split('/').next()
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Interpreter with the packages of the workloads.
    pub python: &'a Path,
    /// `SERVER-CLIENT-SHAPE` of `causes.py`.
    pub kind: &'a str,
    /// Requests in flight at a time.
    pub in_flight: usize,
    /// Requests.
    pub requests: usize,
    /// Over what they come and call.
    pub over: Over,
}

/// What is below the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Over {
    /// A connection for each request.
    #[default]
    Plain,
    /// A connection for as many requests as in flight, one after the other.
    Kept,
    /// A connection for each request, over TLS, as is what they call.
    Tls,
    /// Both.
    KeptTls,
}

impl Over {
    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::KeptTls)
    }

    fn is_kept(self) -> bool {
        matches!(self, Self::Kept | Self::KeptTls)
    }
}

impl Run<'_> {
    /// The same over something else.
    #[must_use]
    pub fn over(self, over: Over) -> Self {
        Self { over, ..self }
    }

    /// Starts the server and the agent, makes the requests, and counts what was told.
    ///
    /// # Panics
    /// Not every call is told.
    #[must_use]
    pub fn go(self) -> (Causes, Stats) {
        self.go_with(|server| Agent::watch(&[&server.process], &[]))
    }

    /// The same with an agent of another making.
    ///
    /// # Panics
    /// As [`go`](Self::go).
    #[must_use]
    pub fn go_with(self, agent: impl FnOnce(&Server) -> Agent) -> (Causes, Stats) {
        let tls = self.over.is_encrypted().then(Tls::new);
        let bed = Bed::start_over(self.python, self.kind, tls);
        let agent = agent(&bed.server);
        if self.over.is_kept() {
            bed.drive_kept(self.in_flight, self.requests);
        } else {
            bed.drive(self.in_flight, self.requests);
        }
        bed.wait_for_calls(self.requests * CALLS);
        let stats = agent.stop();
        (bed.told(), stats)
    }
}

/// A server with what it calls, and where what is told of it arrives.
pub struct Bed {
    /// The server.
    pub server: Server,
    receiver: Receiver,
    backend: Backend,
    tls: Option<Arc<Tls>>,
}

impl Bed {
    /// Starts a server of `causes.py`.
    #[must_use]
    pub fn start(python: &Path, kind: &str) -> Self {
        Self::start_over(python, kind, None)
    }

    /// The same over TLS, if so, on both sides.
    #[must_use]
    pub fn start_over(python: &Path, kind: &str, tls: Option<Tls>) -> Self {
        Self::start_server(tls, |workloads, backend| {
            workloads.causes("server", python, kind, backend)
        })
    }

    /// Starts a server of another runtime, which makes a request of this method on its own every few
    /// milliseconds, too, if so: a *poll*.
    #[must_use]
    pub fn start_of(runtime: Runtime, polls: Option<&str>) -> Self {
        Self::start_server(None, |workloads, backend| {
            workloads.causes_of(runtime, "server", backend, polls)
        })
    }

    fn start_server(tls: Option<Tls>, start: impl FnOnce(Workloads<'_>, &str) -> Server) -> Self {
        let receiver = Receiver::start();
        let backend = Backend::start(tls.as_ref());
        let workloads = Workloads::of(&receiver);
        let workloads = match &tls {
            Some(tls) => workloads.over(&tls.certificate),
            None => workloads,
        };
        Self {
            server: start(workloads, &backend.url()),
            receiver,
            backend,
            tls: tls.map(Arc::new),
        }
    }

    /// Makes so many requests, so many at a time, each on a connection of its own.
    pub fn drive(&self, in_flight: usize, requests: usize) {
        self.drive_as(Manner::Closing, in_flight, requests);
    }

    /// The same, and each carries a `traceparent` of its own.
    pub fn drive_tracing(&self, in_flight: usize, requests: usize) {
        self.drive_as(Manner::Tracing, in_flight, requests);
    }

    /// The same on connections that are kept.
    pub fn drive_kept(&self, in_flight: usize, requests: usize) {
        self.drive_as(Manner::Keeping, in_flight, requests);
    }

    /// The same, but who makes one with an odd number leaves without having been answered.
    pub fn drive_leaving(&self, in_flight: usize, requests: usize) {
        let came = self.backend.came();
        self.drive_as(Manner::Leaving(came), in_flight, requests);
    }

    /// Makes so many requests at once, and kills the server when each waits for its second call.
    ///
    /// # Panics
    /// The calls do not come.
    pub fn drive_until_killed(&self, requests: usize) {
        self.backend.hold();
        let mut came = self.backend.came();
        let asking = self.client(Manner::Closing).ask_in_vain(requests);
        self.backend.runtime.block_on(async {
            let asking = tokio::spawn(asking);
            let all = |came: &BTreeMap<_, _>| came.values().sum::<usize>() == 2 * requests;
            came.wait_for(all).await.expect("the backend runs");
            self.server.process.signal(libc::SIGKILL);
            asking.await.expect("all were asked");
        });
    }

    fn drive_as(&self, manner: Manner, in_flight: usize, requests: usize) {
        let driving = self.client(manner).drive(in_flight, requests);
        self.backend.runtime.block_on(driving);
    }

    fn client(&self, manner: Manner) -> Client {
        Client {
            port: self.server.port,
            tls: self.tls.clone(),
            manner,
        }
    }

    /// Waits until so many calls were told.
    pub fn wait_for_calls(&self, calls: usize) {
        self.receiver.wait_for(&format!("{calls} calls"), |spans| {
            Causes::of(spans).calls() >= calls
        });
    }

    /// Waits until so many polls were told.
    pub fn wait_for_polls(&self, polls: usize) {
        let what = format!("{polls} polls");
        self.receiver.wait_for(&what, |spans| {
            spans.iter().filter(|span| is_poll(span)).count() >= polls
        });
    }

    /// What was told.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.receiver.received().spans
    }

    /// How the causes of calls were told.
    #[must_use]
    pub fn told(&self) -> Causes {
        Causes::of(&self.receiver.received().spans)
    }

    /// How those of the calls of some requests were, by their numbers.
    #[must_use]
    pub fn told_of(&self, is_counted: impl Fn(usize) -> bool) -> Causes {
        Causes::of_requests(&self.receiver.received().spans, is_counted)
    }
}
