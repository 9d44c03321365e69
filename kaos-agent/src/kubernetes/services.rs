//! The watch of the cluster's Services.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::runtime::watcher::Config;

use super::peer;
use super::state::WatchState;
use super::watch::{self, Audience};
use crate::capture::event::PeerInfo;
use crate::capture::news::NewsSender;
use crate::capture::peers::PeerNews;
use crate::identity::peers::MAX_PEERS;
use crate::identity::pods::MAX_PODS;

/// Services that are told of at once: what identity has room for beside the pods.
pub const MOST_SERVICES: usize = MAX_PEERS - MAX_PODS;

/// Watches the cluster's Services that have a virtual address until nobody listens any more. The API
/// server answers from its cache: no agent of a large cluster makes it ask its store.
pub async fn follow_services(client: Client, peers: NewsSender<PeerNews>, state: Arc<WatchState>) {
    let config = Config::default()
        .fields("spec.clusterIP!=None")
        .any_semantic();
    watch::follow(client, config, Listener(peers), state).await;
}

pub(super) struct Listener(pub(super) NewsSender<PeerNews>);

impl Audience<Service> for Listener {
    const WITHOUT: &'static str =
        "the Services of the cluster cannot be watched, going on with the names that are known";
    const MOST: usize = MOST_SERVICES;
    type Told = PeerInfo;

    fn of(&self, service: &Service) -> Option<PeerInfo> {
        peer::of_service(service)
    }

    fn tell(&self, uid: String, peer: PeerInfo) -> bool {
        let peer = Some(Box::new(peer));
        self.0.send(PeerNews { uid, peer })
    }

    fn forget(&self, uid: String) -> bool {
        self.0.send(PeerNews { uid, peer: None })
    }
}
