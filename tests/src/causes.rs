//! Who caused which call: `causes.py` says so in the calls' own URLs, and the spans are held against
//! that.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::agent::{Agent, Stats};
use crate::bench::listen::listen;
use crate::received::Span;
use crate::receiver::Receiver;
use crate::workloads::{Server, Workloads};

/// Calls of each request: `CALLS` in `causes.py`.
pub const CALLS: usize = 4;

/// How the causes of calls were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Causes {
    /// The request that made the call is its parent.
    pub right: usize,
    /// It is linked to the request that left running what made the call.
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
        let requests: BTreeMap<&str, &str> = spans
            .iter()
            .filter(|span| span.kind == "SERVER")
            .filter_map(|span| Some((span.span_id.as_str(), ident(span, "/in/")?)))
            .collect();
        let mut causes = Self::default();
        for call in spans.iter().filter(|span| span.kind == "CLIENT") {
            let Some(ident) = ident(call, "/out/") else {
                continue;
            };
            let is_its = |span_id: &str| requests.get(span_id) == Some(&ident);
            *match (call.parent_id.as_str(), &call.links[..]) {
                ("", []) => &mut causes.unknown,
                ("", [(_, linked)]) if is_its(linked) => &mut causes.linked,
                (parent, []) if is_its(parent) => &mut causes.right,
                _ => &mut causes.wrong,
            } += 1;
        }
        causes
    }

    /// How many calls were counted.
    #[must_use]
    pub fn calls(&self) -> usize {
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
}

impl Run<'_> {
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
        let bed = Bed::start(self.python, self.kind);
        let agent = agent(&bed.server);
        bed.drive(self.in_flight, self.requests);
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
}

impl Bed {
    /// Starts a server of `causes.py`.
    #[must_use]
    pub fn start(python: &Path, kind: &str) -> Self {
        let receiver = Receiver::start();
        let backend = Backend::start();
        let workloads = Workloads::of(&receiver);
        Self {
            server: workloads.causes("server", python, kind, &backend.url()),
            receiver,
            backend,
        }
    }

    /// Makes so many requests, so many at a time.
    pub fn drive(&self, in_flight: usize, requests: usize) {
        let driving = drive(self.server.port, in_flight, requests);
        self.backend.runtime.block_on(driving);
    }

    /// Waits until so many calls were told.
    pub fn wait_for_calls(&self, calls: usize) {
        self.receiver.wait_for(&format!("{calls} calls"), |spans| {
            Causes::of(spans).calls() >= calls
        });
    }

    /// How the causes of calls were told.
    #[must_use]
    pub fn told(&self) -> Causes {
        Causes::of(&self.receiver.received().spans)
    }
}

/// What the requests call: answers each call after a time of its own.
struct Backend {
    address: SocketAddr,
    runtime: Runtime,
}

impl Backend {
    fn start() -> Self {
        let (runtime, listener, address) = listen();
        let answer = |UrlPath((ident, call)): UrlPath<(usize, usize)>| async move {
            // So that the answers do not come in the order of the calls.
            let milliseconds = (ident * 7 + call * 13) % 17;
            tokio::time::sleep(Duration::from_millis(milliseconds as u64)).await;
            "answer"
        };
        let application = Router::new().route("/out/{ident}/{call}", get(answer));
        runtime.spawn(async move { axum::serve(listener, application).await });
        Self { address, runtime }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Makes so many requests, so many at a time, each on a connection of its own.
async fn drive(port: u16, in_flight: usize, requests: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..in_flight).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    break;
                }
                ask(port, number).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("all requests are answered");
    }
}

async fn ask(port: u16, number: usize) {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let mut stream = stream.expect("the server listens");
    let request = format!("GET /in/{number} HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer}");
}
