//! Delivering a request: attempts, pauses between them, and who is told about failures.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::client::Client;
use super::connection::Connections;
use super::failure::Failure;
use super::request::ExportRequest;
use super::tally::Tally;
use crate::identity::service::Destination;

/// How long a batch of spans is tried: a collector may be restarted meanwhile. The OpenTelemetry
/// Collector's own exporters take as long.
pub const RETRY_FOR: Duration = Duration::from_secs(300);

/// Pause after the first failure; it doubles with each further one up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A destination that keeps failing is spoken of this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What becomes of what cannot be delivered now.
const WAITS: &str = "telemetry waits and is sent again";

/// The same of a collector in the pod, which listens for the pod alone, or has not begun.
const WAITS_FOR_POD: &str = "telemetry waits and is sent again; the process calls this host its own: let the collector \
                             in its pod listen on all addresses (0.0.0.0), not on the loopback alone";

/// Why a request was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// It will never be.
    Refused,
    /// It was not within the time limit.
    Unreachable,
}

/// Delivers requests to one destination, one after the other.
#[derive(Debug)]
pub(super) struct Delivery {
    destination: Destination,
    attempt_timeout: Duration,
    connections: Arc<Connections>,
    /// Made when it is first needed.
    client: Option<Client>,
    /// Becomes true when the agent wants to end.
    stopping: watch::Receiver<bool>,
    tally: Tally,
    last_complaint: Option<Instant>,
}

impl Delivery {
    pub(super) fn new(
        destination: Destination,
        attempt_timeout: Duration,
        connections: Arc<Connections>,
        stopping: watch::Receiver<bool>,
        tally: Tally,
    ) -> Self {
        Self {
            destination,
            attempt_timeout,
            connections,
            client: None,
            stopping,
            tally,
            last_complaint: None,
        }
    }

    /// Tries until it is delivered, refused, or `time_limit` has passed. Returns how many items were
    /// rejected.
    pub(super) async fn deliver<R: ExportRequest>(
        &mut self,
        request: &R,
        time_limit: Duration,
    ) -> Result<u64, Undelivered> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut body = None;
        loop {
            let failure = match self.attempt(request, &mut body).await {
                Ok(rejected) => {
                    self.delivered();
                    return Ok(rejected);
                }
                Err(failure) => failure,
            };
            let after = match failure {
                Failure::Permanent { reason } => {
                    self.complain(&reason, "telemetry is refused and dropped");
                    return Err(Undelivered::Refused);
                }
                Failure::Retryable { after, reason } => {
                    let consequence = match self.destination.is_in_own_pod() {
                        true => WAITS_FOR_POD,
                        false => WAITS,
                    };
                    self.complain(&reason, consequence);
                    after
                }
            };
            let time_left = time_limit.saturating_sub(began.elapsed());
            if time_left.is_zero() {
                self.complain("too many attempts failed", "telemetry is dropped");
                return Err(Undelivered::Unreachable);
            }
            // Half of the pause at least, so that many agents do not come back at one moment.
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
            let delay = after.map_or(jittered, |asked| jittered.max(asked));
            // The last attempt is made when time is up.
            let delay = delay.min(time_left);
            self.wait(delay).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.tally.count(|counters| counters.retries += 1);
        }
    }

    async fn attempt<R: ExportRequest>(
        &mut self,
        request: &R,
        body: &mut Option<Bytes>,
    ) -> Result<u64, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::new(&self.destination, self.attempt_timeout, &self.connections)?,
        };
        let client = self.client.insert(client);
        let encoded = match body {
            Some(encoded) => encoded.clone(),
            None => body.insert(client.encode(request)?).clone(),
        };
        client.send::<R>(encoded).await
    }

    /// A pause; a short one when the agent wants to end.
    async fn wait(&mut self, delay: Duration) {
        let stopping = async {
            // Fails where the exporter is gone, which is the end as well.
            let _ = self.stopping.wait_for(|stopping| *stopping).await;
            sleep(FIRST_PAUSE).await;
        };
        tokio::select! {
            () = sleep(delay) => {}
            () = stopping => {}
        }
    }

    fn delivered(&mut self) {
        if self.last_complaint.take().is_some() {
            info!(destination = self.label(), "telemetry is delivered again");
        }
    }

    fn complain(&mut self, reason: &str, consequence: &str) {
        let is_due = self
            .last_complaint
            .is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
        if is_due {
            self.last_complaint = Some(Instant::now());
            warn!(destination = self.label(), reason, "{consequence}");
        }
    }

    fn label(&self) -> &str {
        label(&self.destination)
    }
}

/// How a destination is called in logs and counters: without the query, which may hold a key.
pub(super) fn label(destination: &Destination) -> &str {
    let endpoint = &destination.endpoint;
    endpoint.split_once('?').map_or(endpoint, |(url, _)| url)
}
