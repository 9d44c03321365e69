//! Merge of a component's telemetry settings with the operator's, and what becomes of them.

use crate::api::{TelemetrySettings, TelemetrySource};
use crate::settings::{TelemetryDefaults, is_endpoint};

use super::Problem;

/// The merged settings of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telemetry {
    /// Nothing is traced.
    Disabled,
    /// Enabled, but there is nowhere to send to: treated as disabled, with a warning.
    NoEndpoint,
    /// Traced.
    Enabled {
        /// OTLP endpoint.
        endpoint: String,
        /// Who tells.
        source: TelemetrySource,
    },
}

/// The condition `TelemetryConfigured`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryReport {
    /// Whether telemetry is exported.
    pub configured: bool,
    /// Whether somebody asked for something that does not work.
    pub warning: bool,
    /// Reason of the condition, in CamelCase.
    pub reason: &'static str,
    /// Message of the condition.
    pub message: String,
}

impl Telemetry {
    /// Field by field: what the component sets wins, what it leaves out is inherited.
    ///
    /// # Errors
    /// The component's endpoint is no URL with a scheme.
    pub fn merge(
        component: &TelemetrySettings,
        defaults: &TelemetryDefaults,
    ) -> Result<Self, Problem> {
        if let Some(endpoint) = &component.endpoint
            && !endpoint.is_empty()
            && !is_endpoint(endpoint)
        {
            return Err(Problem::invalid(format!(
                "telemetry.endpoint {endpoint:?} is no http or https URL; write it with its \
                 scheme, such as http://otel-collector.monitoring:4317"
            )));
        }
        if !component.enabled.unwrap_or(defaults.enabled) {
            return Ok(Self::Disabled);
        }
        let own = component.endpoint.clone().filter(|text| !text.is_empty());
        Ok(match own.or_else(|| defaults.endpoint.clone()) {
            None => Self::NoEndpoint,
            Some(endpoint) => Self::Enabled {
                endpoint,
                source: component.source.unwrap_or(defaults.source),
            },
        })
    }

