//! Stage 7: spans and metrics to where their services want them.
//!
//! - **In**: [`Signal`](crate::telemetry::Signal)s: finished spans and measurements, each with its
//!   service.
//! - **Out**: OTLP requests to each service's own destination, or text on a stream.
//! - **Keeps**: per destination a queue, a task and a connection (services with equal destinations
//!   share all three); per service its instruments.
//! - **Limits**: [`MAX_DESTINATIONS`](routes::MAX_DESTINATIONS); per destination
//!   `OTEL_BSP_MAX_QUEUE_SIZE` spans and one batch on its way, which is tried for
//!   [`RETRY_FOR`](delivery::RETRY_FOR); per service 2000 sets of attributes of an instrument.
//! - **Loses**: what a queue has no room for, what a collector refuses, does not take in time, or has
//!   not taken when the agent ends (`export.spans_dropped_*`, `export.spans_rejected`).
//!
//! This is done over tonic and hyper with the messages of `opentelemetry-proto`, not with the
//! exporters of `opentelemetry-otlp`. Those are made for one process that exports about itself: they
//! read the environment of the agent and would send its headers to the collectors of others, hide
//! what was retried and rejected, and send one request per resource.

mod client;
mod connection;
pub mod delivery;
mod exemplars;
pub mod exporter;
mod failure;
pub mod json;
mod metrics;
mod request;
pub mod routes;
mod spans;
pub mod stream;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tree;
