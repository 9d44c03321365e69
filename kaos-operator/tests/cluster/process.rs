//! Replicas, an API server that goes away, and an API that comes late.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kaos_operator::api::ModelApi;
use kaos_operator::reconcile::http_route_resource;
use kube::api::{Api, DynamicObject};
use serde_json::json;

use super::control_plane::ControlPlane;
use super::operator::Operator;
use super::{eventually, namespace, resource, wait_for, wait_for_phase};

fn model(name: usize) -> serde_json::Value {
    let spec = json!({"mode": "Proxy", "proxyConfig": {"models": ["a"]}});
    resource("ModelAPI", "proc", &format!("m{name}"), spec)
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn a_second_replica_takes_over_at_once_and_never_writes_before() {
    let plane = ControlPlane::start(&[]).await;
    let mut first = Operator::start(&plane, "first").await;
    namespace(&plane, "proc").await;
    eventually("the first leads", || async { first.leads() }).await;
    let second = Operator::start(&plane, "second").await;
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "proc");
    for number in 0..10 {
        plane.apply(&model(number)).await;
    }
    wait_for_phase(&models, "m9", "Pending").await;
    assert!(!second.leads());
    assert!(!second.log().contains("applied"), "{}", second.log());

    for number in 10..20 {
        plane.apply(&model(number)).await;
    }
    first.terminate().await;
    let stopped = Instant::now();
    let before = first.log();
    eventually("the second leads", || async { second.leads() }).await;
    let took = stopped.elapsed();
    println!("a new leader {} ms after a clean stop", took.as_millis());
    assert!(took < Duration::from_secs(2), "{took:?}");
    for number in 0..20 {
        wait_for_phase(&models, &format!("m{number}"), "Pending").await;
    }
    // Nothing that the first wrote is written again.
    let applied = |log: &str| -> Vec<String> {
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .filter(|line| line["message"] == "applied")
            .map(|line| format!("{} {}", line["kind"], line["name"]))
            .collect()
    };
    let (one, two) = (applied(&before), applied(&second.log()));
    let both: Vec<_> = one.iter().filter(|line| two.contains(line)).collect();
    assert_eq!(both, Vec::<&String>::new());
    assert_eq!(one.len() + two.len(), 20 * 3);
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn a_second_replica_takes_over_from_a_crashed_one_within_the_time_of_the_lease() {
    // 15 s of lease, and what the election takes.
    const LIMIT: Duration = Duration::from_secs(17);
    let plane = ControlPlane::start(&[]).await;
    let mut first = Operator::start(&plane, "first").await;
    eventually("the first leads", || async { first.leads() }).await;
    let second = Operator::start(&plane, "second").await;
    namespace(&plane, "proc").await;
    first.kill();
    let killed = Instant::now();
    plane.apply(&model(0)).await;
    eventually("the second leads", || async { second.leads() }).await;
    let took = killed.elapsed();
    println!("a new leader {:.1} s after a crash", took.as_secs_f64());
    assert!(took < LIMIT, "{took:?}");
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "proc");
    wait_for_phase(&models, "m0", "Pending").await;
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn an_api_server_that_comes_back_finds_the_operator_at_work() {
    let mut plane = ControlPlane::start(&[]).await;
    let operator = Operator::start(&plane, "first").await;
    namespace(&plane, "proc").await;
    eventually("it leads", || async { operator.leads() }).await;
    for number in 0..20 {
        plane.apply(&model(number)).await;
    }
    plane.stop_api_server();
    plane.start_api_server().await;
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "proc");
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "proc");
    plane.apply(&model(20)).await;
    for number in 0..=20 {
        wait_for_phase(&models, &format!("m{number}"), "Pending").await;
        wait_for(&deployments, &format!("modelapi-m{number}"), |_| true).await;
    }
    // The new API server knows nothing of the versions that the watches were at.
    assert!(
        operator.log().contains("too old resource version"),
        "no watch had expired"
    );
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn an_api_server_that_throttles_gets_it_all_in_the_end() {
    let plane = ControlPlane::start(&[]).await;
    // One request of the operator at a time; the others are refused with 429.
    let flow = "flowcontrol.apiserver.k8s.io/v1";
    plane
        .apply(&json!({
            "apiVersion": flow, "kind": "PriorityLevelConfiguration", "metadata": {"name": "narrow"},
            "spec": {"type": "Limited", "limited": {
                "nominalConcurrencyShares": 1, "lendablePercent": 0, "borrowingLimitPercent": 0,
                "limitResponse": {"type": "Reject"},
            }},
        }))
        .await;
    let operator_itself = json!({
        "subjects": [{"kind": "ServiceAccount",
                      "serviceAccount": {"name": "kaos-operator", "namespace": "kaos-system"}}],
        "resourceRules": [{"verbs": ["patch", "create"], "apiGroups": ["*"], "resources": ["*"],
                           "namespaces": ["proc"]}],
    });
    plane
        .apply(&json!({
            "apiVersion": flow, "kind": "FlowSchema", "metadata": {"name": "narrow"},
            "spec": {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": "narrow"},
                     "rules": [operator_itself]},
        }))
        .await;
    let operator = Operator::start(&plane, "first").await;
    eventually("it leads", || async { operator.leads() }).await;
    namespace(&plane, "proc").await;
    for number in 0..40 {
        plane.apply(&model(number)).await;
    }
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "proc");
    for number in 0..40 {
        wait_for_phase(&models, &format!("m{number}"), "Pending").await;
    }
    let refused = plane
        .writes()
        .iter()
        .filter(|write| write.code == 429)
        .count();
    println!("{refused} writes were refused at first");
    assert!(refused > 0, "nothing was throttled: the test tests nothing");
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn routes_follow_when_the_gateway_api_is_installed() {
    let values = [
        "gatewayAPI.enabled=true",
        "gatewayAPI.gatewayName=g",
        "telemetry.enabled=true",
    ];
    let plane = ControlPlane::start(&values).await;
    let _operator = Operator::start(&plane, "first").await;
    namespace(&plane, "proc").await;
    plane.apply(&model(0)).await;
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "proc");
    wait_for_phase(&models, "m0", "Pending").await;
    let condition = |model: &ModelApi, kind: &str| {
        let status = model.status.clone().unwrap_or_default();
        let found = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == kind);
        found.map(|condition| (condition.status, condition.reason))
    };
    let missing = Some(("False".to_owned(), "GatewayApiMissing".to_owned()));
    let now = models.get("m0").await.expect("the model");
    assert_eq!(condition(&now, "GatewayRouteConfigured"), missing);
    let no_endpoint = Some(("False".to_owned(), "EndpointMissing".to_owned()));
    assert_eq!(condition(&now, "TelemetryConfigured"), no_endpoint);

    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    plane
        .apply(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "httproutes.gateway.networking.k8s.io",
                         "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}},
            "spec": {"group": "gateway.networking.k8s.io", "scope": "Namespaced",
                     "names": {"kind": "HTTPRoute", "plural": "httproutes"},
                     "versions": [{"name": "v1", "served": true, "storage": true,
                                   "schema": {"openAPIV3Schema": open}}]},
        }))
        .await;
    let applied = Some(("True".to_owned(), "Applied".to_owned()));
    wait_for(&models, "m0", |now| {
        condition(now, "GatewayRouteConfigured") == applied
    })
    .await;
    let routes: Api<DynamicObject> =
        Api::namespaced_with(plane.client.clone(), "proc", &http_route_resource());
    let route = wait_for(&routes, "modelapi-m0", |_| true).await;
    let prefix = route.data.pointer("/spec/rules/0/matches/0/path/value");
    assert_eq!(prefix, Some(&json!("/proc/modelapi/m0")));
}
