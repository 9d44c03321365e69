//! A pod of the API server to what is used of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, EnvVar, Pod};

use crate::capture::event::{ContainerInfo, PodInfo};
use crate::identity::environment::readable;

/// Labels and annotations that identity reads begin with one of these.
const READ: [&str; 3] = [
    "app.kubernetes.io/",
    "kaos.tools/",
    "resource.opentelemetry.io/",
];

/// Label that a Deployment's ReplicaSet puts on its pods.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// What is used of a pod.
#[must_use]
pub fn describe(pod: &Pod) -> PodInfo {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let regular = spec.map_or(&[][..], |spec| &spec.containers);
    let init = spec.and_then(|spec| spec.init_containers.as_deref());
    let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_deref());
    let statuses = |list: Option<&Vec<ContainerStatus>>| list.cloned().unwrap_or_default();
    let regular_statuses = statuses(status.and_then(|status| status.container_statuses.as_ref()));
    let init_statuses = statuses(status.and_then(|status| status.init_container_statuses.as_ref()));
    let ephemeral_statuses =
        statuses(status.and_then(|status| status.ephemeral_container_statuses.as_ref()));

    let mut containers: Vec<ContainerInfo> = regular
        .iter()
        .map(|container| container_info(container, &regular_statuses, false))
        .collect();
    containers.extend(init.unwrap_or_default().iter().map(|container| {
        // One that is restarted always runs beside the others: a sidecar.
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        container_info(container, &init_statuses, !is_sidecar)
    }));
    containers.extend(ephemeral.unwrap_or_default().iter().map(|container| {
        let (id, restarts) = from_status(&container.name, &ephemeral_statuses);
        ContainerInfo {
            name: container.name.clone(),
            id,
            image: container.image.clone().unwrap_or_default(),
            restarts,
            is_init: false,
            environment: environment(container.env.as_deref()),
        }
    }));
    PodInfo {
        name: metadata.name.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        node: spec.and_then(|spec| spec.node_name.clone()),
        workload: workload(pod),
        labels: read(metadata.labels.as_ref()),
        annotations: read(metadata.annotations.as_ref()),
        containers,
    }
}

fn container_info(
    container: &Container,
    statuses: &[ContainerStatus],
    is_init: bool,
) -> ContainerInfo {
    let (id, restarts) = from_status(&container.name, statuses);
    ContainerInfo {
        name: container.name.clone(),
        id,
        image: container.image.clone().unwrap_or_default(),
        restarts,
        is_init,
        environment: environment(container.env.as_deref()),
    }
}

/// Id, without the runtime's name before it (`containerd://`), and number of restarts.
fn from_status(name: &str, statuses: &[ContainerStatus]) -> (Option<String>, u32) {
    let status = statuses.iter().find(|status| status.name == name);
    let id = status
        .and_then(|status| status.container_id.as_deref())
        .map(|id| id.rsplit_once("://").map_or(id, |(_, id)| id).to_owned());
    let restarts = status.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0));
    (id, restarts)
}

/// Literal values only: where others come from is not ours to read.
fn environment(variables: Option<&[EnvVar]>) -> Vec<(String, String)> {
    let literal = variables
        .unwrap_or_default()
        .iter()
        .filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)))
        // A reference to another variable is resolved by the kubelet.
        .filter(|(_, value)| !value.contains("$("));
    readable(literal)
}

