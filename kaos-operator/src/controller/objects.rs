//! Writing owned objects: only what differs, and never what is another's.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams,
    Preconditions,
};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::caches::Caches;
use super::difference::covers;
use super::metrics::{ByWrite, Metrics};
use super::recent::Recent;
use super::spans;
use crate::api::GROUP;
use crate::reconcile::{MANAGER, http_route_resource};

/// Kinds that we make and every cluster has: kind, group, version, plural.
pub const OWNED: [(&str, &str, &str, &str); 3] = [
    ("Deployment", "apps", "v1", "deployments"),
    ("Service", "", "v1", "services"),
    ("ConfigMap", "", "v1", "configmaps"),
];

/// An owned kind for kube's dynamic API.
pub fn owned_resource((kind, group, version, plural): (&str, &str, &str, &str)) -> ApiResource {
    let kind = GroupVersionKind::gvk(group, version, kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}

/// The owned objects of all resources.
pub struct Objects {
    client: Client,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    written: Recent<Key, Arc<DynamicObject>>,
}

/// Kind, namespace and name.
type Key = (String, String, String);

impl Objects {
    /// Through a client, comparing with the caches.
    pub fn new(client: Client, caches: Arc<Caches>, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            caches,
            metrics,
            written: Recent::new(),
        }
    }

    /// The object as it is in the cluster, as far as we know.
    fn live(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let reference = ObjectRef::new_with(name, resource(kind)).within(namespace);
        let cached = self.caches.owned(kind)?.get(&reference);
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        match self.written.get(&key) {
            Some(written) if version(Some(&written)) > version(cached.as_ref()) => Some(written),
            Some(_) => {
                self.written.remove(&key);
                cached
            }
            None => cached,
        }
    }

    /// The Deployment as it is in the cluster, as far as we know.
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<Deployment> {
        let live = self.live("Deployment", namespace, name)?;
        live.as_ref().clone().try_parse().ok()
    }

    /// Makes the object be as desired. Writes nothing where it is; tells whether it wrote.
    ///
    /// # Errors
    /// The API server does not take it.
    pub async fn apply<T: Serialize + Resource>(
        &self,
        kind: &str,
        desired: &T,
    ) -> Result<bool, kube::Error> {
        let name = desired.meta().name.clone().unwrap_or_default();
        let namespace = desired.meta().namespace.clone().unwrap_or_default();
        let mut desired = serde_json::to_value(desired).map_err(kube::Error::SerdeError)?;
        // Of what is not desired any more, nothing in `desired` tells: its hash does.
        let hash = hash(&desired);
        desired["metadata"]["annotations"][format!("{GROUP}/applied-hash")] = Value::String(hash);
        if let Some(live) = self.live(kind, &namespace, &name) {
            let live = serde_json::to_value(live.as_ref()).map_err(kube::Error::SerdeError)?;
            if covers(&live, &desired) {
                return Ok(false);
            }
        }
        let api = self.api(kind, &namespace);
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&desired);
        let request = api.patch(&name, &params, &patch);
        let mut written = spans::write("apply", kind, &namespace, &name, request).await?;
        written.managed_fields_mut().clear();
        self.count(kind, "apply");
        tracing::info!(kind, namespace, name, "applied");
        let key = (kind.to_owned(), namespace, name);
        self.written.insert(key, Arc::new(written));
        Ok(true)
    }

    /// Deletes the object if it is there and `owner` owns it; tells whether it did.
    ///
    /// # Errors
    /// The API server does not delete it.
    pub async fn delete(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        owner: &str,
    ) -> Result<bool, kube::Error> {
        let Some(live) = self.live(kind, namespace, name) else {
            return Ok(false);
        };
        let references = live.owner_references();
        if !references.iter().any(|reference| reference.uid == owner)
            || live.metadata.deletion_timestamp.is_some()
        {
            return Ok(false);
        }
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: live.uid(),
            resource_version: None,
        });
        let api = self.api(kind, namespace);
        let request = api.delete(name, &params);
        match spans::write("delete", kind, namespace, name, request).await {
            Ok(_) => {}
            // Gone already, or another object of the same name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.count(kind, "delete");
        tracing::info!(kind, namespace, name, "deleted");
        Ok(true)
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    fn count(&self, kind: &str, verb: &'static str) {
        let kind = kind.to_owned();
        self.metrics
            .writes
            .get_or_create(&ByWrite { kind, verb })
            .inc();
    }
}

fn resource(kind: &str) -> ApiResource {
    OWNED
        .iter()
        .find(|owned| owned.0 == kind)
        .map_or_else(http_route_resource, |owned| owned_resource(*owned))
}

/// Resource versions of one object can be compared as numbers (Kubernetes 1.35).
fn version(object: Option<&Arc<DynamicObject>>) -> u64 {
    object
        .and_then(|object| object.metadata.resource_version.as_deref()?.parse().ok())
        .unwrap_or_default()
}

fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A status to apply.
pub fn status_patch<T: Resource<DynamicType = ()>>(resource: &T, status: &impl Serialize) -> Value {
    json!({
        "apiVersion": T::api_version(&()),
        "kind": T::kind(&()),
        "metadata": {"name": resource.name_any(), "namespace": resource.namespace()},
        "status": status,
    })
}
