//! What is watched, and who is reconciled when it changes.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{self, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::metrics::{ByWatch, Metrics};
use super::objects::{OWNED, owned_resource};
use super::queue::Queue;
use crate::api::{Agent, Component, McpServer, ModelApi};
use crate::reconcile::{
    MANAGED_BY, MANAGER, RUNTIMES_CONFIG_MAP, RUNTIMES_KEY, Runtimes, http_route_resource,
};
use crate::settings::Settings;

/// Longest time between two attempts to watch: how late we see that an API server is back, or that
/// the Gateway API was installed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// Shortest time between two attempts to watch.
const SHORTEST_BACKOFF: Duration = Duration::from_millis(200);

/// Caches of everything that reconciling reads.
pub struct Caches {
    /// All Agents.
    pub agents: Store<Agent>,
    /// All MCPServers.
    pub servers: Store<McpServer>,
    /// All ModelAPIs.
    pub models: Store<ModelApi>,
    /// Objects that we made, by kind in the order of [`OWNED`].
    owned: Vec<Store<DynamicObject>>,
    /// HTTPRoutes that we made, where the Gateway API is enabled.
    routes: Option<Store<DynamicObject>>,
    /// Whether the cluster serves HTTPRoutes.
    routes_served: Arc<AtomicBool>,
    runtimes: Store<ConfigMap>,
    synced: Arc<AtomicBool>,
    became_synced: Arc<Notify>,
}

/// One watch, which says what its events are about.
struct Watch<K: Resource + Clone + 'static>
where
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    api: Api<K>,
    config: watcher::Config,
    writer: reflector::store::Writer<K>,
    store: Store<K>,
    label: String,
    metrics: Arc<Metrics>,
}

impl Caches {
    /// Starts all watches.
    pub fn start(
        client: &Client,
        settings: &Settings,
        queue: &Arc<Queue>,
        metrics: &Arc<Metrics>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let everything = watcher::Config::default();
        let agents = Watch::new(Api::all(client.clone()), everything.clone(), (), metrics);
        let servers = Watch::new(Api::all(client.clone()), everything.clone(), (), metrics);
        let models = Watch::new(Api::all(client.clone()), everything, (), metrics);
        let runtimes_watch = Watch::new(
            Api::<ConfigMap>::namespaced(client.clone(), &settings.system_namespace),
            watcher::Config::default().fields(&format!("metadata.name={RUNTIMES_CONFIG_MAP}")),
            (),
            metrics,
        );
        let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
        let watch_owned = |resource: ApiResource| {
            let api = Api::all_with(client.clone(), &resource);
            Watch::new(api, ours.clone(), resource, metrics)
        };
        let owned: Vec<_> = OWNED
            .iter()
            .map(|owned| watch_owned(owned_resource(*owned)))
            .collect();
        let routes = settings
            .gateway
            .as_ref()
            .map(|_| watch_owned(http_route_resource()));

        let caches = Self {
            agents: agents.store.clone(),
            servers: servers.store.clone(),
            models: models.store.clone(),
            owned: owned.iter().map(|watch| watch.store.clone()).collect(),
            routes: routes.as_ref().map(|watch| watch.store.clone()),
            routes_served: Arc::default(),
            runtimes: runtimes_watch.store.clone(),
            synced: Arc::default(),
            became_synced: Arc::default(),
        };

        let (to, stores) = (Arc::clone(queue), caches.agents.clone());
        tasks.spawn(agents.run(
            |_| {},
            move |agent: &Agent| {
                add(&to, agent);
                add_agents(&to, &stores, agent.namespace(), |other| {
                    other.spec.agent_network.access.contains(&agent.name_any())
                });
            },
        ));
        let (to, stores) = (Arc::clone(queue), caches.agents.clone());
        tasks.spawn(servers.run(
            |_| {},
            move |server: &McpServer| {
                add(&to, server);
                add_agents(&to, &stores, server.namespace(), |agent| {
                    agent.spec.mcp_servers.contains(&server.name_any())
                });
            },
        ));
        let (to, stores) = (Arc::clone(queue), caches.agents.clone());
        tasks.spawn(models.run(
            |_| {},
            move |model: &ModelApi| {
                add(&to, model);
                add_agents(&to, &stores, model.namespace(), |agent| {
                    agent.spec.model_api == model.name_any()
                });
            },
        ));
        for watch in owned {
            let to = Arc::clone(queue);
            tasks.spawn(watch.run(|_| {}, move |object: &DynamicObject| add_owner(&to, object)));
        }
        if let Some(watch) = routes {
            let (to, served) = (Arc::clone(queue), Arc::clone(&caches.routes_served));
            let resources = caches.resources();
            let wake = Arc::clone(queue);
            let on_state = move |works: bool| {
                if served.swap(works, Ordering::AcqRel) != works {
                    resources.queue(&wake);
                }
            };
            tasks.spawn(watch.run(on_state, move |object: &DynamicObject| {
                add_owner(&to, object)
            }));
        }
        let (to, servers) = (Arc::clone(queue), caches.servers.clone());
        tasks.spawn(runtimes_watch.run(
            |_| {},
            move |_: &ConfigMap| {
                for server in servers
                    .state()
                    .iter()
                    .filter(|server| server.spec.runtime.is_some())
                {
                    add(&to, server.as_ref());
                }
            },
        ));
        tasks.spawn(caches.wait());
        caches
    }

