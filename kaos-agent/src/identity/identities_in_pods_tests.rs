//! Processes in pods, of which more becomes known, and which go.

use super::*;
use crate::capture::event::{ContainerInfo, PodInfo};

const UID: &str = "1a2b3c4d-0000-4444-8888-0123456789ab";
const ID: &str = "3f5e0a9c7b1d2e4f60718293a4b5c6d7e8f90123456789abcdef0123456789ab";

struct Node(Identities);

impl Node {
    fn new() -> Self {
        Self(Identities::new(AgentDefaults::default()))
    }

    fn process(&mut self, at: Nanos, change: ProcessChange) {
        let event = ProcessEvent { at, pid: 7, change };
        self.0.push(&event, &mut Vec::new());
    }

    fn describe(&mut self, environment: &[(&str, &str)], surroundings: Surroundings) {
        let info = ProcessInfo {
            executable: "/bin/app".to_owned(),
            cgroup: format!("/kubepods/burstable/pod{UID}/{ID}"),
            environment: owned(environment),
            surroundings,
            ..ProcessInfo::default()
        };
        self.process(1, ProcessChange::Described(Box::new(info)));
    }

    fn pod(&mut self, at: Nanos, pod: Option<PodInfo>) {
        let event = PodEvent {
            at,
            uid: UID.to_owned(),
            pod: pod.map(Box::new),
        };
        self.0.push_pod(&event, &mut Vec::new());
    }

    fn service(&self) -> Arc<Service> {
        self.0.service(7).expect("described")
    }

    fn attribute(&self, key: &str) -> Option<String> {
        self.service().resource.get(key).cloned()
    }
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = environment.iter();
    owned
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// A pod with a sidecar, whose containers have no ids yet.
fn pod() -> PodInfo {
    let container = |name: &str, environment| ContainerInfo {
        name: name.to_owned(),
        image: format!("{name}:1"),
        environment: owned(environment),
        ..ContainerInfo::default()
    };
    PodInfo {
        name: "agent-a-6d5f-x2v".to_owned(),
        namespace: "team".to_owned(),
        containers: vec![
            container(
                "agent",
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"),
                    ("OTEL_SERVICE_NAME", "of the specification"),
                ],
            ),
            container("proxy", &[]),
        ],
        ..PodInfo::default()
    }
}

fn within(container: &str) -> Surroundings {
    Surroundings {
        container: Some(container.to_owned()),
        search_domain: Some("team.svc.cluster.local".to_owned()),
        ..Surroundings::default()
    }
}

#[test]
fn news_of_a_pod_reach_the_processes_that_are_known() {
    let mut node = Node::new();
    node.describe(&[], Surroundings::default());
    assert_eq!(node.attribute("k8s.pod.name"), None);
    node.pod(2, Some(pod()));
    let pod_name = node.attribute("k8s.pod.name");
    assert_eq!(pod_name.as_deref(), Some("agent-a-6d5f-x2v"));
    // Which of its two containers is known by the id alone.
    assert_eq!(node.attribute("k8s.container.name"), None);
    let mut with_id = pod();
    with_id.containers[1].id = Some(ID.to_owned());
    node.pod(3, Some(with_id));
    let container = node.attribute("k8s.container.name");
    assert_eq!(container.as_deref(), Some("proxy"));
}

#[test]
fn news_of_another_pod_change_nothing() {
    let mut node = Node::new();
    node.describe(&[], Surroundings::default());
    let before = node.service();
    let event = PodEvent {
        at: 2,
        uid: UID.replace('1', "2"),
        pod: Some(Box::new(pod())),
    };
    node.0.push_pod(&event, &mut Vec::new());
    assert!(Arc::ptr_eq(&before, &node.service()));
}

#[test]
fn the_first_span_of_a_pod_with_a_sidecar_has_its_container() {
    let mut node = Node::new();
    node.pod(0, Some(pod()));
    node.describe(&[("OTEL_SERVICE_NAME", "a")], within("agent"));
    let first = node.service();
    assert_eq!(first.resource["k8s.container.name"], "agent");
    assert_eq!(first.resource["container.image.name"], "agent");
    assert_eq!(
        first.resource["service.instance.id"],
        "team.agent-a-6d5f-x2v.agent"
    );
    // Its id is told later, and it stays the same service.
    let mut with_id = pod();
    with_id.containers[0].id = Some(ID.to_owned());
    node.pod(2, Some(with_id));
    assert!(Arc::ptr_eq(&first, &node.service()));
}

#[test]
fn a_pod_that_is_deleted_while_spans_are_in_flight_is_told_with_them() {
    let mut node = Node::new();
    node.pod(0, Some(pod()));
    node.describe(&[], within("agent"));
    let before = node.service();
    node.pod(2, None);
    assert!(Arc::ptr_eq(&before, &node.service()));
    // What it did last is told after its end.
    node.process(3, ProcessChange::Exited);
    node.0.tick(3 + EXITED_KEPT);
    assert_eq!(
        node.attribute("k8s.pod.name").as_deref(),
        Some("agent-a-6d5f-x2v")
    );
    node.0.tick(4 + EXITED_KEPT);
    assert_eq!(node.0.service(7), None);
}

#[test]
fn a_pods_specification_stands_in_for_an_environment_that_cannot_be_read() {
    let mut node = Node::new();
    node.pod(0, Some(pod()));
    node.describe(&[], within("agent"));
    let service = node.service();
    assert_eq!(service.name, "of the specification");
    let traces = service.traces.as_ref().expect("it has an endpoint");
    assert_eq!(
        traces.endpoint,
        "http://collector.team.svc.cluster.local:4317"
    );
    // That of the other container is another one.
    node.describe(&[], within("proxy"));
    assert_eq!(node.service().traces, None);
    // One that can be read is the only one.
    node.describe(&[("OTEL_SERVICE_NAME", "own")], within("agent"));
    let service = node.service();
    assert_eq!((service.name.as_str(), &service.traces), ("own", &None));
}