fn read(list: Option<&BTreeMap<String, String>>) -> Vec<(String, String)> {
    list.into_iter()
        .flatten()
        .filter(|(key, _)| READ.iter().any(|start| key.starts_with(start)))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The controller; for a ReplicaSet that a Deployment made, the Deployment, whose name stands
/// before the hash that both share.
fn workload(pod: &Pod) -> Option<(String, String)> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    let labels = pod.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get(TEMPLATE_HASH));
    let deployment = hash
        .filter(|_| owner.kind == "ReplicaSet")
        .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    Some(match deployment {
        Some(name) => ("Deployment".to_owned(), name.to_owned()),
        None => (owner.kind.clone(), owner.name.clone()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_used_of_a_pod() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "agent-a-6d5f-x2v", "namespace": "team", "uid": "u",
                "labels": {"pod-template-hash": "6d5f", "kaos.tools/resource": "a", "secret": "x"},
                "annotations": {"resource.opentelemetry.io/service.name": "n", "other": "x"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "name": "agent-a-6d5f", "uid": "r", "controller": true}],
            },
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": "agent", "image": "i:1", "env": [
                    {"name": "OTEL_SERVICE_NAME", "value": "a"},
                    {"name": "AGENT_NAME", "value": "$(OTHER)"},
                    {"name": "API_KEY", "value": "secret"},
                    {"name": "MODEL_NAME", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                ]}],
                "initContainers": [
                    {"name": "prepare", "image": "p"},
                    {"name": "proxy", "image": "q", "restartPolicy": "Always"},
                ],
            },
            "status": {
                "containerStatuses": [{"name": "agent", "containerID": "containerd://c1",
                    "restartCount": 2, "image": "", "imageID": "", "ready": true}],
            },
        }))
        .expect("a pod");
        let info = describe(&pod);
        let owned = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(info.workload, Some(owned("Deployment", "agent-a")));
        assert_eq!(info.labels, [owned("kaos.tools/resource", "a")]);
        assert_eq!(
            info.annotations,
            [owned("resource.opentelemetry.io/service.name", "n")]
        );
        let told: Vec<_> = info
            .containers
            .iter()
            .map(|it| (it.name.as_str(), it.id.as_deref(), it.restarts, it.is_init))
            .collect();
        assert_eq!(
            told,
            [
                ("agent", Some("c1"), 2, false),
                ("prepare", None, 0, true),
                ("proxy", None, 0, false),
            ]
        );
        assert_eq!(
            info.containers[0].environment,
            [owned("OTEL_SERVICE_NAME", "a")]
        );
    }

    #[test]
    fn containers_that_come_and_come_again_are_told() {
        let told = |status: serde_json::Value| -> Vec<_> {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"name": "p", "uid": "u"},
                "spec": {
                    "containers": [{"name": "agent", "image": "i"}],
                    "ephemeralContainers": [{"name": "debug", "image": "busybox:1", "env": [
                        {"name": "OTEL_SERVICE_NAME", "value": "looking"}]}],
                },
                "status": status,
            }))
            .expect("a pod");
            let containers = describe(&pod).containers.into_iter();
            let told = containers.map(|it| (it.name, it.id, it.restarts, it.is_init));
            told.collect()
        };
        let status = |name: &str, id: &str, restarts: u32| {
            json!([{"name": name, "containerID": id, "restartCount": restarts, "image": "",
                    "imageID": "", "ready": true}])
        };
        let of = |name: &str, id: &str, restarts| {
            (name.to_owned(), Some(id.to_owned()), restarts, false)
        };
        assert_eq!(
            told(
                json!({"containerStatuses": status("agent", "docker://c1", 0),
                        "ephemeralContainerStatuses": status("debug", "docker://d1", 0)})
            ),
            [of("agent", "c1", 0), of("debug", "d1", 0)]
        );
        // Restarted, it has another id.
        assert_eq!(
            told(
                json!({"containerStatuses": status("agent", "cri-o://c2", 1),
                        "ephemeralContainerStatuses": status("debug", "cri-o://d1", 0)})
            ),
            [of("agent", "c2", 1), of("debug", "d1", 0)]
        );
    }

    #[test]
    fn an_ephemeral_container_has_image_and_environment() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"},
            "spec": {
                "containers": [],
                "ephemeralContainers": [{"name": "debug", "image": "busybox:1", "env": [
                    {"name": "OTEL_SERVICE_NAME", "value": "looking"}, {"name": "KEY", "value": "x"}]}],
            },
        }))
        .expect("a pod");
        let containers = describe(&pod).containers;
        assert_eq!(containers[0].image, "busybox:1");
        let name = ("OTEL_SERVICE_NAME".to_owned(), "looking".to_owned());
        assert_eq!(containers[0].environment, [name]);
    }

    #[test]
    fn workloads_that_are_no_deployment_are_told_as_they_are() {
        let owned_by = |kind: &str, name: &str, controller: bool| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u",
                "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "uid": "o",
                    "controller": controller}]}}))
            .expect("a pod");
            workload(&pod).map(|(kind, name)| format!("{kind}/{name}"))
        };
        assert_eq!(
            owned_by("StatefulSet", "db", true).as_deref(),
            Some("StatefulSet/db")
        );
        assert_eq!(
            owned_by("ReplicaSet", "bare", true).as_deref(),
            Some("ReplicaSet/bare")
        );
        assert_eq!(owned_by("StatefulSet", "db", false), None);
    }
}