    /// A future that says when all caches were filled once.
    fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let (agents, servers, models) = (
            self.agents.clone(),
            self.servers.clone(),
            self.models.clone(),
        );
        let (owned, runtimes) = (self.owned.clone(), self.runtimes.clone());
        let (synced, became_synced) = (Arc::clone(&self.synced), Arc::clone(&self.became_synced));
        async move {
            let mut ready = agents.wait_until_ready().await.is_ok()
                && servers.wait_until_ready().await.is_ok()
                && models.wait_until_ready().await.is_ok()
                && runtimes.wait_until_ready().await.is_ok();
            for store in owned {
                ready &= store.wait_until_ready().await.is_ok();
            }
            if ready {
                synced.store(true, Ordering::Release);
                became_synced.notify_waiters();
            }
        }
    }

    /// Whether all caches were filled once. HTTPRoutes do not count: their API may be missing.
    pub fn are_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Waits until all caches were filled once.
    pub async fn synced(&self) {
        let notified = self.became_synced.notified();
        if !self.are_synced() {
            notified.await;
        }
    }

    /// The registry of runtimes as it is now. It is read anew each time: it is small, and what was
    /// read before could be older than the cache.
    pub fn runtimes(&self) -> Runtimes {
        let map = self.runtimes.state().into_iter().next();
        let text = map
            .as_ref()
            .and_then(|map| map.data.as_ref()?.get(RUNTIMES_KEY));
        text.map_or_else(Runtimes::default, |text| Runtimes::parse(text))
    }

    /// Whether the cluster serves HTTPRoutes.
    pub fn routes_are_served(&self) -> bool {
        self.routes_served.load(Ordering::Acquire)
    }

    /// The cache of an owned kind.
    pub fn owned(&self, kind: &str) -> Option<&Store<DynamicObject>> {
        match OWNED.iter().position(|owned| owned.0 == kind) {
            Some(position) => self.owned.get(position),
            None => self.routes.as_ref(),
        }
    }

    /// Queues every resource.
    pub fn queue_everything(&self, queue: &Queue) {
        self.resources().queue(queue);
    }

    fn resources(&self) -> Resources {
        Resources {
            agents: self.agents.clone(),
            servers: self.servers.clone(),
            models: self.models.clone(),
        }
    }
}

/// All resources of the three kinds.
struct Resources {
    agents: Store<Agent>,
    servers: Store<McpServer>,
    models: Store<ModelApi>,
}

impl Resources {
    /// Queues them, those first that others wait for.
    fn queue(&self, queue: &Queue) {
        self.models
            .state()
            .iter()
            .for_each(|model| add(queue, model.as_ref()));
        self.servers
            .state()
            .iter()
            .for_each(|server| add(queue, server.as_ref()));
        self.agents
            .state()
            .iter()
            .for_each(|agent| add(queue, agent.as_ref()));
    }
}

fn add<K: Component>(queue: &Queue, resource: &K) {
    queue.add(
        K::COMPONENT,
        &resource.namespace().unwrap_or_default(),
        &resource.name_any(),
    );
}

fn add_agents(
    queue: &Queue,
    agents: &Store<Agent>,
    namespace: Option<String>,
    names_it: impl Fn(&Agent) -> bool,
) {
    for agent in agents.state_filter(|agent| agent.namespace() == namespace && names_it(agent)) {
        add(queue, agent.as_ref());
    }
}

fn add_owner(queue: &Queue, object: &DynamicObject) {
    let namespace = object.namespace().unwrap_or_default();
    for owner in object.owner_references() {
        let component = owner.kind.to_ascii_lowercase();
        queue.add(&component, &namespace, &owner.name);
    }
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone + Send + Sync,
{
    fn new(
        api: Api<K>,
        config: watcher::Config,
        kind: K::DynamicType,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let label = K::plural(&kind).into_owned();
        let writer = reflector::store::Writer::new(kind);
        Self {
            api,
            config,
            store: writer.as_reader(),
            writer,
            label,
            metrics: Arc::clone(metrics),
        }
    }

    /// Runs the watch. `changed` gets every object that may have changed, also those that vanished
    /// while nothing was watched; `works` gets whether the watch works.
    async fn run(
        mut self,
        works: impl Fn(bool) + Send + 'static,
        changed: impl Fn(&K) + Send + 'static,
    ) {
        let events = watch(self.api.clone(), self.config.clone())
            .modify(|object| object.managed_fields_mut().clear())
            .backoff(Doubling(SHORTEST_BACKOFF));
        let mut events = std::pin::pin!(events);
        let mut before = Vec::new();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    works(false);
                    let resource = self.label.clone();
                    self.metrics
                        .watch_errors
                        .get_or_create(&ByWatch { resource })
                        .inc();
                    tracing::warn!(resource = self.label, %error, "a watch failed; trying again");
                    continue;
                }
            };
            if matches!(event, Event::Init) {
                before = self.store.state();
            }
            self.writer.apply_watcher_event(&event);
            match event {
                Event::Apply(object) | Event::Delete(object) => changed(&object),
                Event::InitDone => {
                    works(true);
                    before.drain(..).for_each(|object| changed(&object));
                    self.store.state().iter().for_each(|object| changed(object));
                }
                Event::Init | Event::InitApply(_) => {}
            }
        }
    }
}

/// Delays that double, up to [`LONGEST_BACKOFF`].
struct Doubling(Duration);

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.0;
        self.0 = (2 * delay).min(LONGEST_BACKOFF);
        Some(delay)
    }
}

impl Backoff for Doubling {
    fn reset(&mut self) {
        self.0 = SHORTEST_BACKOFF;
    }
}
