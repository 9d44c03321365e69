//! Who has which address of the cluster, as whoever watches the API server tells.

use super::event::PeerInfo;

/// News of a Service or a pod that has addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNews {
    /// Its UID.
    pub uid: String,
    /// What it is; `None` where it is gone, or has no addresses any more.
    pub peer: Option<Box<PeerInfo>>,
}
