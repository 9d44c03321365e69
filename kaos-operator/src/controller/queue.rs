//! Which resources are to be reconciled.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::ObjectRef;

use super::metrics::Metrics;
use crate::api::{Agent, Component, McpServer, ModelApi};

/// References to reconcile, of one kind.
pub type Input<K> = UnboundedReceiver<ObjectRef<K>>;

/// The inputs of the three controllers.
pub struct Inputs {
    /// Of the Agents.
    pub agents: Input<Agent>,
    /// Of the MCPServers.
    pub servers: Input<McpServer>,
    /// Of the ModelAPIs.
    pub models: Input<ModelApi>,
}

struct Outputs {
    agents: UnboundedSender<ObjectRef<Agent>>,
    servers: UnboundedSender<ObjectRef<McpServer>>,
    models: UnboundedSender<ObjectRef<ModelApi>>,
}

/// Resources that wait to be reconciled. Each is in it once, so it is bounded by their number. It
/// takes nothing before it is opened: a replica that does not lead only keeps its caches.
pub struct Queue {
    waiting: Mutex<HashSet<(&'static str, String, String)>>,
    outputs: Mutex<Option<Outputs>>,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// A closed queue.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            outputs: Mutex::default(),
            metrics,
        }
    }

    /// Opens it, once this replica leads.
    pub fn open(&self) -> Inputs {
        let (agents, agents_input) = unbounded();
        let (servers, servers_input) = unbounded();
        let (models, models_input) = unbounded();
        *self.outputs.lock().unwrap_or_else(PoisonError::into_inner) = Some(Outputs {
            agents,
            servers,
            models,
        });
        Inputs {
            agents: agents_input,
            servers: servers_input,
            models: models_input,
        }
    }

    /// Adds a resource by the name of its component.
    pub fn add(&self, component: &str, namespace: &str, name: &str) {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(outputs) = outputs.as_ref() else {
            return;
        };
        match component {
            Agent::COMPONENT => self.send(&outputs.agents, namespace, name),
            McpServer::COMPONENT => self.send(&outputs.servers, namespace, name),
            ModelApi::COMPONENT => self.send(&outputs.models, namespace, name),
            _ => {}
        }
    }

    fn send<K: Component>(
        &self,
        output: &UnboundedSender<ObjectRef<K>>,
        namespace: &str,
        name: &str,
    ) {
        let key = (K::COMPONENT, namespace.to_owned(), name.to_owned());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.insert(key) {
            return;
        }
        self.metrics.queue_depth.set(waiting.len() as i64);
        // It fails only when the controller has stopped.
        let _ = output.unbounded_send(ObjectRef::new(name).within(namespace));
    }

    /// Says that a resource is being reconciled: what changes from now on queues it again.
    pub fn taken<K: Component>(&self, namespace: &str, name: &str) {
        let key = (K::COMPONENT, namespace.to_owned(), name.to_owned());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&key);
        self.metrics.queue_depth.set(waiting.len() as i64);
    }
}
