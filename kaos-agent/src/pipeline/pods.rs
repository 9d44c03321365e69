//! From the API server to the kernel's selection.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use kube::Client;
use tokio::runtime::Runtime;

use crate::capture::live::Live;
use crate::capture::pods::{Pods, channel, unified_hierarchy};
use crate::kubernetes::{self, WatchState};
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
    pub(super) fn start(
        self,
        live: &mut Live,
        runtime: &Runtime,
    ) -> anyhow::Result<Arc<WatchState>> {
        let bell = live.bell().context("cannot wait for the ring buffer")?;
        let (sender, news) = channel(bell);
        let init_containers = self.selection.init_containers;
        live.follow_pods(Pods::new(news, self.hierarchy, init_containers));
        let state = Arc::new(WatchState::default());
        let watch = kubernetes::follow(
            self.client,
            self.selection.node_name,
            sender,
            Arc::clone(&state),
        );
        runtime.spawn(watch);
        Ok(state)
    }
}
