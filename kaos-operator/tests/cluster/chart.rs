//! What helm makes of the chart.

use std::collections::{BTreeMap, BTreeSet};

use kaos_operator::reconcile::Runtimes;
use kaos_operator::settings::{LogLevel, Settings};
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, chart, documents, helm, helm_template};

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
    "agent.env[0].value=always",
    "agent.resolveServices=false",
    "agent.volumes[0].name=authority",
    "agent.volumes[0].configMap.name=authority",
    "agent.volumeMounts[0].name=authority",
    "agent.volumeMounts[0].mountPath=/authority",
    "agent.sysAdmin=true",
    "agent.seccompProfile=Unconfined",
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

/// What there is of which kind.
fn kinds(values: &[&str]) -> BTreeMap<String, usize> {
    let text = helm_template(values).expect("valid values");
    let mut found = BTreeMap::new();
    for object in documents(&text) {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        *found.entry(kind).or_default() += 1;
    }
    found
}

#[test]
#[ignore = "cluster: needs helm"]
fn either_is_installed_without_the_other() {
    let expected = |kinds: &[(&str, usize)]| -> BTreeMap<_, _> {
        let kinds = kinds.iter();
        kinds
            .map(|(kind, count)| ((*kind).to_owned(), *count))
            .collect()
    };
    let operator = [
        ("ClusterRole", 1),
        ("ClusterRoleBinding", 1),
        ("ConfigMap", 2),
        ("CustomResourceDefinition", 3),
        ("Deployment", 1),
        ("Role", 1),
        ("RoleBinding", 1),
        ("ServiceAccount", 1),
    ];
    assert_eq!(kinds(&["agent.enabled=false"]), expected(&operator));
    // `helm test`'s Pod is the only one; the definitions are the operator's.
    let agent = [
        ("ClusterRole", 1),
        ("ClusterRoleBinding", 1),
        ("DaemonSet", 1),
        ("Pod", 1),
        ("ServiceAccount", 1),
    ];
    assert_eq!(kinds(&["operator.enabled=false"]), expected(&agent));
    // Whatever else is asked for, nothing of who is not there comes with it.
    for (off, its) in [("operator", "kaos-node-agent"), ("agent", "kaos-operator")] {
        let off = format!("{off}.enabled=false");
        let values: Vec<_> = EVERYTHING.iter().copied().chain([off.as_str()]).collect();
        for object in documents(&helm_template(&values).expect("valid values")) {
            let name = object["metadata"]["name"].as_str().expect("a name");
            let is_shared = name == "kaos-mcp-runtimes" || name.ends_with(".kaos.tools");
            let is_right = name.starts_with(its) || is_shared && its == "kaos-operator";
            assert!(is_right, "{off}: {name}");
        }
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn an_api_server_takes_what_the_chart_makes() {
    let plane = ControlPlane::start(&[]).await;
    // The Pod of `helm test` runs under it; a controller that is not here makes it.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "kaos-system"}});
    plane.apply(&account).await;
    let mut taken = BTreeSet::new();
    for object in documents(&helm_template(EVERYTHING).expect("valid values")) {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        // The Prometheus operator's.
        if kind != "PodMonitor" {
            // Fields that it does not know are refused, too.
            let answer = plane.try_dry(&object).await;
            answer.unwrap_or_else(|error| panic!("{error}: {object}"));
            taken.insert(kind);
        }
    }
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "DaemonSet", "Pod"] {
        assert!(taken.contains(kind), "{kind} is not among {taken:?}");
    }
}

#[tokio::test]
#[ignore = "cluster: needs a control plane"]
async fn doctor_is_asked_on_each_node_of_the_daemonset() {
    let plane = ControlPlane::start(&[]).await;
    let taint = |effect: &str| json!([{"key": "kind", "value": "gpu", "effect": effect}]);
    let young = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    let cordoned = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
    for (name, os, taints) in [
        ("plain", "linux", json!([])),
        ("window", "windows", json!([])),
        ("tainted", "linux", taint("NoSchedule")),
        ("avoided", "linux", taint("PreferNoSchedule")),
        ("young.example", "linux", young),
        ("cordoned", "linux", cordoned),
    ] {
        let labels = json!({"kubernetes.io/os": os});
        let node = json!({"apiVersion": "v1", "kind": "Node", "spec": {"taints": taints},
            "metadata": {"name": name, "labels": labels}});
        plane.apply(&node).await;
    }
    let rest = ["avoided", "plain", "young.example"];
    let all = ["avoided", "plain", "tainted", "young.example"];
    let every = ["avoided", "cordoned", "plain", "tainted", "young.example"];
    for (values, expected) in [
        (&[][..], &every[..]),
        (&["agent.tolerations=null"], &rest),
        (
            &["agent.tolerations=null", "agent.nodeSelector.none=such"],
            &[],
        ),
        (
            &[
                "agent.tolerations[0].key=kind",
                "agent.tolerations[0].operator=Exists",
            ],
            &all,
        ),
        (
            &[
                "agent.tolerations[0].key=kind",
                "agent.tolerations[0].value=gpu",
            ],
            &all,
        ),
        (
            &[
                "agent.tolerations[0].key=kind",
                "agent.tolerations[0].value=disk",
            ],
            &rest,
        ),
        (
            &[
                "agent.tolerations[0].operator=Exists",
                "agent.tolerations[0].effect=NoExecute",
            ],
            &rest,
        ),
    ] {
        // The definitions belong to who installed them.
        let alone = ["operator.enabled=false"];
        let values: Vec<_> = alone.iter().chain(values).copied().collect();
        let text = plane.helm_template("other", &values);
        let text = text.expect("valid values");
        let pods = documents(&text)
            .into_iter()
            .filter(|it| it["kind"] == "Pod");
        let mut asked = Vec::new();
        for pod in pods {
            let term = "/spec/affinity/nodeAffinity\
                /requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0";
            let fields = pod.pointer(term).map(|term| &term["matchFields"][0]);
            let node = fields.and_then(|fields| fields["values"][0].as_str());
            let suffix = node.map(|node| format!("-{node}")).unwrap_or_default();
            let name = format!("other-node-agent-doctor{suffix}");
            assert_eq!(pod["metadata"]["name"], json!(name));
            asked.push(node.unwrap_or("whichever").to_owned());
        }
        let expected = if expected.is_empty() {
            &["whichever"]
        } else {
            expected
        };
        assert_eq!(asked, expected, "{values:?}");
    }
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
        ("agent.env[0].value=1", "/agent/env/0/value"),
        ("operator.env[0].value=1", "/operator/env/0/value"),
        ("agent.volumes[0].emptyDir=x", "/agent/volumes/0"),
        ("agent.seccompProfile=None", "/agent/seccompProfile"),
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
