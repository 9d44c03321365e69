//! An OTLP receiver on loopback: gRPC, HTTP with protobuf and HTTP with JSON, which can be told to
//! misbehave.

mod grpc;
mod http;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::DEADLINE;
use crate::received::{Received, Span};
use crate::tree;

/// How the receiver treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes them.
    Accept,
    /// Refuses them with this HTTP status, or the gRPC status that means the same.
    Refuse(u16),
    /// Takes each after this time.
    Slow(Duration),
}

/// A running receiver.
pub struct Receiver {
    shared: Arc<Shared>,
    grpc: SocketAddr,
    http: SocketAddr,
    /// Its threads; none while it is down.
    runtime: Option<Runtime>,
}

/// What the servers write and the test reads.
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    received: Received,
    behaviour: Behaviour,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Behaves as told; on success lets `add` take the request in and wakes who waits.
    async fn treat(&self, add: impl FnOnce(&mut Received)) -> Result<(), u16> {
        let behaviour = self.state().behaviour;
        let result = match behaviour {
            Behaviour::Accept => Ok(()),
            Behaviour::Refuse(status) => Err(status),
            Behaviour::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        };
        let mut state = self.state();
        match result {
            Ok(()) => add(&mut state.received),
            Err(_) => state.received.refused += 1,
        }
        self.arrived.notify_all();
        result
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::start()
    }
}

impl Receiver {
    /// Starts one on free ports.
    #[must_use]
    pub fn start() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut receiver = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    received: Received::default(),
                    behaviour: Behaviour::Accept,
                }),
                arrived: Condvar::new(),
            }),
            grpc: any,
            http: any,
            runtime: None,
        };
        receiver.come_back();
        receiver
    }

    /// Endpoint for `grpc`.
    #[must_use]
    pub fn grpc_endpoint(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Base endpoint for `http/protobuf` and `http/json`.
    #[must_use]
    pub fn http_endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Treats requests so from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.state().behaviour = behaviour;
    }

    /// Closes its ports and all connections. What has arrived stays.
    pub fn go_down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again on the same ports.
    pub fn come_back(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime starts");
        let bind = |address| {
            runtime
                .block_on(TcpListener::bind(address))
                .expect("the port is free")
        };
        let (grpc, http) = (bind(self.grpc), bind(self.http));
        self.grpc = grpc.local_addr().expect("it is bound");
        self.http = http.local_addr().expect("it is bound");
        runtime.spawn(grpc::serve(grpc, Arc::clone(&self.shared)));
        runtime.spawn(http::serve(http, Arc::clone(&self.shared)));
        self.runtime = Some(runtime);
    }

    /// What has arrived so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.shared.state().received.clone()
    }

    /// All spans, as soon as the predicate holds for them.
    ///
    /// # Panics
    /// It does not hold within [`DEADLINE`]; the message shows what has arrived.
    pub fn wait_for(&self, what: &str, predicate: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        self.wait_for_received(what, |received| predicate(&received.spans))
            .spans
    }

    /// Everything, as soon as the predicate holds for it.
    ///
    /// # Panics
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_received(&self, what: &str, predicate: impl Fn(&Received) -> bool) -> Received {
        let until = Instant::now() + DEADLINE;
        let mut state = self.shared.state();
        while !predicate(&state.received) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let spans = tree::render(&state.received.spans);
                panic!("waited in vain for {what}; these spans arrived:\n{spans}");
            }
            let woken = self.shared.arrived.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.go_down();
    }
}
