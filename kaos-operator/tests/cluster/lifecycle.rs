//! From a resource to its objects, back to what was there, and away.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kaos_operator::api::{Agent, McpServer, ModelApi};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::control_plane::ControlPlane;
use super::operator::Operator;
use super::{
    environment, eventually, make_available, namespace, resource, wait_for, wait_for_message,
    wait_for_phase, wait_until_gone,
};

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn resources_become_ready_and_then_nothing_is_written() {
    let plane = ControlPlane::start(&[]).await;
    let operator = Operator::start(&plane, "first").await;
    let manifests = include_str!("../manifests/echo-agent.yaml");
    plane.apply_yaml(manifests).await;
    let agents: Api<Agent> = Api::namespaced(plane.client.clone(), "simple");
    let servers: Api<McpServer> = Api::namespaced(plane.client.clone(), "simple");
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "simple");

    let message = "ModelAPI models is not ready";
    wait_for_message(&agents, "echo-agent", "Waiting", message).await;
    make_available(&plane, "simple", "modelapi-models").await;
    wait_for_phase(&models, "models", "Ready").await;
    make_available(&plane, "simple", "mcpserver-echo").await;
    wait_for_phase(&servers, "echo", "Ready").await;
    make_available(&plane, "simple", "agent-echo-agent").await;
    let agent = wait_for_phase(&agents, "echo-agent", "Ready").await;
    let status = agent.status.expect("a status");
    assert!(status.ready);
    assert_eq!(
        status.endpoint.as_deref(),
        Some("http://agent-echo-agent.simple.svc.cluster.local:8000")
    );
    let linked = status.linked_resources.expect("linked resources");
    assert_eq!(
        (linked.modelapi.as_str(), linked.mcpservers),
        ("models", vec!["echo".to_owned()])
    );

    // A change that concerns nobody reconciles all again, and writes nothing.
    let reconciles = operator.idle().await;
    let before = plane.writes();
    for (kind, name) in [
        ("agents", "echo-agent"),
        ("mcpservers", "echo"),
        ("modelapis", "models"),
    ] {
        let label = Patch::Merge(json!({"metadata": {"labels": {"touched": kind}}}));
        let params = PatchParams::default();
        match kind {
            "agents" => drop(agents.patch(name, &params, &label).await.expect("a label")),
            "mcpservers" => drop(servers.patch(name, &params, &label).await.expect("a label")),
            _ => drop(models.patch(name, &params, &label).await.expect("a label")),
        }
    }
    eventually("all are reconciled again", || async {
        let now = operator.idle().await;
        let mut again = reconciles.iter().map(|(kind, count)| now[kind] > *count);
        again.all(|again| again)
    })
    .await;
    let after = plane.writes();
    assert_eq!(after[before.len()..], []);
    assert!(after.iter().all(|write| write.code < 400), "{after:#?}");
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn drift_is_put_back_and_what_is_not_ours_is_left() {
    let plane = ControlPlane::start(&[]).await;
    let _operator = Operator::start(&plane, "first").await;
    namespace(&plane, "drift").await;
    let spec = json!({"mode": "Proxy", "proxyConfig": {"models": ["a"]},
        "container": {"resources": {"limits": {"cpu": "1000m"}}}});
    plane.apply(&resource("ModelAPI", "drift", "m", spec)).await;
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "drift");
    let services: Api<Service> = Api::namespaced(plane.client.clone(), "drift");
    let maps: Api<ConfigMap> = Api::namespaced(plane.client.clone(), "drift");
    wait_for(&services, "modelapi-m", |_| true).await;
    let image = |deployment: &Deployment| {
        let pod = deployment.spec.template.spec.clone().expect("a pod spec");
        pod.containers
            .iter()
            .find(|container| container.name == "model-api")
            .and_then(|c| c.image.clone())
    };
    let original = wait_for(&deployments, "modelapi-m", |_| true).await;

    let changes = json!({
        "metadata": {"labels": {"theirs": "1"}, "annotations": {"theirs": "1"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [
            {"name": "model-api", "image": "wrong:1"},
            {"name": "sidecar", "image": "sidecar:1"},
        ]}}},
    });
    let params = PatchParams::default();
    let changed = deployments
        .patch("modelapi-m", &params, &Patch::Strategic(changes))
        .await;
    changed.expect("a change by somebody else");
    let repaired = wait_for(&deployments, "modelapi-m", |now| {
        image(now) == image(&original)
    })
    .await;
    assert_eq!(
        repaired.labels().get("theirs").map(String::as_str),
        Some("1")
    );
    assert_eq!(
        repaired.annotations().get("theirs").map(String::as_str),
        Some("1")
    );
    assert_eq!(repaired.spec.replicas, Some(3));
    let containers = repaired.spec.template.spec.expect("a pod spec").containers;
    assert!(
        containers
            .iter()
            .any(|container| container.name == "sidecar")
    );

    // Also where another field manager has taken the field by force, so that both claim it.
    let mut theirs = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "modelapi-m", "namespace": "drift"},
        "spec": {"template": {"spec": {"containers": [{"name": "model-api", "image": "wrong:2"}]}}},
    });
    plane.apply(&theirs).await;
    let repaired = wait_for(&deployments, "modelapi-m", |now| {
        image(now) == image(&original)
    })
    .await;
    assert_eq!(repaired.spec.replicas, Some(3));
    // And now it is they who get the conflict.
    theirs["spec"]["template"]["spec"]["containers"][0]["image"] = json!("wrong:3");
    let refused = deployments
        .patch(
            "modelapi-m",
            &PatchParams::apply("others"),
            &Patch::Apply(&theirs),
        )
        .await;
    match refused {
        Err(kube::Error::Api(status)) => assert_eq!(status.code, 409),
        other => panic!("no conflict: {other:?}"),
    }

    let emptied = Patch::Merge(json!({"data": {"config.yaml": "gone"}}));
    maps.patch("litellm-config-m", &params, &emptied)
        .await
        .expect("a change");
    wait_for(&maps, "litellm-config-m", |map| {
        map.data
            .as_ref()
            .is_some_and(|data| data["config.yaml"].contains("model_list"))
    })
    .await;
    services
        .delete("modelapi-m", &DeleteParams::default())
        .await
        .expect("a deletion");
    wait_for(&services, "modelapi-m", |service| {
        service.metadata.deletion_timestamp.is_none()
    })
    .await;
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn what_a_resource_does_not_want_any_more_goes_away() {
    let mut plane = ControlPlane::start(&[]).await;
    plane.start_garbage_collector();
    let _operator = Operator::start(&plane, "first").await;
    namespace(&plane, "away").await;
    let proxy = json!({"mode": "Proxy", "proxyConfig": {"models": ["a"]}});
    let hosted = json!({"mode": "Hosted", "proxyConfig": null, "hostedConfig": {"model": "a"}});
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "away");
    let services: Api<Service> = Api::namespaced(plane.client.clone(), "away");
    let maps: Api<ConfigMap> = Api::namespaced(plane.client.clone(), "away");
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), "away");
    let port = |service: &Service| {
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone());
        ports
            .unwrap_or_default()
            .iter()
            .map(|port| port.port)
            .collect::<Vec<_>>()
    };

    let template_hash = |deployment: &Deployment| {
        let metadata = deployment
            .spec
            .template
            .metadata
            .clone()
            .unwrap_or_default();
        metadata
            .annotations
            .unwrap_or_default()
            .get("kaos.tools/config-hash")
            .cloned()
    };
    plane
        .apply(&resource("ModelAPI", "away", "m", proxy.clone()))
        .await;
    wait_for(&maps, "litellm-config-m", |_| true).await;
    let first = template_hash(&wait_for(&deployments, "modelapi-m", |_| true).await);
    // A changed configuration rolls the pods.
    let more = json!({"mode": "Proxy", "proxyConfig": {"models": ["a", "b"]}});
    plane.apply(&resource("ModelAPI", "away", "m", more)).await;
    wait_for(&deployments, "modelapi-m", |now| {
        template_hash(now) != first
    })
    .await;
    // To Hosted and back: nothing is left behind.
    plane
        .apply(&resource("ModelAPI", "away", "m", hosted.clone()))
        .await;
    wait_until_gone(&maps, "litellm-config-m").await;
    wait_for(&services, "modelapi-m", |service| port(service) == [11434]).await;
    wait_for(&deployments, "modelapi-m", |now| {
        template_hash(now).is_none()
    })
    .await;
    plane.apply(&resource("ModelAPI", "away", "m", proxy)).await;
    wait_for(&services, "modelapi-m", |service| port(service) == [8000]).await;
    let back = wait_for(&deployments, "modelapi-m", |now| {
        template_hash(now) == first
    })
    .await;
    let pod = back.spec.template.spec.expect("a pod spec");
    assert_eq!(pod.init_containers.unwrap_or_default().len(), 0);
    let volumes: Vec<String> = pod
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(|v| v.name)
        .collect();
    assert_eq!(volumes, ["litellm-config"]);

    // An agent that is not exposed any more has no Service.
    let agent = |expose: bool| {
        let spec = json!({"modelAPI": "m", "model": "a", "waitForDependencies": false,
            "agentNetwork": {"expose": expose}});
        resource("Agent", "away", "a", spec)
    };
    plane.apply(&agent(true)).await;
    wait_for(&services, "agent-a", |_| true).await;
    plane.apply(&agent(false)).await;
    wait_until_gone(&services, "agent-a").await;
    let agents: Api<Agent> = Api::namespaced(plane.client.clone(), "away");
    wait_for(&agents, "a", |agent| {
        agent
            .status
            .as_ref()
            .is_some_and(|status| status.endpoint.is_none())
    })
    .await;

    // A deleted resource takes all that it owned with it.
    models
        .delete("m", &DeleteParams::default())
        .await
        .expect("a deletion");
    wait_until_gone(&deployments, "modelapi-m").await;
    wait_until_gone(&services, "modelapi-m").await;
    wait_until_gone(&maps, "litellm-config-m").await;

    // And comes back under the same name.
    plane
        .apply(&resource("ModelAPI", "away", "m", hosted))
        .await;
    wait_for_phase(&models, "m", "Pending").await;
    wait_for(&deployments, "modelapi-m", |_| true).await;
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn a_bad_spec_fails_and_the_last_good_deployment_stays() {
    let plane = ControlPlane::start(&[]).await;
    let _operator = Operator::start(&plane, "first").await;
    namespace(&plane, "bad").await;
    let model = json!({"mode": "Proxy", "proxyConfig": {"models": ["a"]}});
    plane.apply(&resource("ModelAPI", "bad", "m", model)).await;
    let with = |extra: serde_json::Value| {
        let mut spec = json!({"modelAPI": "m", "model": "a", "waitForDependencies": false,
            "config": {"env": [{"name": "GOOD", "value": "1"}]}});
        let extra = extra.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(extra);
        resource("Agent", "bad", "a", spec)
    };
    let agents: Api<Agent> = Api::namespaced(plane.client.clone(), "bad");
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "bad");
    plane.apply(&with(json!({}))).await;
    wait_for_phase(&agents, "a", "Pending").await;
    let good = wait_for(&deployments, "agent-a", |_| true).await;
    assert_eq!(environment(&good)["GOOD"], "1");
    for (bad, message) in [
        (
            json!({"podSpec": {"containers": [{"image": "x"}]}}),
            "podSpec.containers[0].name is missing",
        ),
        (
            json!({"podSpec": {"nodeSelectr": {}}}),
            "podSpec.nodeSelectr is not a field of a pod spec",
        ),
        (
            json!({"model": "b"}),
            "model \"b\" is not served by ModelAPI m",
        ),
        // Only the API server knows: a mount of a volume that is not there.
        (
            json!({"podSpec": {}, "container": {"volumeMounts": [{"name": "absent", "mountPath": "/x"}]}}),
            "the API server refuses the Deployment",
        ),
    ] {
        plane.apply(&with(bad)).await;
        wait_for_message(&agents, "a", "Failed", message).await;
        let now = deployments.get("agent-a").await.expect("the Deployment");
        assert_eq!(
            now.metadata.generation, good.metadata.generation,
            "{message}"
        );
    }
    plane
        .apply(&with(json!({"podSpec": null, "container": null})))
        .await;
    wait_for_phase(&agents, "a", "Pending").await;
    let events: Api<k8s_openapi::api::core::v1::Event> =
        Api::namespaced(plane.client.clone(), "bad");
    eventually("the failures are events", || async {
        let list = events
            .list(&Default::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default();
        list.iter().any(|event| {
            event.reason.as_deref() == Some("Failed") && event.type_.as_deref() == Some("Warning")
        })
    })
    .await;
}