    /// Value of the label `kaos.tools/telemetry`: whether the node agent traces the pods.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Enabled {
                source: TelemetrySource::Both | TelemetrySource::Node,
                ..
            } => "enabled",
            Self::Enabled {
                source: TelemetrySource::Sdk,
                ..
            }
            | Self::Disabled
            | Self::NoEndpoint => "disabled",
        }
    }

    /// Whether the SDK in the process exports.
    pub fn sdk_exports(&self) -> bool {
        matches!(
            self,
            Self::Enabled {
                source: TelemetrySource::Both | TelemetrySource::Sdk,
                ..
            }
        )
    }

    /// What to say of it, of a process with an SDK.
    pub fn report(&self) -> TelemetryReport {
        match self {
            Self::Disabled => TelemetryReport {
                configured: false,
                warning: false,
                reason: "Disabled",
                message: "telemetry is disabled".to_owned(),
            },
            Self::NoEndpoint => TelemetryReport {
                configured: false,
                warning: true,
                reason: "EndpointMissing",
                message: "telemetry.enabled=true but endpoint is empty".to_owned(),
            },
            Self::Enabled { endpoint, source } => TelemetryReport {
                configured: true,
                warning: false,
                reason: "Configured",
                message: format!(
                    "{} to {endpoint}",
                    match source {
                        TelemetrySource::Both => "the process and the node agent export",
                        TelemetrySource::Node => "the node agent exports",
                        TelemetrySource::Sdk => "the process exports",
                    }
                ),
            },
        }
    }

    /// What to say of it, of a process that has no OpenTelemetry of its own.
    pub fn report_without_sdk(&self) -> TelemetryReport {
        match self {
            Self::Enabled {
                source: TelemetrySource::Sdk,
                ..
            } => TelemetryReport {
                configured: false,
                warning: true,
                reason: "SourceUnavailable",
                message: "telemetry.source=sdk but Ollama has no OpenTelemetry of its own; use \
                          node or both"
                    .to_owned(),
            },
            Self::Enabled { endpoint, .. } => TelemetryReport {
                configured: true,
                warning: false,
                reason: "NodeAgentOnly",
                message: format!(
                    "the node agent exports to {endpoint}; Ollama has no OpenTelemetry of its own"
                ),
            },
            Self::Disabled | Self::NoEndpoint => self.report(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn component(enabled: Option<bool>, endpoint: Option<&str>) -> TelemetrySettings {
        TelemetrySettings {
            enabled,
            endpoint: endpoint.map(str::to_owned),
            source: None,
        }
    }

    fn defaults(enabled: bool, endpoint: Option<&str>) -> TelemetryDefaults {
        TelemetryDefaults {
            enabled,
            endpoint: endpoint.map(str::to_owned),
            source: TelemetrySource::Both,
        }
    }

    fn enabled(endpoint: &str) -> Telemetry {
        Telemetry::Enabled {
            endpoint: endpoint.to_owned(),
            source: TelemetrySource::Both,
        }
    }

    #[test]
    fn every_row_of_the_contract() {
        const C: Option<&str> = Some("http://c:4317");
        const E: Option<&str> = Some("http://e:4317");
        let (c, e) = (enabled("http://c:4317"), enabled("http://e:4317"));
        let rows = [
            (
                component(None, None),
                defaults(false, E),
                Telemetry::Disabled,
            ),
            (component(None, None), defaults(true, E), e.clone()),
            (component(Some(true), None), defaults(true, E), e.clone()),
            (component(Some(true), C), defaults(true, E), c.clone()),
            (component(Some(true), C), defaults(false, None), c.clone()),
            (component(None, C), defaults(true, E), c),
            (
                component(Some(false), C),
                defaults(true, E),
                Telemetry::Disabled,
            ),
            (
                component(Some(true), None),
                defaults(false, None),
                Telemetry::NoEndpoint,
            ),
            // Not in the table: what follows from "field by field".
            (component(Some(true), None), defaults(false, E), e),
            (component(None, C), defaults(false, E), Telemetry::Disabled),
            (
                component(None, None),
                defaults(true, None),
                Telemetry::NoEndpoint,
            ),
        ];
        for (component, defaults, expected) in rows {
            let merged = Telemetry::merge(&component, &defaults);
            assert_eq!(merged, Ok(expected), "{component:?} {defaults:?}");
        }
    }

    #[test]
    fn an_endpoint_without_a_scheme_is_invalid() {
        let merged = Telemetry::merge(&component(None, Some("c:4317")), &defaults(true, None));
        let message = merged.unwrap_err().to_string();
        assert!(
            message.contains("telemetry.endpoint \"c:4317\""),
            "{message}"
        );
    }

    #[test]
    fn the_source_says_who_tells() {
        use TelemetrySource::{Both, Node, Sdk};
        for (source, label, sdk) in [
            (Both, "enabled", true),
            (Node, "enabled", false),
            (Sdk, "disabled", true),
        ] {
            let telemetry = Telemetry::Enabled {
                endpoint: "http://c".to_owned(),
                source,
            };
            assert_eq!(telemetry.label(), label);
            assert_eq!(telemetry.sdk_exports(), sdk);
        }
    }

    prop_compose! {
        fn settings()(
            enabled in any::<Option<bool>>(),
            endpoint in proptest::option::of("http://[a-z]{1,5}:4317"),
            source in proptest::option::of(prop_oneof![
                Just(TelemetrySource::Both), Just(TelemetrySource::Node), Just(TelemetrySource::Sdk),
            ]),
        ) -> TelemetrySettings {
            TelemetrySettings { enabled, endpoint, source }
        }
    }

    proptest! {
        #[test]
        fn what_the_component_sets_wins(component in settings(), global in settings()) {
            let defaults = TelemetryDefaults {
                enabled: global.enabled.unwrap_or_default(),
                endpoint: global.endpoint,
                source: global.source.unwrap_or_default(),
            };
            let merged = Telemetry::merge(&component, &defaults).expect("all endpoints are URLs");
            prop_assert_eq!(
                merged != Telemetry::Disabled,
                component.enabled.unwrap_or(defaults.enabled)
            );
            if let Telemetry::Enabled { endpoint, source } = &merged {
                prop_assert_eq!(Some(endpoint), component.endpoint.as_ref().or(defaults.endpoint.as_ref()));
                prop_assert_eq!(*source, component.source.unwrap_or(defaults.source));
            }
            // Inheriting everything explicitly is the same as leaving it out.
            let explicit = component.or(TelemetrySettings {
                enabled: Some(defaults.enabled),
                endpoint: defaults.endpoint.clone(),
                source: Some(defaults.source),
            });
            prop_assert_eq!(Telemetry::merge(&explicit, &defaults), Ok(merged));
        }
    }
}
