//! Which pods of this node are to be observed, and what the API server says of them.
//!
//! - **In**: a watch of the pods of one node with the label [`SELECTOR`]; nothing else is read.
//! - **Out**: [`PodNews`](crate::capture::pods::PodNews), and how the watch fares ([`WatchState`]).
//! - **Keeps**: the UIDs of the pods that were told, to find those that went while nobody watched.
//! - **Limits**: as many as the node has pods.
//! - **Loses**: nothing; without an API server what was known holds, and is caught up with later.

mod pod;
mod watch;

pub use pod::describe;
pub use watch::{Error, SELECTOR, WatchState, client, follow};
