//! Every row of the contract's table of telemetry settings, in pods.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use kaos_operator::api::McpServer;
use kube::Api;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::operator::Operator;
use super::{environment, eventually, namespace, resource, wait_for};

const GLOBAL: &str = "http://global:4317";
const OWN: &str = "http://own:4317";

/// What a row results in: the endpoint, where telemetry is enabled, and the condition's reason.
type Expected = (Option<&'static str>, &'static str);

async fn check(plane: &ControlPlane, rows: &[(&str, Value, Expected)]) {
    let servers: Api<McpServer> = Api::namespaced(plane.client.clone(), "tel");
    let deployments: Api<Deployment> = Api::namespaced(plane.client.clone(), "tel");
    for (name, telemetry, (endpoint, reason)) in rows {
        let mut spec = json!({"runtime": "custom", "container": {"image": "t:1"}});
        if !telemetry.is_null() {
            spec["telemetry"] = telemetry.clone();
        }
        plane.apply(&resource("MCPServer", "tel", name, spec)).await;
        wait_for(&servers, name, |server| {
            let conditions = server.status.clone().unwrap_or_default().conditions;
            let found = conditions
                .into_iter()
                .find(|condition| condition.type_ == "TelemetryConfigured");
            found.is_some_and(|condition| condition.reason == *reason)
        })
        .await;
        let deployment = wait_for(&deployments, &format!("mcpserver-{name}"), |_| true).await;
        let variables = environment(&deployment);
        let get = |variable: &str| variables.get(variable).map(String::as_str);
        assert_eq!(get("OTEL_EXPORTER_OTLP_ENDPOINT"), *endpoint, "{name}");
        let source = telemetry["source"].as_str().unwrap_or("both");
        let disabled = endpoint.map(|_| if source == "node" { "true" } else { "false" });
        assert_eq!(get("OTEL_SDK_DISABLED"), disabled, "{name}");
        assert_eq!(get("OTEL_SERVICE_NAME"), endpoint.map(|_| *name), "{name}");
        assert_eq!(get("LOG_LEVEL"), Some("INFO"), "{name}");
        let template = deployment.spec.template.metadata.unwrap_or_default();
        let labels = template.labels.unwrap_or_default();
        let traced = endpoint.is_some() && source != "sdk";
        let label = if traced { "enabled" } else { "disabled" };
        assert_eq!(labels["kaos.tools/telemetry"], label, "{name}");
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn every_row_of_the_table() {
    let values = [
        "telemetry.enabled=true",
        "telemetry.endpoint=http://global:4317",
    ];
    let plane = ControlPlane::start(&values).await;
    namespace(&plane, "tel").await;
    let mut operator = Operator::start(&plane, "first").await;
    check(
        &plane,
        &[
            ("absent", Value::Null, (Some(GLOBAL), "Configured")),
            (
                "enabled",
                json!({"enabled": true}),
                (Some(GLOBAL), "Configured"),
            ),
            (
                "both",
                json!({"enabled": true, "endpoint": OWN}),
                (Some(OWN), "Configured"),
            ),
            (
                "endpoint",
                json!({"endpoint": OWN}),
                (Some(OWN), "Configured"),
            ),
            ("off", json!({"enabled": false}), (None, "Disabled")),
            (
                "node",
                json!({"source": "node"}),
                (Some(GLOBAL), "Configured"),
            ),
            (
                "sdk",
                json!({"source": "sdk"}),
                (Some(GLOBAL), "Configured"),
            ),
        ],
    )
    .await;
    operator.terminate().await;

    // The same resources under other settings: what inherits follows.
    let settings = [
        ("DEFAULT_TELEMETRY_ENABLED", "false"),
        ("DEFAULT_TELEMETRY_ENDPOINT", ""),
    ];
    let _operator = Operator::start_with(&plane, "second", &settings).await;
    check(
        &plane,
        &[
            ("absent", Value::Null, (None, "Disabled")),
            (
                "enabled",
                json!({"enabled": true}),
                (None, "EndpointMissing"),
            ),
            (
                "both",
                json!({"enabled": true, "endpoint": OWN}),
                (Some(OWN), "Configured"),
            ),
            ("off", json!({"enabled": false}), (None, "Disabled")),
        ],
    )
    .await;
    let events: Api<Event> = Api::namespaced(plane.client.clone(), "tel");
    eventually("the warning is an event", || async {
        let list = events.list(&Default::default()).await;
        let events = list.map(|list| list.items).unwrap_or_default();
        events.iter().any(|event| {
            event.message.as_deref() == Some("telemetry.enabled=true but endpoint is empty")
                && event.type_.as_deref() == Some("Warning")
        })
    })
    .await;
}
