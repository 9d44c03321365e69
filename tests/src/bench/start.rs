//! How soon after its start the agent tells of a service that was there before it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::load::Load;
use super::report::Start;
use super::sink::Sink;
use super::statistics::Spread;
use super::workload::nginx;
use crate::agent::Agent;

/// How long spans wait for others at most (`OTEL_BSP_SCHEDULE_DELAY` of the service): the rest of
/// the time is the agent's own.
const DELAY: Duration = Duration::from_millis(100);
/// Requests per second that go on meanwhile.
const RATE: f64 = 200.0;
/// Long enough for any start; the load ends when the last start has been measured.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures so many starts, and prints what it finds.
pub fn run(starts: u32) -> Start {
    let sink = Sink::start();
    let server = nginx(&sink, DELAY);
    let done = AtomicBool::new(false);
    let times: Vec<f64> = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Load {
                    port: server.port,
                    tls: server.tls.as_deref(),
                    path: "/",
                    connections: 1,
                    rate: Some(RATE),
                    time: Duration::from_millis(500),
                }
                .run();
            }
        });
        let times = (0..starts)
            .map(|_| {
                let before = sink.ends().total();
                let begin = Instant::now();
                let agent = Agent::start(&["--port", &server.port.to_string()]);
                sink.wait_for(before + 1, PATIENCE);
                let time = begin.elapsed();
                agent.stop();
                time.as_secs_f64() * 1e3
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        times
    });
    let spread = Spread::of(times);
    println!(
        "start: process start to first span at the receiver, {starts} starts\n  {spread:.0} ms"
    );
    Start {
        first_span_ms: spread.median,
    }
}
