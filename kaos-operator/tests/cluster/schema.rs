//! What the API server itself refuses, and how it says it.

use serde_json::json;

use super::control_plane::ControlPlane;
use super::resource;

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn every_rule_is_refused_with_its_message() {
    let plane = ControlPlane::start(&[]).await;
    let agent = |spec| resource("Agent", "default", "x", spec);
    let with = |extra: serde_json::Value| {
        let mut spec = json!({"modelAPI": "m", "model": "g"});
        spec.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        agent(spec)
    };
    let server = |spec| resource("MCPServer", "default", "x", spec);
    let model = |spec| resource("ModelAPI", "default", "x", spec);
    let tools = json!({"fromString": "x"});
    let cases = [
        (
            agent(json!({"model": "g"})),
            "spec.modelAPI: Required value",
        ),
        (
            agent(json!({"modelAPI": "m"})),
            "spec.model: Required value",
        ),
        (with(json!({"model": ""})), "spec.model"),
        (
            with(json!({"config": {"reasoningLoopMaxSteps": 0}})),
            "should be greater than or equal to 1",
        ),
        (
            with(json!({"config": {"reasoningLoopMaxSteps": 21}})),
            "should be less than or equal to 20",
        ),
        (
            with(json!({"config": {"memory": {"contextLimit": 101}}})),
            "should be less than or equal to 100",
        ),
        (
            with(json!({"config": {"memory": {"maxSessions": 100_001}}})),
            "should be less than or equal to 100000",
        ),
        (
            with(json!({"config": {"memory": {"maxSessionEvents": 0}}})),
            "should be greater than or equal to 1",
        ),
        (
            with(json!({"config": {"memory": {"type": "redis"}}})),
            "supported values: \"local\"",
        ),
        (
            with(json!({"config": {"toolCallMode": "magic"}})),
            "supported values: \"auto\", \"native\", \"string\"",
        ),
        (
            with(json!({"config": {"telemetry": {"endpoint": "c:4317"}}})),
            "spec.config.telemetry.endpoint",
        ),
        (
            with(json!({"config": {"telemetry": {"source": "all"}}})),
            "supported values: \"both\", \"node\", \"sdk\"",
        ),
        (
            with(json!({"gatewayRoute": {"timeout": "10 minutes"}})),
            "spec.gatewayRoute.timeout",
        ),
        (with(json!({"podSpec": "x"})), "spec.podSpec"),
        (
            resource(
                "Agent",
                "default",
                &"a".repeat(58),
                json!({"modelAPI": "m", "model": "g"}),
            ),
            "metadata.name must be a DNS label of at most 57 characters",
        ),
        (
            resource(
                "Agent",
                "default",
                "a.b",
                json!({"modelAPI": "m", "model": "g"}),
            ),
            "metadata.name must be a DNS label of at most 57 characters",
        ),
        (
            server(json!({})),
            "exactly one of runtime and type must be set",
        ),
        (
            server(
                json!({"runtime": "slack", "type": "python-runtime", "config": {"tools": tools}}),
            ),
            "exactly one of runtime and type must be set",
        ),
        (
            server(json!({"runtime": "custom"})),
            "runtime custom needs container.image",
        ),
        (
            server(json!({"runtime": "slack", "config": {"tools": tools}})),
            "config.tools belongs to type; with runtime, use params",
        ),
        (
            server(json!({"type": "python-runtime"})),
            "type needs config.tools",
        ),
        (
            server(json!({"type": "cobol-runtime"})),
            "supported values: \"python-runtime\", \"node-runtime\"",
        ),
        (
            server(json!({"type": "python-runtime", "config": {"tools": {}}})),
            "exactly one of fromPackage, fromString and fromSecretKeyRef must be set",
        ),
        (
            resource(
                "MCPServer",
                "default",
                &"a".repeat(54),
                json!({"runtime": "slack"}),
            ),
            "metadata.name must be a DNS label of at most 53 characters",
        ),
        (
            model(json!({"mode": "Proxy"})),
            "mode Proxy needs proxyConfig",
        ),
        (
            model(json!({"mode": "Hosted"})),
            "mode Hosted needs hostedConfig",
        ),
        (
            model(json!({"mode": "Other"})),
            "supported values: \"Proxy\", \"Hosted\"",
        ),
        (
            model(json!({"mode": "Proxy", "proxyConfig": {"models": []}})),
            "should have at least 1 items",
        ),
        (
            model(json!({"mode": "Proxy", "proxyConfig": {"models": ["g"], "apiKey": {}}})),
            "exactly one of value and valueFrom must be set",
        ),
        (
            model(
                json!({"mode": "Proxy", "proxyConfig": {"models": ["g"], "apiKey": {"valueFrom": {}}}}),
            ),
            "exactly one of secretKeyRef and configMapKeyRef must be set",
        ),
        (
            model(json!({"mode": "Proxy", "proxyConfig": {"models": ["g"], "configYaml": {}}})),
            "exactly one of fromString and fromSecretKeyRef must be set",
        ),
        (
            resource(
                "ModelAPI",
                "default",
                &"a".repeat(55),
                json!({"mode": "Hosted", "hostedConfig": {"model": "m"}}),
            ),
            "metadata.name must be a DNS label of at most 54 characters",
        ),
    ];
    for (object, message) in cases {
        match plane.try_apply(&object).await {
            Err(error) => assert!(error.to_string().contains(message), "{error}: {object}"),
            Ok(_) => panic!("accepted: {object}"),
        }
    }
    for manifests in ["echo-agent", "every-field", "hosted", "older-shapes"] {
        let path = format!(
            "{}/tests/manifests/{manifests}.yaml",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).expect("the manifests are beside the tests");
        super::namespace(&plane, "full").await;
        plane.apply_yaml(&text).await;
    }
}
