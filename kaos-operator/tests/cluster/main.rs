//! The operator on a real kube-apiserver and etcd, with the rights that the chart gives it.
//!
//! `cargo xtask setup --cluster` builds what this needs; then
//! `cargo test -p kaos-operator --test cluster -- --ignored --test-threads=1`.

mod chart;
mod control_plane;
mod lifecycle;
mod machine;
mod merge;
mod operator;
mod own_telemetry;
mod process;
mod references;
mod scale;
mod schema;
mod telemetry;
mod webhook;

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kaos_operator::api::Component;
use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::control_plane::{ControlPlane, PATIENCE};

/// Waits until something holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    eventually_within(PATIENCE, what, check).await;
}

/// Waits until something holds that takes its time.
pub async fn eventually_within<F: Future<Output = bool>>(
    patience: Duration,
    what: &str,
    check: impl Fn() -> F,
) {
    let started = Instant::now();
    while !check().await {
        assert!(
            started.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until an object is there and satisfies `check`, and returns it.
pub async fn wait_for<K>(api: &Api<K>, name: &str, check: impl Fn(&K) -> bool) -> K
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let started = Instant::now();
    loop {
        let object = api.get_opt(name).await.ok().flatten();
        match object {
            Some(object) if check(&object) => return object,
            object => assert!(
                started.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {name} is {object:#?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a resource is in a phase, as of its newest generation.
pub async fn wait_for_phase<K>(api: &Api<K>, name: &str, phase: &str) -> K
where
    K: Component + Clone + DeserializeOwned + std::fmt::Debug,
{
    wait_for_message(api, name, phase, "").await
}

/// Waits until a resource is in a phase, as of its newest generation, and says why in a message
/// that contains `part`. A phase may have had other reasons before.
pub async fn wait_for_message<K>(api: &Api<K>, name: &str, phase: &str, part: &str) -> K
where
    K: Component + Clone + DeserializeOwned + std::fmt::Debug,
{
    wait_for(api, name, |resource| {
        resource.status().is_some_and(|status| {
            let message = status.message.as_deref().unwrap_or_default();
            format!("{:?}", status.phase) == phase
                && status.observed_generation == resource.meta().generation
                && message.contains(part)
        })
    })
    .await
}

/// Waits until an object is gone.
pub async fn wait_until_gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    eventually(&format!("{name} is gone"), || async {
        api.get_opt(name).await.is_ok_and(|object| object.is_none())
    })
    .await;
}

/// Reports a Deployment as available, in the place of the Deployment controller and the kubelet.
pub async fn make_available(plane: &ControlPlane, namespace: &str, name: &str) {
    let api: Api<Deployment> = Api::namespaced(plane.client.clone(), namespace);
    let deployment = wait_for(&api, name, |_| true).await;
    let replicas = deployment.spec.replicas.unwrap_or(1);
    let status = json!({"status": {
        "observedGeneration": deployment.metadata.generation,
        "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .expect("the status of a Deployment");
}

/// A resource of ours.
pub fn resource(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "kaos.tools/v1alpha1", "kind": kind,
        "metadata": {"namespace": namespace, "name": name}, "spec": spec,
    })
}

/// Makes a namespace.
pub async fn namespace(plane: &ControlPlane, name: &str) {
    plane
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .await;
}

/// The variables of the first container of a Deployment, where they have values.
pub fn environment(deployment: &Deployment) -> std::collections::BTreeMap<String, String> {
    let pod = deployment.spec.template.spec.as_ref().expect("a pod spec");
    let variables = pod.containers[0].env.iter().flatten();
    variables
        .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)))
        .collect()
}
