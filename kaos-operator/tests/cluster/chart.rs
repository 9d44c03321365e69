//! What helm makes of the chart.

use std::collections::BTreeMap;

use kaos_operator::reconcile::Runtimes;
use kaos_operator::settings::{LogLevel, Settings};
use serde_json::Value;

use super::control_plane::{chart, documents, helm, helm_template};

/// Everything that is off by default.
const EVERYTHING: &[&str] = &[
    "telemetry.enabled=true",
    "telemetry.endpoint=http://otel-collector:4317",
    "telemetry.source=node",
    "logLevel=TRACE",
    "gatewayAPI.enabled=true",
    "gatewayAPI.gatewayNamespace=gateways",
    "operator.replicas=2",
    "operator.telemetry.endpoint=http://otel-collector:4317",
    "operator.env[0].name=OTEL_SERVICE_NAME",
    "operator.env[0].value=operator",
    "operator.volumes[0].name=authority",
    "operator.volumes[0].configMap.name=authority",
    "operator.volumeMounts[0].name=authority",
    "operator.volumeMounts[0].mountPath=/authority",
    "operator.webhook.enabled=true",
    "operator.webhook.failurePolicy=Fail",
    "operator.podDisruptionBudget.enabled=true",
    "operator.networkPolicy.enabled=true",
    "operator.podMonitor.enabled=true",
    "operator.priorityClassName=system-cluster-critical",
    "operator.nodeSelector.disk=ssd",
    "operator.podLabels.team=a",
    "operator.podAnnotations.note=b",
    "operator.serviceAccount.annotations.role=c",
    "mcpRuntimes.custom.own.image=own:1",
    "agent.logLevel=DEBUG",
    "agent.args[0]=--init-containers",
    "agent.env[0].name=NO_COLOR",
    "agent.env[0].value=1",
    "agent.resolveServices=false",
    "agent.sysAdmin=true",
    "agent.appArmorProfile=RuntimeDefault",
    "agent.imagePullSecrets[0].name=registry",
    "agent.priorityClassName=system-node-critical",
    "agent.networkPolicy.enabled=true",
    "agent.podMonitor.enabled=true",
    "agent.podLabels.team=a",
    "agent.podAnnotations.note=b",
    "agent.serviceAccount.annotations.role=c",
];

/// The documents of the chart without the definitions, which are generated.
fn without_definitions(text: &str) -> String {
    text.split("---\n")
        .filter(|document| !document.contains("\nkind: CustomResourceDefinition\n"))
        .collect::<Vec<_>>()
        .join("---\n")
}

fn config_map(text: &str, name: &str) -> BTreeMap<String, String> {
    let found = documents(text)
        .into_iter()
        .find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name);
    let found: Value = found.expect("the ConfigMap");
    serde_json::from_value(found["data"].clone()).expect("texts")
}

#[test]
#[ignore = "cluster: needs helm"]
fn golden_templates() {
    let plain = helm_template(&[]).expect("the defaults are valid");
    insta::assert_snapshot!("chart-defaults", without_definitions(&plain));
    let everything = helm_template(EVERYTHING).expect("all values are valid");
    insta::assert_snapshot!("chart-everything", without_definitions(&everything));
    assert_eq!(
        plain.matches("\nkind: CustomResourceDefinition\n").count(),
        3
    );
    let none = helm_template(&["crds.install=false"]).expect("valid values");
    assert!(!none.contains("CustomResourceDefinition"));
    let nothing = helm_template(&[
        "crds.install=false",
        "operator.enabled=false",
        "agent.enabled=false",
    ]);
    assert_eq!(
        documents(&nothing.expect("valid values")),
        Vec::<Value>::new()
    );
}

#[test]
#[ignore = "cluster: needs helm"]
fn helm_finds_nothing_to_complain_about() {
    let everything = EVERYTHING.iter().flat_map(|value| ["--set", value]);
    let output = helm()
        .args(["lint", "--strict"])
        .arg(chart())
        .args(everything)
        .output()
        .expect("helm runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

#[test]
#[ignore = "cluster: needs helm"]
fn the_operator_understands_what_the_chart_writes() {
    for values in [&[][..], EVERYTHING] {
        let text = helm_template(values).expect("valid values");
        let settings = Settings::from_variables(config_map(&text, "kaos-operator-settings"));
        let settings = settings.expect("settings that the operator understands");
        assert_eq!(settings.system_namespace, "kaos-system");
        assert_eq!(settings.gateway.is_some(), !values.is_empty());
        let level = if values.is_empty() {
            LogLevel::Info
        } else {
            LogLevel::Trace
        };
        assert_eq!(settings.log_level, level);
        let registry = &config_map(&text, "kaos-mcp-runtimes")["runtimes.yaml"];
        let runtimes = Runtimes::parse(registry);
        for name in ["python-string", "kubernetes", "slack"] {
            assert!(runtimes.get(name).is_ok(), "{name}");
        }
        assert_eq!(runtimes.get("own").is_ok(), !values.is_empty());
    }
}

#[test]
#[ignore = "cluster: needs helm"]
fn values_that_are_not_valid_are_refused() {
    for (value, named) in [
        ("logLevel=LOUD", "/logLevel"),
        ("telemetry.endpoint=collector:4317", "/telemetry/endpoint"),
        ("telemetry.sorce=node", "sorce"),
        (
            "gatewayAPI.defaultTimeouts.agent=soon",
            "/gatewayAPI/defaultTimeouts/agent",
        ),
        ("operator.replicas=-1", "/operator/replicas"),
        ("operator.env[0].value=x", "/operator/env/0"),
        ("agent.env[0].value=x", "/agent/env/0"),
        ("agent.appArmorProfile=None", "/agent/appArmorProfile"),
        (
            "operator.webhook.failurePolicy=Never",
            "/operator/webhook/failurePolicy",
        ),
        (
            "operator.telemetry.endpoint=collector:4317",
            "/operator/telemetry/endpoint",
        ),
    ] {
        let error = helm_template(&[value]).expect_err(value);
        assert!(error.contains(named), "{value}: {error}");
    }
}
