//! Which pods of this node are to be observed, who has which address of the cluster, and what the API
//! server says of them.
//!
//! - **In**: a watch of the pods of one node with the label [`SELECTOR`], and where it is asked for
//!   one of all Services with a virtual address; nothing else is read.
//! - **Out**: [`PodNews`](crate::capture::pods::PodNews), [`PeerNews`](crate::capture::peers::PeerNews),
//!   and how the watches fare ([`Watches`]).
//! - **Keeps**: UID and digest of what was told, to find what went while nobody watched, and to tell
//!   nothing twice.
//! - **Limits**: as many pods as the node has, and [`MOST_SERVICES`].
//! - **Loses**: Services beyond that (`kubernetes.services_refused`). Without an API server what was
//!   known holds, and is caught up with later.

#[cfg(test)]
mod outage_tests;
mod peer;
mod pod;
mod pods;
mod services;
mod state;
#[cfg(test)]
mod tests;
mod watch;

pub use pods::{SELECTOR, follow_pods};
pub use services::{MOST_SERVICES, follow_services};
pub use state::{WatchState, Watches};
pub use watch::{Error, client};
