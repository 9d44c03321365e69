//! Replicas, an API server that goes away, and an API that comes late.

use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kaos_operator::api::ModelApi;
use kaos_operator::reconcile::http_route_resource;
use kube::api::{Api, DynamicObject};
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, SYSTEM};
use super::operator::Operator;
use super::{eventually, namespace, resource, wait_for, wait_for_phase};

fn model(name: usize) -> Value {
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
    // Given up, so that nobody has to wait until it expires.
    assert_ne!(
        lease(&plane).await.holder_identity.as_deref(),
        Some("first")
    );
    eventually("the second leads", || async { second.leads() }).await;
    let took = stopped.elapsed();
    println!("a new leader {} ms after a clean stop", took.as_millis());
    for number in 0..20 {
        wait_for_phase(&models, &format!("m{number}"), "Pending").await;
    }
    // At no time did both write, and what the first made the second found in order.
    let last = applied(&first)
        .into_iter()
        .max()
        .expect("a write of the first");
    for time in applied(&second) {
        assert!(time > last, "{time} is not after {last}");
    }
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "proc");
    for number in 0..20 {
        let deployment = wait_for(&deployments, &format!("modelapi-m{number}"), |_| true).await;
        assert_eq!(deployment.metadata.generation, Some(1), "m{number}");
    }
}

/// When a replica wrote objects, from its log.
fn applied(operator: &Operator) -> Vec<Timestamp> {
    let log = operator.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"] == "applied")
        .map(|line| {
            let time = line["timestamp"].as_str().expect("a line has a time");
            time.parse().expect("as RFC 3339 has it")
        })
        .collect()
}

/// The lease of the operator.
async fn lease(plane: &ControlPlane) -> LeaseSpec {
    let leases: Api<Lease> = Api::namespaced(plane.client.clone(), SYSTEM);
    let lease = leases.get("kaos-operator").await.expect("the lease");
    lease.spec.expect("a lease says who holds it")
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn a_second_replica_takes_over_from_a_crashed_one_within_the_time_of_the_lease() {
    let plane = ControlPlane::start(&[]).await;
    let mut first = Operator::start(&plane, "first").await;
    eventually("the first leads", || async { first.leads() }).await;
    let second = Operator::start(&plane, "second").await;
    namespace(&plane, "proc").await;
    first.kill();
    let killed = Instant::now();
    let held = lease(&plane).await;
    assert_eq!(held.holder_identity.as_deref(), Some("first"));
    plane.apply(&model(0)).await;
    eventually("the second leads", || async { second.leads() }).await;
    let took = killed.elapsed();
    println!("a new leader {:.1} s after a crash", took.as_secs_f64());
    // Not before the lease had expired: who does not answer may still write.
    let taken = lease(&plane).await.acquire_time.expect("it was taken").0;
    let renewed = held.renew_time.expect("it was renewed").0;
    let duration = i64::from(held.lease_duration_seconds.expect("it expires"));
    let expired = renewed + SignedDuration::from_secs(duration);
    assert!(taken >= expired, "taken {taken}, expired {expired}");
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
    eventually("a watch has expired", || async {
        operator.log().contains("too old resource version")
    })
    .await;
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn an_api_server_that_throttles_gets_it_all_in_the_end() {
    let plane = ControlPlane::start(&[]).await;
    // No request of the operator's at a time: all are refused with 429.
    plane.apply(&priority_level(0)).await;
    let operator_itself = json!({
        "subjects": [{"kind": "ServiceAccount",
                      "serviceAccount": {"name": "kaos-operator", "namespace": "kaos-system"}}],
        "resourceRules": [{"verbs": ["patch", "create"], "apiGroups": ["*"], "resources": ["*"],
                           "namespaces": ["proc"]}],
    });
    plane
        .apply(&json!({
            "apiVersion": FLOW_CONTROL, "kind": "FlowSchema", "metadata": {"name": "narrow"},
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
    eventually("writes are refused", || async {
        plane.writes().iter().any(|write| write.code == 429)
    })
    .await;
    plane.apply(&priority_level(30)).await;
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "proc");
    for number in 0..40 {
        wait_for_phase(&models, &format!("m{number}"), "Pending").await;
    }
}

const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io/v1";

/// A part of the API server's capacity, in shares of it; what is beyond is refused.
fn priority_level(shares: u32) -> Value {
    json!({
        "apiVersion": FLOW_CONTROL, "kind": "PriorityLevelConfiguration", "metadata": {"name": "narrow"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }},
    })
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
    let now = wait_for_phase(&models, "m0", "Pending").await;
    let condition = |model: &ModelApi, kind: &str| {
        let status = model.status.clone().unwrap_or_default();
        let found = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == kind);
        found.map(|condition| (condition.status, condition.reason))
    };
    let missing = Some(("False".to_owned(), "GatewayApiMissing".to_owned()));
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
