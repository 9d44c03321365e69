//! Five hundred agents at once: a test of the writes, and with `cargo xtask bench operator`, which
//! builds the release, a measurement of time and memory.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kaos_operator::api::{Agent, Phase};
use kube::api::{Api, ListParams};
use serde_json::json;

use super::control_plane::{ControlPlane, Write};
use super::operator::Operator;
use super::{eventually, eventually_within, make_available, namespace, resource};

/// How many agents.
const AGENTS: usize = 500;
/// Writes of the operator for each: Deployment, Service, status, and what follows from them.
const WRITES_PER_AGENT: usize = 6;
/// How long it may take until all are at work, in a debug build on a loaded machine.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn five_hundred_agents_at_once() {
    let plane = ControlPlane::start(&[]).await;
    let operator = Operator::start(&plane, "first").await;
    namespace(&plane, "many").await;
    eventually("it leads", || async { operator.leads() }).await;
    let model = json!({"mode": "Proxy", "proxyConfig": {"models": ["*"]}});
    plane.apply(&resource("ModelAPI", "many", "m", model)).await;
    make_available(&plane, "many", "modelapi-m").await;

    let agents: Api<Agent> = Api::namespaced(plane.client.clone(), "many");
    let started = Instant::now();
    stream::iter(0..AGENTS)
        .for_each_concurrent(8, |number| {
            let agents = agents.clone();
            async move {
                let spec = json!({"modelAPI": "m", "model": "a", "config": {"instructions": "x".repeat(200)}});
                let agent = resource("Agent", "many", &format!("a{number}"), spec);
                let agent = serde_json::from_value(agent).expect("an agent");
                agents.create(&Default::default(), &agent).await.expect("an agent is created");
            }
        })
        .await;
    let created = started.elapsed();
    eventually_within(LONG_PATIENCE, "all agents are at work", || async {
        let list = agents
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default();
        let at_work = list.iter().filter(|agent| {
            agent
                .status
                .as_ref()
                .is_some_and(|status| status.phase == Phase::Pending && status.endpoint.is_some())
        });
        at_work.count() == AGENTS
    })
    .await;
    let took = started.elapsed();
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "many");
    let made = deployments
        .list(&ListParams::default())
        .await
        .expect("the Deployments")
        .items
        .len();
    assert_eq!(made, AGENTS + 1);
    let writes: Vec<Write> = plane
        .writes()
        .into_iter()
        .filter(|write| write.name.contains("/a") || write.name.contains("/agent-a"))
        .collect();
    println!(
        "{AGENTS} agents: created in {:.1} s, all at work after {:.1} s, {:.1} writes per agent, {} MiB resident",
        created.as_secs_f64(),
        took.as_secs_f64(),
        writes.len() as f64 / AGENTS as f64,
        operator.resident(),
    );
    assert!(
        writes.len() <= WRITES_PER_AGENT * AGENTS,
        "{}",
        writes.len()
    );
}
