//! What the API server checks by the schema, for manifests that no API server has seen.

use jsonschema::{Draft, Validator};
use kube::core::cel;
use serde_json::{Map, Value};

use super::crds;

/// Says of a field that it may have members which the schema does not name.
const OPEN: &str = "x-kubernetes-preserve-unknown-fields";

/// The schema of each kind.
pub struct Schemas(Vec<Schema>);

struct Schema {
    kind: String,
    /// The whole schema, whose rules in CEL may look at the metadata.
    whole: Value,
    spec: Value,
    validator: Validator,
}

impl Schemas {
    /// Those of our own definitions.
    #[must_use]
    pub fn new() -> Self {
        Self(
            crds()
                .into_iter()
                .filter_map(|definition| {
                    let version = definition.spec.versions.into_iter().next()?;
                    let schema = serde_json::to_value(version.schema?.open_api_v3_schema).ok()?;
                    let spec = schema.pointer("/properties/spec")?.clone();
                    let validator = jsonschema::options()
                        .with_draft(Draft::Draft202012)
                        .build(&spec)
                        .ok()?;
                    Some(Schema {
                        kind: definition.spec.names.kind,
                        whole: schema,
                        spec,
                        validator,
                    })
                })
                .collect(),
        )
    }

    /// What is wrong with a manifest, each as `field: reason`. Rules in CEL are evaluated where the
    /// rest of the schema holds, as the API server does.
    #[must_use]
    pub fn problems(&self, kind: &str, manifest: &Value) -> Vec<String> {
        let Some(schema) = self.0.iter().find(|schema| schema.kind == kind) else {
            return Vec::new();
        };
        // Like the API server, which takes a null for a field that is not there.
        let spec = without_nulls(manifest.get("spec").cloned().unwrap_or_default());
        let mut problems: Vec<String> = schema
            .validator
            .iter_errors(&spec)
            .map(|error| {
                let path = error.instance_path().to_string().replace('/', ".");
                format!("spec{path}: {error}")
            })
            .collect();
        unknown_fields(&schema.spec, &spec, "spec", &mut problems);
        if problems.is_empty() {
            let object = without_nulls(manifest.clone());
            let rules = cel::Validator::new().validate(&schema.whole, &object, None);
            let broken = rules.err().map(cel::ValidationErrors::into_vec);
            problems.extend(broken.unwrap_or_default().iter().map(ToString::to_string));
        }
        problems
    }
}

impl Default for Schemas {
    fn default() -> Self {
        Self::new()
    }
}

/// Fields that the API server would drop: nearly always a slip of the pen.
fn unknown_fields(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties");
            let is_open = schema.get(OPEN) == Some(&Value::Bool(true));
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                match known.and_then(|known| known.get(name)).or(others) {
                    Some(schema) => unknown_fields(schema, field, &path, problems),
                    None if is_open || known.is_none() => {}
                    None => problems.push(format!("{path}: there is no such field")),
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                unknown_fields(schema, item, &format!("{path}[{index}]"), problems);
            }
        }
        _ => {}
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, field)| !field.is_null())
                .map(|(name, field)| (name, without_nulls(field)))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(kind: &str, spec: Value) -> Vec<String> {
        Schemas::new().problems(kind, &json!({"metadata": {"name": "x"}, "spec": spec}))
    }

    #[test]
    fn every_kind_has_its_schema() {
        assert_eq!(Schemas::new().0.len(), crds().len());
    }

    #[test]
    fn ranges_patterns_and_kinds_are_checked() {
        let spec = json!({
            "modelAPI": "m", "model": "x",
            "config": {"reasoningLoopMaxSteps": 99},
            "gatewayRoute": {"timeout": "soon"},
            "waitForDependencies": "yes",
        });
        let found = problems("Agent", spec);
        let fields: Vec<_> = found
            .iter()
            .map(|problem| problem.split(':').next().expect("a field"))
            .collect();
        assert_eq!(
            fields,
            [
                "spec.config.reasoningLoopMaxSteps",
                "spec.gatewayRoute.timeout",
                "spec.waitForDependencies"
            ],
            "{found:?}"
        );
    }

    #[test]
    fn unknown_fields_are_told_where_they_are_not_free() {
        let spec = json!({
            "modelAPI": "m", "model": "x", "modle": "y",
            "container": {"env": [{"name": "A", "vlaue": "b"}]},
            "podSpec": {"anything": {"goes": 1}},
        });
        assert_eq!(
            problems("Agent", spec),
            [
                "spec.container.env[0].vlaue: there is no such field",
                "spec.modle: there is no such field"
            ]
        );
    }

    #[test]
    fn rules_in_cel_are_evaluated() {
        let tools = json!({"fromString": "x"});
        for (kind, spec, expected) in [
            (
                "ModelAPI",
                json!({"mode": "Proxy"}),
                "spec: mode Proxy needs proxyConfig",
            ),
            (
                "ModelAPI",
                json!({"mode": "Hosted"}),
                "spec: mode Hosted needs hostedConfig",
            ),
            (
                "ModelAPI",
                json!({"mode": "Proxy", "proxyConfig": {"models": ["g"], "apiKey": {}}}),
                "spec.proxyConfig.apiKey: exactly one of value and valueFrom must be set",
            ),
            (
                "MCPServer",
                json!({}),
                "spec: exactly one of runtime and type must be set",
            ),
            (
                "MCPServer",
                json!({"runtime": "custom"}),
                "spec: runtime custom needs container.image",
            ),
            (
                "MCPServer",
                json!({"runtime": "slack", "config": {"tools": tools}}),
                "spec: config.tools belongs to type; with runtime, use params",
            ),
            (
                "MCPServer",
                json!({"type": "python-runtime", "config": {"tools": {}}}),
                "spec.config.tools: exactly one of fromPackage, fromString and fromSecretKeyRef must be set",
            ),
            (
                "MCPServer",
                json!({"type": "python-runtime", "config": {"tools": tools}}),
                "",
            ),
        ] {
            assert_eq!(problems(kind, spec).join("\n"), expected);
        }
        let name = "a".repeat(58);
        let long = json!({"metadata": {"name": name}, "spec": {"modelAPI": "m", "model": "x"}});
        assert_eq!(
            Schemas::new().problems("Agent", &long),
            [
                "metadata.name must be a DNS label of at most 57 characters: the Service is named agent-<name>"
            ]
        );
    }

    #[test]
    fn nulls_are_absent_and_foreign_kinds_pass() {
        assert!(
            problems(
                "Agent",
                json!({"modelAPI": "m", "model": "x", "config": null})
            )
            .is_empty()
        );
        assert!(problems("Deployment", json!({"replicas": "x"})).is_empty());
    }
}
