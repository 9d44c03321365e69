//! The admission webhook: what the API server refuses when it asks the operator.

use std::net::{IpAddr, UdpSocket};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kaos_operator::api::{Agent, ModelApi};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, SYSTEM};
use super::machine::free_port;
use super::operator::Operator;
use super::{eventually, namespace, resource, wait_for_message, wait_for_phase};

const NAMESPACE: &str = "hook";
const VALUES: [&str; 2] = [
    "operator.webhook.enabled=true",
    "operator.webhook.failurePolicy=Fail",
];

/// An address of this machine that an endpoint may have: not one of the loopback.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses the address that it would be sent from.
    socket.connect("203.0.113.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// A replica with the webhook, behind its Service where there is an address for that.
async fn replica(plane: &ControlPlane, name: &str, address: Option<IpAddr>) -> Operator {
    let port = free_port();
    if let Some(address) = address {
        plane
            .apply(&json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": SYSTEM,
                             "labels": {"kubernetes.io/service-name": "kaos-operator-webhook"}},
                "addressType": "IPv4",
                "ports": [{"name": "webhook", "port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
            }))
            .await;
    } else {
        by_url(plane, port).await;
    }
    let arguments = [format!("--webhook-listen=0.0.0.0:{port}")];
    Operator::launch(plane, name, &[], &arguments).await
}

/// Has the API server reach the webhook at a port of this machine, not through the Service.
async fn by_url(plane: &ControlPlane, port: u16) {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(plane.client.clone());
    let mut operations = Vec::new();
    for (index, kind) in ["agents", "mcpservers", "modelapis"].iter().enumerate() {
        let client = json!({"url": format!("https://127.0.0.1:{port}/validate/{kind}")});
        let path = format!("/webhooks/{index}/clientConfig");
        operations.push(json!({"op": "replace", "path": path, "value": client}));
    }
    let patch = serde_json::from_value(Value::from(operations)).expect("a patch");
    let patch = Patch::Json::<()>(patch);
    let params = PatchParams::default();
    let patched = configurations.patch("kaos-operator", &params, &patch).await;
    patched.expect("the chart's configuration");
}

/// Certificates in the configuration.
async fn authorities(plane: &ControlPlane) -> usize {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(plane.client.clone());
    let configuration = configurations.get("kaos-operator").await;
    let webhooks = configuration.expect("the configuration").webhooks;
    let bundle = webhooks.unwrap_or_default()[0]
        .client_config
        .ca_bundle
        .clone();
    let bundle = String::from_utf8(bundle.unwrap_or_default().0).expect("PEM");
    bundle.matches("-----BEGIN CERTIFICATE-----").count()
}

fn model(models: &[&str]) -> Value {
    let spec = json!({"mode": "Proxy", "proxyConfig": {"models": models}});
    resource("ModelAPI", NAMESPACE, "m", spec)
}

fn agent(name: &str, spec: Value) -> Value {
    resource("Agent", NAMESPACE, name, spec)
}

/// Whether a replica has come to this result about an Agent.
fn reviews(operator: &Operator, result: &str) -> bool {
    let metrics = operator.get("/metrics").unwrap_or_default();
    let name = format!("kaos_operator_reviews_total{{component=\"agent\",result=\"{result}\"}} ");
    metrics.contains(&name)
}

