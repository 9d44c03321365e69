//! Who makes the requests.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::bench::http1::Incoming;
use crate::bench::tls::{Stream, Tls};

/// How many calls of each request have arrived.
type Came = watch::Receiver<BTreeMap<usize, usize>>;

/// How a client treats its connections.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Each request has one of its own.
    Closing,
    /// The same, and each request carries a `traceparent` of its own.
    Tracing,
    /// Each has many requests, one after the other.
    Keeping,
    /// Each request has one of its own, and who made one with an odd number leaves when its second
    /// call has arrived.
    Leaving(Came),
}

/// Makes requests.
#[derive(Clone)]
pub struct Client {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Over TLS, if so.
    pub tls: Option<Arc<Tls>>,
    /// What becomes of its connections.
    pub manner: Manner,
}

impl Client {
    /// Makes so many requests, so many at a time.
    pub async fn drive(self, in_flight: usize, requests: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let workers = (0..in_flight).map(|_| {
            let (client, next) = (self.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let numbers = || {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    (number < requests).then_some(number)
                };
                match &client.manner {
                    Manner::Closing | Manner::Tracing => client.ask_each(numbers).await,
                    Manner::Keeping => client.ask_all(numbers).await,
                    Manner::Leaving(came) => client.ask_or_leave(numbers, came.clone()).await,
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.expect("all requests are answered");
        }
    }

    /// Makes so many requests at once, none of which is answered.
    pub async fn ask_in_vain(self, requests: usize) {
        let asking = (0..requests).map(|number| {
            let client = self.clone();
            tokio::spawn(async move {
                let mut stream = client.connect().await;
                client.send(&mut stream, number, "close").await;
                // However the connection ends.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            })
        });
        for asking in asking.collect::<Vec<_>>() {
            asking.await.expect("it waits for the end");
        }
    }

    async fn connect(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await;
        let stream = stream.expect("the server listens");
        match &self.tls {
            None => Box::new(stream),
            Some(tls) => tls.connect(stream).await.expect("it speaks TLS"),
        }
    }

    async fn ask_each(&self, numbers: impl Fn() -> Option<usize>) {
        while let Some(number) = numbers() {
            self.ask(number).await;
        }
    }

    async fn ask(&self, number: usize) {
        let mut stream = self.connect().await;
        self.send(&mut stream, number, "close").await;
        let mut answer = Vec::new();
        // Who speaks TLS may close the connection without a word.
        let end = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("done"),
            "{number}: {answer} {end:?}"
        );
    }

    async fn ask_all(&self, numbers: impl Fn() -> Option<usize>) {
        let mut stream = self.connect().await;
        let mut incoming = Incoming::default();
        while let Some(number) = numbers() {
            self.send(&mut stream, number, "keep-alive").await;
            let answer = incoming.next_message(&mut stream).await;
            assert!(answer.expect("it answers"), "{number}: it closes");
        }
    }

    async fn ask_or_leave(&self, numbers: impl Fn() -> Option<usize>, mut came: Came) {
        while let Some(number) = numbers() {
            if number % 2 == 0 {
                self.ask(number).await;
                continue;
            }
            let mut stream = self.connect().await;
            self.send(&mut stream, number, "close").await;
            let second = |came: &BTreeMap<_, _>| came.get(&number).is_some_and(|calls| *calls > 1);
            came.wait_for(second).await.expect("the backend runs");
        }
    }

    async fn send(&self, stream: &mut Box<dyn Stream>, number: usize, connection: &str) {
        let context = match &self.manner {
            Manner::Tracing => format!("traceparent: 00-{0:032x}-{0:016x}-01\r\n", number + 1),
            Manner::Closing | Manner::Keeping | Manner::Leaving(_) => String::new(),
        };
        let request = format!(
            "GET /in/{number} HTTP/1.1\r\nhost: server\r\nconnection: {connection}\r\n{context}\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        stream.flush().await.expect("it reads");
    }
}
