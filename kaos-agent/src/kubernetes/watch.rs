//! A watch of one kind of object.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::state::WatchState;

/// How often it is asked after an outage whether the API server answers again. A watch that it takes is silent until
/// something changes; of one that has just started so are its bookmarks.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

/// No API server can be asked.
#[derive(Debug, Error)]
#[error("no Kubernetes is configured here: {0}; run in a pod, or set KUBECONFIG")]
pub struct Error(String);

/// A client of the API server that the service account of this pod, or else the kubeconfig, names.
///
/// # Errors
/// Neither is there, or it makes no sense. That the API server cannot be reached is no error.
pub async fn client() -> Result<Client, Error> {
    Client::try_default()
        .await
        .map_err(|error| Error(error.to_string()))
}

/// Who hears of objects.
pub(super) trait Audience<K> {
    /// What is watched and what follows where it cannot be, for the log.
    const WITHOUT: &'static str;
    /// Objects that are told of at once.
    const MOST: usize;
    /// What is told of an object: of the same nothing is told again.
    type Told: Hash;

    /// What is to be told of an object; `None` where there is nothing.
    fn of(&self, object: &K) -> Option<Self::Told>;

    /// Tells; false where nobody listens.
    fn tell(&self, uid: String, told: Self::Told) -> bool;

    /// Tells that an object is gone; false where nobody listens.
    fn forget(&self, uid: String) -> bool;
}

/// Watches until nobody listens any more. Without an API server it goes on trying, ever more slowly;
/// what was told holds meanwhile.
pub(super) async fn follow<K, A>(
    client: Client,
    config: watcher::Config,
    audience: A,
    state: Arc<WatchState>,
) where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
    A: Audience<K>,
{
    let api = Api::<K>::all(client);
    let one = ListParams {
        label_selector: config.label_selector.clone(),
        field_selector: config.field_selector.clone(),
        limit: Some(1),
        ..ListParams::default()
    };
    let stream = watch(api.clone(), config).default_backoff();
    let mut stream = pin!(stream);
    let mut follower = Follower::new(audience, state);
    loop {
        let is_out = follower.state.is_synced() && !follower.state.is_connected();
        let news = tokio::select! {
            news = stream.try_next() => news,
            () = tokio::time::sleep(ASKED_AGAIN), if is_out => {
                let answer = tokio::time::timeout(ASKED_AGAIN, api.list(&one)).await;
                if matches!(answer, Ok(Ok(_))) {
                    follower.state.answered();
                }
                continue;
            }
        };
        match news {
            Ok(Some(event)) => {
                follower.state.answered();
                if !follower.push(event) {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                // Once per outage, not once per attempt.
                if follower.state.failed() {
                    tracing::warn!("{}: {error}", A::WITHOUT);
                }
            }
        }
    }
}

/// What was told, as far as it must be known again.
struct Known {
    /// Number of the list that had it last.
    list: u64,
    /// Digest of what was told.
    digest: u64,
}

pub(super) struct Follower<A> {
    audience: A,
    state: Arc<WatchState>,
    /// What was told and still holds, by UID.
    told: BTreeMap<String, Known>,
    lists: u64,
}

impl<A> Follower<A> {
    pub(super) fn new(audience: A, state: Arc<WatchState>) -> Self {
        Self {
            audience,
            state,
            told: BTreeMap::new(),
            lists: 0,
        }
    }

    /// False where nobody listens.
    pub(super) fn push<K: Resource>(&mut self, event: Event<K>) -> bool
    where
        A: Audience<K>,
    {
        let is_heard = match event {
            Event::Init => {
                self.lists += 1;
                true
            }
            Event::InitApply(object) | Event::Apply(object) => self.apply(&object),
            Event::InitDone => {
                let lists = self.lists;
                let gone = self.told.iter().filter(|(_, known)| known.list < lists);
                let gone: Vec<_> = gone.map(|(uid, _)| uid.clone()).collect();
                self.state.listed();
                gone.into_iter().all(|uid| self.forget(uid))
            }
            Event::Delete(object) => match object.meta().uid.clone() {
                Some(uid) => self.forget(uid),
                None => true,
            },
        };
        self.state.knows(self.told.len());
        is_heard
    }

    fn apply<K: Resource>(&mut self, object: &K) -> bool
    where
        A: Audience<K>,
    {
        // No API server sends one without.
        let Some(uid) = object.meta().uid.clone() else {
            return true;
        };
        let Some(news) = self.audience.of(object) else {
            return self.forget(uid);
        };
        let known = Known {
            list: self.lists,
            digest: digest(&news),
        };
        let is_full = self.told.len() >= A::MOST;
        match self.told.get_mut(&uid) {
            Some(before) if before.digest == known.digest => {
                before.list = known.list;
                return true;
            }
            Some(_) => {}
            None if is_full => {
                self.state.refused();
                return true;
            }
            None => {}
        }
        self.told.insert(uid.clone(), known);
        self.audience.tell(uid, news)
    }

    fn forget<K>(&mut self, uid: String) -> bool
    where
        A: Audience<K>,
    {
        self.told.remove(&uid).is_none() || self.audience.forget(uid)
    }
}

fn digest(told: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    told.hash(&mut hasher);
    hasher.finish()
}
