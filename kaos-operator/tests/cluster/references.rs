//! What a resource refers to comes late, changes and goes away.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kaos_operator::api::{Agent, McpServer};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::control_plane::{ControlPlane, SYSTEM};
use super::operator::Operator;
use super::{environment, namespace, resource, wait_for, wait_for_message, wait_for_phase};

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn references_may_be_late_missing_and_changed() {
    let plane = ControlPlane::start(&[]).await;
    let _operator = Operator::start(&plane, "first").await;
    namespace(&plane, "refs").await;
    let agents: Api<Agent> = Api::namespaced(plane.client.clone(), "refs");
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "refs");
    let agent = |name: &str, access: &[&str]| {
        let spec = json!({"modelAPI": "m", "model": "a", "mcpServers": ["t"],
            "waitForDependencies": false, "agentNetwork": {"access": access}});
        resource("Agent", "refs", name, spec)
    };
    plane.apply(&agent("lead", &["peer"])).await;
    wait_for_message(&agents, "lead", "Waiting", "ModelAPI m does not exist").await;
    let model = |models: &[&str]| {
        let spec = json!({"mode": "Proxy", "proxyConfig": {"models": models}});
        resource("ModelAPI", "refs", "m", spec)
    };
    plane.apply(&model(&["a"])).await;
    wait_for_message(&agents, "lead", "Waiting", "MCPServer t does not exist").await;
    let tools = json!({"runtime": "custom", "container": {"image": "t:1"}});
    plane
        .apply(&resource("MCPServer", "refs", "t", tools))
        .await;
    wait_for_phase(&agents, "lead", "Pending").await;
    let before = wait_for(&deployments, "agent-lead", |_| true).await;
    assert_eq!(environment(&before).get("PEER_AGENTS"), None);
    assert_eq!(
        environment(&before)["MCP_SERVER_t_URL"],
        "http://mcpserver-t.refs.svc.cluster.local:8000"
    );

    // A peer appears and goes away: those that name it follow, and nobody else.
    plane.apply(&agent("other", &[])).await;
    let other = wait_for(&deployments, "agent-other", |_| true).await;
    plane.apply(&agent("peer", &[])).await;
    let with_peer = wait_for(&deployments, "agent-lead", |now| {
        environment(now)
            .get("PEER_AGENTS")
            .is_some_and(|peers| peers == "peer")
    })
    .await;
    assert_eq!(
        environment(&with_peer)["PEER_AGENT_PEER_CARD_URL"],
        "http://agent-peer.refs.svc.cluster.local:8000"
    );
    agents
        .delete("peer", &DeleteParams::default())
        .await
        .expect("a deletion");
    wait_for(&deployments, "agent-lead", |now| {
        !environment(now).contains_key("PEER_AGENTS")
    })
    .await;
    let other_now = deployments
        .get("agent-other")
        .await
        .expect("the other agent");
    assert_eq!(other_now.metadata.generation, other.metadata.generation);

    // The ModelAPI changes what it serves, and how; then it goes away.
    plane.apply(&model(&["b"])).await;
    let message = "model \"a\" is not served by ModelAPI m, which serves b";
    wait_for_message(&agents, "lead", "Failed", message).await;
    let hosted = json!({"mode": "Hosted", "hostedConfig": {"model": "a"}});
    plane
        .apply(&resource("ModelAPI", "refs", "m", hosted))
        .await;
    wait_for(&deployments, "agent-lead", |now| {
        environment(now)["MODEL_API_URL"] == "http://modelapi-m.refs.svc.cluster.local:11434"
    })
    .await;
    let models: Api<kaos_operator::api::ModelApi> = Api::namespaced(plane.client.clone(), "refs");
    models
        .delete("m", &DeleteParams::default())
        .await
        .expect("a deletion");
    wait_for_message(&agents, "lead", "Waiting", "ModelAPI m does not exist").await;
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn a_changed_registry_reaches_those_that_name_the_runtime() {
    let plane = ControlPlane::start(&[]).await;
    let _operator = Operator::start(&plane, "first").await;
    namespace(&plane, "run").await;
    let servers: Api<McpServer> = Api::namespaced(plane.client.clone(), "run");
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "run");
    let maps: Api<ConfigMap> = Api::namespaced(plane.client.clone(), SYSTEM);
    let server = |runtime: &str| resource("MCPServer", "run", runtime, json!({"runtime": runtime}));
    plane.apply(&server("own")).await;
    plane.apply(&server("kubernetes")).await;
    let kubernetes = wait_for(&deployments, "mcpserver-kubernetes", |_| true).await;
    let message = "runtime \"own\" is not in ConfigMap kaos-mcp-runtimes; it has: kubernetes, python-string, slack";
    wait_for_message(&servers, "own", "Waiting", message).await;
    let registry = maps.get("kaos-mcp-runtimes").await.expect("the registry");
    let text = registry.data.expect("data")["runtimes.yaml"].clone();
    let set = |text: String| Patch::Merge(json!({"data": {"runtimes.yaml": text}}));
    let params = PatchParams::default();
    let added = format!("{text}\n  own: {{image: \"own:1\"}}\n");
    maps.patch("kaos-mcp-runtimes", &params, &set(added))
        .await
        .expect("a runtime");
    wait_for_phase(&servers, "own", "Pending").await;
    wait_for(&deployments, "mcpserver-own", |_| true).await;
    let now = deployments
        .get("mcpserver-kubernetes")
        .await
        .expect("the other server");
    assert_eq!(now.metadata.generation, kubernetes.metadata.generation);
    maps.patch("kaos-mcp-runtimes", &params, &set("runtimes: [".to_owned()))
        .await
        .expect("nonsense");
    let message = "runtimes.yaml of ConfigMap kaos-mcp-runtimes cannot be read";
    wait_for_message(&servers, "own", "Waiting", message).await;
}
