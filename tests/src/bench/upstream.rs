//! The server that the workload calls: answers every request with the same bytes, so that it costs
//! as little as a server can.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::http1::Incoming;
use super::listen::listen;
use super::tls::{Stream, Tls};

/// About what a model answers to a short question.
const BODY_BYTES: usize = 1024;

/// A running server. It ends when this is dropped.
pub struct Upstream {
    address: SocketAddr,
    scheme: &'static str,
    _runtime: Runtime,
}

impl Upstream {
    /// Starts it on a free port of 127.0.0.1, with a thread of its own.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(tls: Option<&Tls>) -> Self {
        let (runtime, listener, address) = listen();
        runtime.spawn(serve(listener, tls.map(Tls::acceptor)));
        Self {
            address,
            scheme: if tls.is_some() { "https" } else { "http" },
            _runtime: runtime,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("{}://{}/v1/chat/completions", self.scheme, self.address)
    }
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    let response: &'static [u8] = response().leak();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            match acceptor {
                None => answer(stream, response).await,
                // A client that does not trust us says so itself.
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, response).await;
                    }
                }
            }
        });
    }
}

async fn answer(mut stream: impl Stream, response: &[u8]) {
    let mut incoming = Incoming::default();
    // A client that is gone is not our concern.
    while let Ok(true) = incoming.next_message(&mut stream).await {
        if stream.write_all(response).await.is_err() || stream.flush().await.is_err() {
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
