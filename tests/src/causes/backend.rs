//! What the requests call.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{any, get};
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::bench::listen::listen;
use crate::bench::tls::{Stream, Tls};

/// Answers each call after a time of its own.
pub struct Backend {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Calls>,
    /// Its own, which the clients use, too.
    pub runtime: Runtime,
}

/// The calls that came.
struct Calls {
    /// How many for each request.
    came: watch::Sender<BTreeMap<usize, usize>>,
    /// Calls after the first of each request are not answered.
    holds: AtomicBool,
}

impl Backend {
    /// Starts it on a free port of 127.0.0.1, with a thread of its own.
    pub fn start(tls: Option<&Tls>) -> Self {
        let (runtime, listener, address) = listen();
        let state = Arc::new(Calls {
            came: watch::Sender::default(),
            holds: AtomicBool::new(false),
        });
        let application = Router::new()
            .route("/out/{ident}/{call}", get(answer))
            .route("/polled", any(|| async { "nothing new" }))
            .with_state(Arc::clone(&state));
        let (ready, connections) = mpsc::channel(1);
        runtime.spawn(accept(listener, tls.map(Tls::acceptor), ready));
        let connections = Connections {
            address,
            connections,
        };
        runtime.spawn(async move { axum::serve(connections, application).await });
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self {
            address,
            scheme,
            state,
            runtime,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// From now on it answers the first call of each request and no other.
    pub fn hold(&self) {
        self.state.holds.store(true, Ordering::Relaxed);
    }

    /// Tells how many calls of each request came.
    pub fn came(&self) -> watch::Receiver<BTreeMap<usize, usize>> {
        self.state.came.subscribe()
    }
}

async fn answer(
    State(calls): State<Arc<Calls>>,
    Path((ident, call)): Path<(usize, usize)>,
) -> &'static str {
    calls
        .came
        .send_modify(|came| *came.entry(ident).or_default() += 1);
    if call > 0 && calls.holds.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    // So that the answers do not come in the order of the calls.
    let milliseconds = (ident * 7 + call * 13) % 17;
    tokio::time::sleep(Duration::from_millis(milliseconds as u64)).await;
    "answer"
}

/// Connections that speak HTTP now, whatever is below it.
struct Connections {
    address: SocketAddr,
    connections: mpsc::Receiver<Box<dyn Stream>>,
}

impl Listener for Connections {
    type Io = Box<dyn Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(stream) => (stream, self.address),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Accepts, with all handshakes at the same time.
async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    ready: mpsc::Sender<Box<dyn Stream>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let stream: Box<dyn Stream> = match acceptor {
                None => Box::new(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    // A client that does not trust us says so itself.
                    Err(_) => return,
                },
            };
            // Nobody takes it any more when the test is over.
            let _ = ready.send(stream).await;
        });
    }
}
