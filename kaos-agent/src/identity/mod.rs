//! Side input: whose process is this, and what does its environment say about telemetry?
//!
//! - **In**: [`ProcessEvent`](crate::capture::event::ProcessEvent)s, in the order of the kernel's,
//!   [`PodEvent`](crate::capture::event::PodEvent)s and
//!   [`PeerEvent`](crate::capture::event::PeerEvent)s.
//! - **Out**: the [`Service`](service::Service) of a process, who has an address of the cluster, and
//!   warnings about settings that make no sense.
//! - **Keeps**: one service per process, shared by all processes that agree in everything; what is
//!   known of the node's pods; addresses of Services and pods.
//! - **Limits**: [`MAX_PROCESSES`](identities::MAX_PROCESSES),
//!   [`MAX_SERVICES`](identities::MAX_SERVICES), [`MAX_PODS`](pods::MAX_PODS) and
//!   [`MAX_PEERS`](peers::MAX_PEERS); a process that has exited is kept for
//!   [`EXITED_KEPT`](identities::EXITED_KEPT).
//!   Certificates that processes name are kept once each, 16 MiB together.
//! - **Loses**: processes beyond those limits, which are then not told, and what is known of pods
//!   and addresses beyond them (`identity.*_refused`).

pub mod agent;
mod certificates;
mod configuration;
pub mod container;
mod destination;
pub mod environment;
mod host;
pub mod identities;
mod naming;
pub(crate) mod peers;
pub(crate) mod pods;
mod sdk;
pub mod service;
mod variables;

/// `host.name` of this machine.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}
