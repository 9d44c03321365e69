//! What is known of the node's pods, and what a process inherits from its pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::container::{container_id, pod_uid};
use crate::capture::event::{ContainerInfo, PodEvent, PodInfo, ProcessInfo};

/// Pods that are known at once: several times what a node may run (110 by default, 500 in the
/// largest clusters).
pub const MAX_PODS: usize = 4_096;

/// Annotations that set resource attributes begin with this (OpenTelemetry semantic conventions,
/// "Specify resource attributes using Kubernetes annotations").
const ATTRIBUTE_ANNOTATION: &str = "resource.opentelemetry.io/";

/// That of them which names a service.
pub(crate) const SERVICE_NAME_ANNOTATION: &str = "resource.opentelemetry.io/service.name";

/// Labels that name a service, the best first (the same conventions, "Service attributes").
const NAMING_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/name"];

/// Label of KAOS's operator: name of the custom resource.
pub(crate) const KAOS_RESOURCE: &str = "kaos.tools/resource";

/// The pods that are observed.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: FxHashMap<String, Arc<PodInfo>>,
}

/// Where a process runs: its pod, and its container as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    uid: String,
    pod: Arc<PodInfo>,
    /// Index among the pod's containers.
    container: Option<usize>,
}

impl Pods {
    /// Takes in news; false where there are too many pods.
    pub(super) fn push(&mut self, event: &PodEvent) -> bool {
        match &event.pod {
            None => {
                self.by_uid.remove(&event.uid);
            }
            Some(_) if self.by_uid.len() >= MAX_PODS && !self.by_uid.contains_key(&event.uid) => {
                return false;
            }
            Some(pod) => {
                let pod = Arc::new(PodInfo::clone(pod));
                self.by_uid.insert(event.uid.clone(), pod);
            }
        }
        true
    }

    /// The pod and the container that a process is in.
    pub(super) fn place_of(&self, info: &ProcessInfo) -> Option<Place> {
        let uid = pod_uid(&info.cgroup)?;
        let pod = Arc::clone(self.by_uid.get(&uid)?);
        let container = container_of(&pod, info);
        Some(Place {
            uid,
            pod,
            container,
        })
    }
}

/// Which container a process is in: that whose name it shows itself, else that whose id its cgroup
/// has. The API server tells an id some time after the container began; until then a pod with a
/// single container leaves no doubt.
fn container_of(pod: &PodInfo, info: &ProcessInfo) -> Option<usize> {
    let find = |is_it: &dyn Fn(&ContainerInfo) -> bool| pod.containers.iter().position(is_it);
    let by_name = info.surroundings.container.as_deref();
    let by_name = by_name.and_then(|name| find(&|container| container.name == name));
    let id = container_id(&info.cgroup);
    by_name
        .or_else(|| find(&|container| id.is_some() && container.id.as_deref() == id))
        .or_else(|| (pod.containers.len() == 1).then_some(0))
}

impl Place {
    fn container(&self) -> Option<&ContainerInfo> {
        self.pod.containers.get(self.container?)
    }

    /// Variables of the container's specification, for a process whose own cannot be read.
    pub(super) fn environment(&self) -> &[(String, String)] {
        self.container()
            .map_or(&[], |container| &container.environment)
    }

    /// `service.name` of a service that does not name itself.
    pub(super) fn service_name(&self) -> Option<&str> {
        service_name(&self.pod)
    }

