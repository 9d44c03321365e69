//! The watch of this node's pods.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client};
use thiserror::Error;

use super::pod::describe;
use crate::capture::pods::{PodNews, PodSender};
use crate::health::counters::Counters;

/// Label of the pods that are observed: the operator sets it.
pub const SELECTOR: &str = "kaos.tools/telemetry=enabled";

/// No API server can be asked.
#[derive(Debug, Error)]
#[error("no Kubernetes is configured here: {0}; run in a pod, or set KUBECONFIG")]
pub struct Error(String);

/// How the watch fares.
#[derive(Debug, Default)]
pub struct WatchState {
    synced: AtomicBool,
    connected: AtomicBool,
    errors: AtomicU64,
    pods: AtomicU64,
}

impl WatchState {
    /// All pods of the node were told at least once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    /// The last answer of the API server was none of an error.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Requests to the API server that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Pods that are observed now.
    #[must_use]
    pub fn pods(&self) -> u64 {
        self.pods.load(Ordering::Relaxed)
    }
}

impl Counters for WatchState {
    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        visit("kubernetes.watch_errors", self.errors());
    }
}

/// A client of the API server that the service account of this pod, or else the kubeconfig, names.
///
/// # Errors
/// Neither is there, or it makes no sense. That the API server cannot be reached is no error.
pub async fn client() -> Result<Client, Error> {
    Client::try_default()
        .await
        .map_err(|error| Error(error.to_string()))
}

/// Watches the pods of a node until nobody listens any more. Without an API server it goes on
/// trying, ever more slowly; what was told holds meanwhile.
pub async fn follow(client: Client, node_name: String, news: PodSender, state: Arc<WatchState>) {
    let config = watcher::Config::default()
        .fields(&format!("spec.nodeName={node_name}"))
        .labels(SELECTOR);
    let stream = watch(Api::<Pod>::all(client), config).default_backoff();
    let mut stream = pin!(stream);
    let mut follower = Follower {
        news,
        state,
        told: BTreeSet::new(),
        listed: BTreeSet::new(),
    };
    loop {
        match stream.try_next().await {
            Ok(Some(event)) => {
                follower.state.connected.store(true, Ordering::Relaxed);
                if !follower.push(event) {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                let state = &follower.state;
                state.errors.fetch_add(1, Ordering::Relaxed);
                // Once per outage, not once per attempt.
                if state.connected.swap(false, Ordering::Relaxed) || state.errors() == 1 {
                    tracing::warn!(
                        "the pods of this node cannot be watched, going on with what is known: {error}"
                    );
                }
            }
        }
    }
}

struct Follower {
    news: PodSender,
    state: Arc<WatchState>,
    /// UIDs of the pods that were told and are still there.
    told: BTreeSet<String>,
    /// Those of a list that is not complete yet.
    listed: BTreeSet<String>,
}

impl Follower {
    /// False where nobody listens.
    fn push(&mut self, event: Event<Pod>) -> bool {
        let is_heard = match event {
            Event::Init => {
                self.listed.clear();
                true
            }
            Event::InitApply(pod) => {
                self.listed.extend(pod.metadata.uid.clone());
                self.tell(&pod)
            }
            Event::InitDone => {
                let gone: Vec<_> = self.told.difference(&self.listed).cloned().collect();
                self.listed.clear();
                self.state.synced.store(true, Ordering::Relaxed);
                gone.into_iter().all(|uid| self.forget(uid))
            }
            Event::Apply(pod) => self.tell(&pod),
            Event::Delete(pod) => pod.metadata.uid.is_none_or(|uid| self.forget(uid)),
        };
        self.state
            .pods
            .store(self.told.len() as u64, Ordering::Relaxed);
        is_heard
    }

    fn tell(&mut self, pod: &Pod) -> bool {
        let Some((uid, info)) = describe(pod) else {
            return true;
        };
        self.told.insert(uid.clone());
        self.news.send(PodNews {
            uid,
            pod: Some(Box::new(info)),
        })
    }

    fn forget(&mut self, uid: String) -> bool {
        self.told.remove(&uid);
        self.news.send(PodNews { uid, pod: None })
    }
}