/// Applies what must be refused by the webhook, and returns why.
async fn refused(plane: &ControlPlane, object: &Value) -> String {
    match plane.try_apply(object).await {
        Ok(_) => panic!("stored: {object}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn both_replicas_refuse_what_cannot_work_with_its_reason() {
    let address = address();
    let plane = ControlPlane::start(&VALUES).await;
    let mut replicas = vec![replica(&plane, "first", address).await];
    if address.is_some() {
        replicas.push(replica(&plane, "second", address).await);
    } else {
        println!("only one replica: this machine has no address but the loopback's");
    }
    namespace(&plane, NAMESPACE).await;
    plane.apply(&model(&["a"])).await;
    let config = json!({"fromString": "model_list: [{model_name: c}]"});
    let proxy = json!({"models": ["a"], "configYaml": config});
    let nodes = json!({"type": "node-runtime", "config": {"tools": {"fromString": "x"}}});
    for (bad, webhook, message) in [
        (
            agent("a", json!({"modelAPI": "m", "model": "b"})),
            "agents.kaos.tools",
            "model \"b\" is not served by ModelAPI m, which serves a",
        ),
        (
            agent(
                "a",
                json!({"modelAPI": "m", "model": "a", "podSpec": {"nodeSelectr": {}}}),
            ),
            "agents.kaos.tools",
            "podSpec.nodeSelectr is not a field of a pod spec",
        ),
        (
            resource(
                "ModelAPI",
                NAMESPACE,
                "n",
                json!({"mode": "Proxy", "proxyConfig": proxy}),
            ),
            "modelapis.kaos.tools",
            "has the model \"c\", which is not in proxyConfig.models",
        ),
        (
            resource("MCPServer", NAMESPACE, "s", nodes),
            "mcpservers.kaos.tools",
            "type node-runtime takes its tools from config.tools.fromPackage only",
        ),
    ] {
        let error = refused(&plane, &bad).await;
        let denied = format!("admission webhook \"{webhook}\" denied the request: ");
        assert!(error.contains(&denied), "{error}");
        assert!(error.contains(message), "{error}");
    }
    // The API server keeps asking the replica that it has a connection to. Without that one it asks
    // the other, which is trusted as well.
    if replicas.len() > 1 {
        let asked = replicas
            .iter()
            .position(|replica| reviews(replica, "refused"));
        let asked = asked.expect("one of them has refused");
        let slices: Api<EndpointSlice> = Api::namespaced(plane.client.clone(), SYSTEM);
        let params = DeleteParams::default();
        let deleted = slices.delete(["first", "second"][asked], &params).await;
        deleted.expect("its endpoint");
        drop(replicas.remove(asked));
    }
    eventually("the other one refuses", || async {
        let error = refused(&plane, &agent("a", json!({"modelAPI": "m", "model": "b"}))).await;
        error.contains("is not served by ModelAPI m")
    })
    .await;
    assert!(reviews(&replicas[0], "refused"));

    // What comes late is waited for.
    plane
        .apply(&agent("late", json!({"modelAPI": "absent", "model": "b"})))
        .await;
    assert!(reviews(&replicas[0], "warned"));

    // A ModelAPI that was changed just now counts, though no cache has it yet.
    for number in 0..20 {
        let name = format!("model-{number}");
        plane.apply(&model(&[&name])).await;
        plane
            .apply(&agent("a", json!({"modelAPI": "m", "model": name})))
            .await;
    }

    // An agent that is bad already can be labelled and deleted, but not changed into another bad one.
    plane.apply(&model(&["z"])).await;
    let agents: Api<Agent> = Api::namespaced(plane.client.clone(), NAMESPACE);
    wait_for_message(&agents, "a", "Failed", "is not served by ModelAPI m").await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let labelled = agents.patch("a", &PatchParams::default(), &label).await;
    labelled.expect("a label concerns nobody");
    let error = refused(&plane, &agent("a", json!({"modelAPI": "m", "model": "y"}))).await;
    assert!(error.contains("which serves z"), "{error}");
    let deleted = agents.delete("a", &DeleteParams::default()).await;
    deleted.expect("what is bad can be deleted");

    // With nobody to ask, it is as the failurePolicy says.
    drop(replicas);
    let error = refused(&plane, &agent("b", json!({"modelAPI": "m", "model": "z"}))).await;
    assert!(error.contains("failed calling webhook"), "{error}");
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn certificates_are_replaced_and_stay_trusted() {
    let mut plane = ControlPlane::start(&VALUES).await;
    let port = free_port();
    by_url(&plane, port).await;
    let arguments = [
        format!("--webhook-listen=127.0.0.1:{port}"),
        "--webhook-certificate-lifetime=15".to_owned(),
    ];
    let operator = Operator::launch(&plane, "first", &[], &arguments).await;
    namespace(&plane, NAMESPACE).await;
    let models: Api<ModelApi> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let bad = json!({"mode": "Proxy", "proxyConfig": {"models": ["a"], "configYaml": {"fromString": "["}}});
    let bad = resource("ModelAPI", NAMESPACE, "bad", bad);
    let is_refused = async |plane: &ControlPlane| {
        let error = refused(plane, &bad).await;
        error.contains("denied the request: proxyConfig.configYaml.fromString")
    };
    eventually("the first certificate is trusted", || is_refused(&plane)).await;
    eventually("the certificate is replaced", || async {
        let log = operator.log();
        log.matches("the webhook's certificate is replaced").count() >= 2
    })
    .await;
    assert!(authorities(&plane).await >= 3);
    // An API server that has no connection from before.
    plane.stop_api_server();
    plane.start_api_server().await;
    eventually("the newest certificate is trusted", || is_refused(&plane)).await;

    // A configuration that somebody emptied is filled again.
    by_url(&plane, port).await;
    eventually("it is trusted again", || async {
        authorities(&plane).await > 0
    })
    .await;
    eventually("it is asked again", || is_refused(&plane)).await;
    eventually("what is good is stored", || async {
        plane.try_apply(&model(&["a"])).await.is_ok()
    })
    .await;
    wait_for_phase(&models, "m", "Pending").await;
}
