//! The load generator: keep-alive connections that send one request again and again, as fast as
//! they are answered or at a fixed rate.
//!
//! Written here because `wrk` has no rate limit, and the generators that have one (`oha`, `wrk2`)
//! are in no distribution that we set up.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::http1::Incoming;
use super::statistics::quantile;
use super::tls::{Stream, Tls};

/// How a server is loaded.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Over TLS, if so.
    pub tls: Option<&'a Tls>,
    /// Path that is asked for.
    pub path: &'a str,
    /// Connections that are used at once.
    pub connections: u32,
    /// Requests per second over all connections; without it, as fast as they are answered.
    pub rate: Option<f64>,
    /// No request begins later than this after the first.
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Requests that were answered: all that were sent.
    pub requests: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Times to the whole answer, µs, sorted.
    latencies: Vec<f64>,
}

impl Outcome {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Latency in µs that this share of the requests did not exceed.
    pub fn latency(&self, share: f64) -> f64 {
        quantile(&self.latencies, share)
    }
}

/// Hands out the moments at which requests begin.
struct Schedule {
    begin: Instant,
    end: Instant,
    /// Time between two requests; without it they begin at once.
    interval: Option<Duration>,
    next: AtomicU64,
}

impl Schedule {
    /// When the next request begins, or `None` when there is none.
    fn next(&self) -> Option<Instant> {
        let at = match self.interval {
            Some(interval) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.begin + interval.mul_f64(number as f64)
            }
            None => Instant::now(),
        };
        (at < self.end).then_some(at)
    }
}

impl Load<'_> {
    /// Runs on a thread and a runtime of its own until all requests are answered.
    ///
    /// # Panics
    /// The server cannot be reached, or breaks a connection.
    pub fn run(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        let outcome = runtime.block_on(self.drive());
        outcome.unwrap_or_else(|error| panic!("the server on port {} fails: {error}", self.port))
    }

    async fn drive(&self) -> io::Result<Outcome> {
        let request = format!("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", self.path);
        let request: Arc<[u8]> = request.into_bytes().into();
        let mut streams = Vec::new();
        for _ in 0..self.connections {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match self.tls {
                Some(tls) => tls.connect(stream).await?,
                None => Box::new(stream),
            };
            streams.push(stream);
        }
        let begin = Instant::now();
        let schedule = Arc::new(Schedule {
            begin,
            end: begin + self.time,
            interval: self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            next: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for stream in streams {
            tasks.spawn(repeat(stream, Arc::clone(&request), Arc::clone(&schedule)));
        }
        let mut latencies = Vec::new();
        while let Some(result) = tasks.join_next().await {
            latencies.extend(result.map_err(io::Error::other)??);
        }
        latencies.sort_by(f64::total_cmp);
        Ok(Outcome {
            requests: latencies.len() as u64,
            elapsed: begin.elapsed(),
            latencies,
        })
    }
}

/// Sends requests over one connection as the schedule says; the latencies in µs.
async fn repeat(
    mut stream: Box<dyn Stream>,
    request: Arc<[u8]>,
    schedule: Arc<Schedule>,
) -> io::Result<Vec<f64>> {
    let mut incoming = Incoming::default();
    let mut latencies = Vec::new();
    while let Some(due) = schedule.next() {
        // A request that is late because the server kept all connections busy counts from when it
        // was due; one that the timer woke late, from when it was sent.
        let begin = if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
            Instant::now()
        } else {
            due
        };
        stream.write_all(&request).await?;
        stream.flush().await?;
        if !incoming.next_message(&mut stream).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        latencies.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_ends() {
        let begin = Instant::now();
        let schedule = Schedule {
            begin,
            end: begin + Duration::from_secs(1),
            interval: Some(Duration::from_millis(400)),
            next: AtomicU64::new(0),
        };
        let due: Vec<_> = std::iter::from_fn(|| schedule.next())
            .map(|at| at - begin)
            .collect();
        assert_eq!(due, [0, 400, 800].map(Duration::from_millis));
    }
}
