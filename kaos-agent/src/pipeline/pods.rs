//! From the API server to the kernel's selection.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use kube::Client;
use tokio::runtime::Runtime;

use crate::capture::live::Live;
use crate::capture::news::channel;
use crate::capture::pods::{Pods, unified_hierarchy};
use crate::kubernetes::{self, Watches};
use crate::settings::PodSelection;

/// A watch of pods that is not begun.
pub(super) struct PodWatch {
    selection: PodSelection,
    client: Client,
    hierarchy: PathBuf,
}

impl PodWatch {
    /// Looks for what it needs.
    ///
    /// # Errors
    /// No Kubernetes is configured, or there is no v2 hierarchy of cgroups.
    pub(super) fn prepare(selection: &PodSelection, runtime: &Runtime) -> anyhow::Result<Self> {
        Ok(Self {
            selection: selection.clone(),
            client: runtime.block_on(kubernetes::client())?,
            hierarchy: unified_hierarchy().ok_or_else(|| {
                anyhow!(
                    "no cgroup v2 file system is mounted, so pods cannot be told apart; mount it \
                     (in a pod: the host's /sys/fs/cgroup)"
                )
            })?,
        })
    }

    /// Begins, and captures what it tells of.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub(super) fn start(self, live: &mut Live, runtime: &Runtime) -> anyhow::Result<Watches> {
        let bell = || live.bell().context("cannot wait for the ring buffer");
        let (pods, pod_news) = channel(bell()?);
        let (peers, peer_news) = channel(bell()?);
        let init_containers = self.selection.init_containers;
        live.follow_pods(Pods::new(pod_news, self.hierarchy, init_containers));
        live.follow_peers(peer_news);
        let mut watches = Watches::default();
        if self.selection.resolve_services {
            let state = Arc::default();
            watches.services = Some(Arc::clone(&state));
            let client = self.client.clone();
            let peers = peers.try_clone().context("cannot wake the pipeline")?;
            runtime.spawn(kubernetes::follow_services(client, peers, state));
        }
        let state = Arc::default();
        watches.pods = Some(Arc::clone(&state));
        let node_name = self.selection.node_name;
        runtime.spawn(kubernetes::follow_pods(
            self.client,
            node_name,
            pods,
            peers,
            state,
        ));
        Ok(watches)
    }
}
