//! Golden output of `kaos-operator render` for a library of manifests.

use std::fs;
use std::path::Path;

use kaos_operator::render::{Rendered, render};
use kaos_operator::settings::Settings;

const TELEMETRY: &[(&str, &str)] = &[
    ("DEFAULT_TELEMETRY_ENABLED", "true"),
    ("DEFAULT_TELEMETRY_ENDPOINT", "http://otel-collector:4317"),
];
const GATEWAY: &[(&str, &str)] = &[
    ("GATEWAY_API_ENABLED", "true"),
    ("GATEWAY_NAME", "gateway"),
    ("GATEWAY_NAMESPACE", "gateways"),
    ("DEFAULT_LOG_LEVEL", "TRACE"),
];

fn rendered(manifests: &str, variables: &[&[(&str, &str)]]) -> Rendered {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/manifests")
        .join(manifests);
    let text = fs::read_to_string(path).expect("the manifests are beside the tests");
    let variables = variables
        .concat()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = Settings::from_variables(variables).expect("valid settings");
    render(&text, &settings).expect("the manifests are YAML")
}

fn golden(name: &str, manifests: &str, variables: &[&[(&str, &str)]]) {
    let rendered = rendered(manifests, variables);
    assert_eq!(rendered.problems, [""; 0]);
    insta::assert_snapshot!(name, rendered.yaml);
}

#[test]
fn an_echo_agent() {
    golden("echo-agent", "echo-agent.yaml", &[]);
}

#[test]
fn an_echo_agent_with_telemetry() {
    golden("echo-agent-telemetry", "echo-agent.yaml", &[TELEMETRY]);
}

#[test]
fn every_field_with_the_gateway_api() {
    golden("every-field", "every-field.yaml", &[TELEMETRY, GATEWAY]);
}

#[test]
fn ollama() {
    golden("hosted", "hosted.yaml", &[TELEMETRY, GATEWAY]);
}

#[test]
fn older_shapes() {
    golden("older-shapes", "older-shapes.yaml", &[TELEMETRY]);
}

#[test]
fn what_is_invalid_is_named_and_the_rest_is_rendered() {
    let rendered = rendered("invalid.yaml", &[]);
    assert!(rendered.yaml.contains("name: modelapi-models"));
    insta::assert_snapshot!("invalid", rendered.problems.join("\n"));
}
