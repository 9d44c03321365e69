//! The watch of this node's pods.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::runtime::watcher::Config;

use super::peer;
use super::pod::describe;
use super::state::WatchState;
use super::watch::{self, Audience};
use crate::capture::event::{PeerInfo, PodInfo};
use crate::capture::news::NewsSender;
use crate::capture::peers::PeerNews;
use crate::capture::pods::PodNews;

/// Label of the pods that are observed: the operator sets it.
pub const SELECTOR: &str = "kaos.tools/telemetry=enabled";

/// Watches the pods of a node until nobody listens any more.
pub async fn follow_pods(
    client: Client,
    node_name: String,
    pods: NewsSender<PodNews>,
    peers: NewsSender<PeerNews>,
    state: Arc<WatchState>,
) {
    let config = Config::default()
        .fields(&format!("spec.nodeName={node_name}"))
        .labels(SELECTOR);
    watch::follow(client, config, Listeners { pods, peers }, state).await;
}

pub(super) struct Listeners {
    pub(super) pods: NewsSender<PodNews>,
    pub(super) peers: NewsSender<PeerNews>,
}

impl Audience<Pod> for Listeners {
    const WITHOUT: &'static str =
        "the pods of this node cannot be watched, going on with what is known";
    // As many as the node has.
    const MOST: usize = usize::MAX;
    type Told = (PodInfo, Option<PeerInfo>);

    fn of(&self, pod: &Pod) -> Option<Self::Told> {
        let info = describe(pod);
        let peer = peer::of_pod(pod, &info);
        Some((info, peer))
    }

    fn tell(&self, uid: String, (info, peer): Self::Told) -> bool {
        let peer = PeerNews {
            uid: uid.clone(),
            peer: peer.map(Box::new),
        };
        let pod = PodNews {
            uid,
            pod: Some(Box::new(info)),
        };
        self.pods.send(pod) && self.peers.send(peer)
    }

    fn forget(&self, uid: String) -> bool {
        let peer = PeerNews {
            uid: uid.clone(),
            peer: None,
        };
        self.pods.send(PodNews { uid, pod: None }) && self.peers.send(peer)
    }
}
