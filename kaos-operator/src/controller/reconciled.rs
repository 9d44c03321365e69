//! What is the same for all kinds that are reconciled.

use kube::ResourceExt as _;
use kube::runtime::reflector::{ObjectRef, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caches::Caches;
use crate::api::{Agent, Component, McpServer, ModelApi};
use crate::reconcile::{
    self, AgentReferences, Desired, McpServerReference, ModelApiReference, Problem,
};
use crate::settings::Settings;

/// A kind that can be reconciled.
pub trait Reconciled:
    Component + Clone + std::fmt::Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// What the resource stands for, with what it refers to taken from the caches.
    ///
    /// # Errors
    /// Why nothing can be made of it now.
    fn desired(&self, caches: &Caches, settings: &Settings) -> Result<Desired, Problem>;
    /// The cache of the kind.
    fn store(caches: &Caches) -> &Store<Self>;
}

impl Reconciled for Agent {
    fn desired(&self, caches: &Caches, settings: &Settings) -> Result<Desired, Problem> {
        reconcile::agent(self, &references(self, caches), settings)
    }

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.agents
    }
}

impl Reconciled for McpServer {
    fn desired(&self, caches: &Caches, settings: &Settings) -> Result<Desired, Problem> {
        reconcile::mcp_server(self, &caches.runtimes(), settings)
    }

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.servers
    }
}

impl Reconciled for ModelApi {
    fn desired(&self, _: &Caches, settings: &Settings) -> Result<Desired, Problem> {
        reconcile::model_api(self, settings)
    }

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.models
    }
}

/// What an Agent refers to, as far as it is in the caches.
pub fn references(agent: &Agent, caches: &Caches) -> AgentReferences {
    let namespace = agent.namespace().unwrap_or_default();
    let spec = &agent.spec;
    let model = ObjectRef::new(&spec.model_api).within(&namespace);
    let mcp_servers = spec.mcp_servers.iter().filter_map(|name| {
        let server = caches
            .servers
            .get(&ObjectRef::new(name).within(&namespace))?;
        Some((name.clone(), McpServerReference::from(server.as_ref())))
    });
    let mut peers: Vec<String> = spec.agent_network.access.clone();
    peers.retain(|name| {
        let peer = caches.agents.get(&ObjectRef::new(name).within(&namespace));
        peer.is_some_and(|peer| peer.spec.agent_network.expose)
    });
    peers.sort_unstable();
    peers.dedup();
    AgentReferences {
        model_api: caches
            .models
            .get(&model)
            .map(|model| ModelApiReference::from(model.as_ref())),
        mcp_servers: mcp_servers.collect(),
        peers,
    }
}
