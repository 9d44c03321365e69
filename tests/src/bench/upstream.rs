//! The server that the workload calls: answers every request with the same bytes, so that it costs
//! as little as a server can.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::http1::Incoming;
use super::listen::listen;

/// About what a model answers to a short question.
const BODY_BYTES: usize = 1024;

/// A running server. It ends when this is dropped.
pub struct Upstream {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Upstream {
    /// Starts it on a free port of 127.0.0.1, with a thread of its own.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start() -> Self {
        let (runtime, listener, address) = listen();
        runtime.spawn(serve(listener));
        Self {
            address,
            _runtime: runtime,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/v1/chat/completions", self.address)
    }
}

async fn serve(listener: TcpListener) {
    let response: &'static [u8] = response().leak();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, response));
    }
}

async fn answer(mut stream: TcpStream, response: &[u8]) {
    let mut incoming = Incoming::default();
    // A client that is gone is not our concern.
    while let Ok(true) = incoming.next_message(&mut stream).await {
        if stream.write_all(response).await.is_err() {
            break;
        }
    }
}

fn response() -> Vec<u8> {
    let filler = "x".repeat(BODY_BYTES - r#"{"text":""}"#.len());
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    );
    format!("{head}{{\"text\":\"{filler}\"}}").into_bytes()
}
