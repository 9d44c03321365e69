//! The environment of the main container: the operator's variables, the user's over them.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource};

use super::telemetry::Telemetry;
use crate::api::Component;
use crate::settings::LogLevel;

/// Variables that the operator sets, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Environment(Vec<EnvVar>);

impl Environment {
    /// A variable with a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(EnvVar {
            name: name.into(),
            value: Some(value.into()),
            value_from: None,
        });
    }

    /// A variable with a value, where there is one.
    pub fn set_some(&mut self, name: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A variable whose value the kubelet reads.
    pub fn set_from(&mut self, name: &str, source: EnvVarSource) {
        self.0.push(EnvVar {
            name: name.to_owned(),
            value: None,
            value_from: Some(source),
        });
    }

    /// Variables by which an SDK, or the node agent in its place, knows the service and where to
    /// send. Nothing where telemetry is not enabled.
    pub fn set_service(&mut self, telemetry: &Telemetry, namespace: &str, name: &str) {
        if let Telemetry::Enabled { endpoint, .. } = telemetry {
            self.set("OTEL_SERVICE_NAME", name);
            self.set("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
            self.set(
                "OTEL_RESOURCE_ATTRIBUTES",
                format!("service.namespace={namespace},kaos.resource.name={name}"),
            );
        }
    }

    /// Variables of a process with KAOS's own SDK set-up: an Agent or an MCPServer.
    pub fn set_kaos_sdk(&mut self, telemetry: &Telemetry, namespace: &str, name: &str) {
        if matches!(telemetry, Telemetry::Enabled { .. }) {
            self.set("OTEL_SDK_DISABLED", (!telemetry.sdk_exports()).to_string());
            self.set_service(telemetry, namespace, name);
            self.set("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS", "/health,/ready");
        }
    }

    /// The log level of an Agent or an MCPServer.
    pub fn set_log_level(&mut self, level: LogLevel) {
        self.set("LOG_LEVEL", level.to_string());
    }

    /// The user's variables over ours, name by name, and of the user's the newer place over the
    /// older. Ours stay first, so that the user's may refer to them as `$(NAME)`.
    pub fn under<K: Component>(self, resource: &K) -> Vec<EnvVar> {
        let newer = resource
            .container()
            .map_or(&[][..], |container| &container.env);
        [resource.older_env(), newer]
            .into_iter()
            .fold(self.0, overlay)
    }
}

/// `lower` without the names of `upper`, and then `upper`.
fn overlay(lower: Vec<EnvVar>, upper: &[EnvVar]) -> Vec<EnvVar> {
    let mut merged = lower;
    merged.retain(|variable| upper.iter().all(|over| over.name != variable.name));
    merged.extend(upper.iter().cloned());
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables(names: &[u8], value: &str) -> Vec<EnvVar> {
        names
            .iter()
            .map(|name| EnvVar {
                name: format!("N{name}"),
                value: Some(value.to_owned()),
                value_from: None,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn the_upper_wins_name_by_name_and_nothing_is_lost(
            lower in proptest::collection::btree_set(0u8..12, 0..10),
            upper in proptest::collection::btree_set(0u8..12, 0..10),
        ) {
            let low: Vec<u8> = lower.iter().copied().collect();
            let up: Vec<u8> = upper.iter().copied().collect();
            let merged = overlay(variables(&low, "lower"), &variables(&up, "upper"));
            prop_assert_eq!(merged.len(), lower.union(&upper).count());
            for variable in merged {
                let name: u8 = variable.name[1..].parse().expect("N and a number");
                let expected = if upper.contains(&name) { "upper" } else { "lower" };
                prop_assert_eq!(variable.value.as_deref(), Some(expected));
            }
        }
    }
}
