//! Where the servers of the benchmarks run.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A runtime with one thread of its own, and in it a listener on a free port of 127.0.0.1.
///
/// # Panics
/// There is no free port.
pub fn listen() -> (Runtime, TcpListener, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let listener = runtime
        .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    (runtime, listener, address)
}