    /// Resource attributes, by the semantic conventions for Kubernetes.
    pub(super) fn attributes(&self) -> BTreeMap<String, String> {
        let pod = &*self.pod;
        let container = self.container();
        let container_name = container.map(|container| container.name.as_str());
        let mut attributes: BTreeMap<String, String> = pod
            .annotations
            .iter()
            .filter_map(|(key, value)| {
                let attribute = key.strip_prefix(ATTRIBUTE_ANNOTATION)?;
                Some((attribute.to_owned(), value.clone()))
            })
            .collect();
        let mut add = |key: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let entry = attributes.entry(key.to_owned());
                entry.or_insert_with(|| value.to_owned());
            }
        };
        add("k8s.namespace.name", Some(&pod.namespace));
        add("k8s.pod.name", Some(&pod.name));
        add("k8s.pod.uid", Some(&self.uid));
        add("k8s.node.name", pod.node.as_deref());
        if let Some((kind, name)) = &pod.workload {
            add(workload_attribute(kind).unwrap_or_default(), Some(name));
        }
        add("k8s.container.name", container_name);
        if let Some(container) = container {
            let restarts = container.restarts.to_string();
            add("k8s.container.restart_count", Some(&restarts));
            let (name, tag) = image_name_and_tag(&container.image);
            add("container.image.name", Some(name));
            add("container.image.tags", tag);
        }
        add("service.namespace", Some(&pod.namespace));
        let instance = [
            Some(pod.namespace.as_str()),
            Some(&pod.name),
            container_name,
        ];
        let instance: Vec<_> = instance.into_iter().flatten().collect();
        add("service.instance.id", Some(&instance.join(".")));
        add("kaos.resource.name", find(&pod.labels, KAOS_RESOURCE));
        attributes.remove("");
        attributes
    }
}

/// `service.name` of what runs in a pod and does not name itself.
pub(crate) fn service_name(pod: &PodInfo) -> Option<&str> {
    let annotated = find(&pod.annotations, SERVICE_NAME_ANNOTATION);
    let mut labels = NAMING_LABELS.iter();
    let workload = pod.workload.as_ref();
    annotated
        .or_else(|| labels.find_map(|label| find(&pod.labels, label)))
        .or_else(|| workload.map(|(_, name)| name.as_str()))
        .or(Some(pod.name.as_str()))
        .filter(|name| !name.is_empty())
}

/// The attribute that names a workload of this kind.
fn workload_attribute(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Deployment" => "k8s.deployment.name",
        "ReplicaSet" => "k8s.replicaset.name",
        "StatefulSet" => "k8s.statefulset.name",
        "DaemonSet" => "k8s.daemonset.name",
        "Job" => "k8s.job.name",
        "CronJob" => "k8s.cronjob.name",
        _ => return None,
    })
}

/// `registry:5000/name:tag@digest`: the port of a registry is no tag.
fn image_name_and_tag(image: &str) -> (&str, Option<&str>) {
    let named = image.split('@').next().unwrap_or(image);
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    }
}

fn find<'a>(list: &'a [(String, String)], key: &str) -> Option<&'a str> {
    list.iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::event::Surroundings;

    const UID: &str = "1a2b3c4d-0000-4444-8888-0123456789ab";
    const ID: &str = "3f5e0a9c7b1d2e4f60718293a4b5c6d7e8f90123456789abcdef0123456789ab";

    fn pod() -> PodInfo {
        let pairs = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        PodInfo {
            name: "agent-a-6d5f-x2v".to_owned(),
            namespace: "team".to_owned(),
            node: Some("node-1".to_owned()),
            workload: Some(("Deployment".to_owned(), "agent-a".to_owned())),
            labels: pairs(&[
                ("app.kubernetes.io/instance", "a"),
                ("kaos.tools/resource", "a"),
            ]),
            annotations: pairs(&[(
                "resource.opentelemetry.io/deployment.environment.name",
                "prod",
            )]),
            containers: vec![ContainerInfo {
                name: "agent".to_owned(),
                image: "registry:5000/kaos/agent:1.2@sha256:00".to_owned(),
                ..ContainerInfo::default()
            }],
        }
    }

    fn place(pod: PodInfo) -> Place {
        place_of_one_in(pod, None)
    }

    fn place_of_one_in(pod: PodInfo, container: Option<&str>) -> Place {
        let mut pods = Pods::default();
        assert!(pods.push(&PodEvent {
            at: 0,
            uid: UID.to_owned(),
            pod: Some(Box::new(pod)),
        }));
        let surroundings = Surroundings {
            container: container.map(str::to_owned),
            ..Surroundings::default()
        };
        let info = ProcessInfo {
            cgroup: format!("/kubepods/burstable/pod{UID}/{ID}"),
            surroundings,
            ..ProcessInfo::default()
        };
        pods.place_of(&info).expect("it is known")
    }

    #[test]
    fn a_process_inherits_from_its_pod() {
        let place = place(pod());
        let attributes: Vec<_> = place
            .attributes()
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            attributes,
            [
                "container.image.name=registry:5000/kaos/agent",
                "container.image.tags=1.2",
                "deployment.environment.name=prod",
                "k8s.container.name=agent",
                "k8s.container.restart_count=0",
                "k8s.deployment.name=agent-a",
                "k8s.namespace.name=team",
                "k8s.node.name=node-1",
                "k8s.pod.name=agent-a-6d5f-x2v",
                "k8s.pod.uid=1a2b3c4d-0000-4444-8888-0123456789ab",
                "kaos.resource.name=a",
                "service.instance.id=team.agent-a-6d5f-x2v.agent",
                "service.namespace=team",
            ]
        );
        assert_eq!(place.service_name(), Some("a"));
    }

    #[test]
    fn one_of_several_containers_is_known_by_its_id() {
        let mut two = pod();
        two.containers.push(ContainerInfo {
            name: "sidecar".to_owned(),
            ..ContainerInfo::default()
        });
        assert_eq!(place(two.clone()).container(), None);
        two.containers[1].id = Some(ID.to_owned());
        assert_eq!(container_name(&place(two)), Some("sidecar"));
    }

    #[test]
    fn one_that_shows_its_name_is_known_before_its_id() {
        let mut two = pod();
        two.containers.push(ContainerInfo {
            name: "sidecar".to_owned(),
            environment: vec![("OTEL_SERVICE_NAME".to_owned(), "aside".to_owned())],
            ..ContainerInfo::default()
        });
        let sidecar = place_of_one_in(two.clone(), Some("sidecar"));
        assert_eq!(container_name(&sidecar), Some("sidecar"));
        let attributes = sidecar.attributes();
        assert_eq!(
            attributes["service.instance.id"],
            "team.agent-a-6d5f-x2v.sidecar"
        );
        assert_eq!(sidecar.environment(), two.containers[1].environment);
        // A name that the pod does not have says nothing, and the id holds.
        two.containers[0].id = Some(ID.to_owned());
        let other = place_of_one_in(two, Some("other"));
        assert_eq!(container_name(&other), Some("agent"));
    }

    fn container_name(place: &Place) -> Option<&str> {
        Some(place.container()?.name.as_str())
    }

    #[test]
    fn services_are_named_after_the_best_that_is_known() {
        let mut pod = pod();
        pod.annotations = vec![(
            "resource.opentelemetry.io/service.name".to_owned(),
            "annotated".to_owned(),
        )];
        assert_eq!(place(pod.clone()).service_name(), Some("annotated"));
        pod.annotations.clear();
        pod.labels.clear();
        assert_eq!(place(pod.clone()).service_name(), Some("agent-a"));
        pod.workload = None;
        assert_eq!(place(pod).service_name(), Some("agent-a-6d5f-x2v"));
    }

    #[test]
    fn pods_that_are_gone_are_forgotten() {
        let mut pods = Pods::default();
        let uid = UID.to_owned();
        let mut event = PodEvent {
            at: 0,
            uid,
            pod: Some(Box::new(pod())),
        };
        pods.push(&event);
        event.pod = None;
        pods.push(&event);
        let info = ProcessInfo {
            cgroup: format!("/kubepods/pod{UID}"),
            ..ProcessInfo::default()
        };
        assert_eq!(pods.place_of(&info), None);
    }

    #[test]
    fn images_have_names_and_tags() {
        for (image, name, tag) in [
            ("a", "a", None),
            ("a:1", "a", Some("1")),
            ("r:5000/a", "r:5000/a", None),
            ("r:5000/a:1@sha256:0", "r:5000/a", Some("1")),
        ] {
            assert_eq!(image_name_and_tag(image), (name, tag));
        }
    }
}
