//! The operator's settings, from the environment that its ConfigMap gives it.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::api::TelemetrySource;

/// Settings that shape what is made of the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the operator itself: its lease and the ConfigMap of runtimes are there.
    pub system_namespace: String,
    /// Default images.
    pub images: Images,
    /// The Gateway to attach routes to, where the Gateway API is enabled.
    pub gateway: Option<Gateway>,
    /// Telemetry of components that do not say.
    pub telemetry: TelemetryDefaults,
    /// Log level of components that do not say.
    pub log_level: LogLevel,
}

/// Default images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Of an Agent.
    pub agent: String,
    /// Of an older MCPServer whose tools are source code.
    pub mcp_server: String,
    /// Of a ModelAPI in mode Proxy.
    pub litellm: String,
    /// Of a ModelAPI in mode Hosted.
    pub ollama: String,
}

/// The Gateway that routes attach to, and their default timeouts (Gateway API durations).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Name of the Gateway.
    pub name: String,
    /// Namespace of the Gateway.
    pub namespace: String,
    /// Of routes to Agents.
    pub agent_timeout: String,
    /// Of routes to ModelAPIs.
    pub modelapi_timeout: String,
    /// Of routes to MCPServers.
    pub mcp_timeout: String,
}

/// Telemetry of components that do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetryDefaults {
    /// Whether components are traced.
    pub enabled: bool,
    /// OTLP endpoint; there is no default, since a wrong one loses telemetry silently.
    pub endpoint: Option<String>,
    /// Who tells.
    pub source: TelemetrySource,
}

/// Log levels of the data plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the usual ones")]
pub enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warning,
    Error,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        })
    }
}

/// What is wrong with a setting.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// A name with one of our prefixes that is no setting.
    #[error("unknown setting {name}; the settings are {}", NAMES.join(", "))]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A value that a setting cannot have.
    #[error("setting {name}={value:?} is not valid; it must be {expected}")]
    BadValue {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A setting that another one needs.
    #[error("setting {name} is missing; {needed_by} needs it")]
    Missing {
        /// The setting.
        name: &'static str,
        /// What needs it.
        needed_by: &'static str,
    },
}

/// Names of all settings.
const NAMES: &[&str] = &[
    "SYSTEM_NAMESPACE",
    "DEFAULT_AGENT_IMAGE",
    "DEFAULT_MCP_SERVER_IMAGE",
    "DEFAULT_LITELLM_IMAGE",
    "DEFAULT_OLLAMA_IMAGE",
    "GATEWAY_API_ENABLED",
    "GATEWAY_NAME",
    "GATEWAY_NAMESPACE",
    "GATEWAY_DEFAULT_AGENT_TIMEOUT",
    "GATEWAY_DEFAULT_MODELAPI_TIMEOUT",
    "GATEWAY_DEFAULT_MCP_TIMEOUT",
    "DEFAULT_TELEMETRY_ENABLED",
    "DEFAULT_TELEMETRY_ENDPOINT",
    "DEFAULT_TELEMETRY_SOURCE",
    "DEFAULT_LOG_LEVEL",
];
/// A variable of the environment that starts like this is meant for us.
const PREFIXES: [&str; 3] = ["SYSTEM_", "DEFAULT_", "GATEWAY_"];

impl Settings {
    /// Settings from variables of the environment. A variable that is empty is not set.
    ///
    /// # Errors
    /// Names the first setting that is unknown, missing or has a value that it cannot have.
    pub fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let ours: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        if let Some(name) = ours.keys().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(SettingsError::UnknownName { name: name.clone() });
        }
        let reader = Reader(ours);
        Ok(Self {
            system_namespace: reader.text("SYSTEM_NAMESPACE", "kaos-system"),
            images: Images {
                agent: reader.text("DEFAULT_AGENT_IMAGE", "axsauze/kaos-agent:latest"),
                mcp_server: reader.text("DEFAULT_MCP_SERVER_IMAGE", "axsauze/kaos-agent:latest"),
                litellm: reader.text(
                    "DEFAULT_LITELLM_IMAGE",
                    "ghcr.io/berriai/litellm:main-stable",
                ),
                ollama: reader.text("DEFAULT_OLLAMA_IMAGE", "ollama/ollama:latest"),
            },
            gateway: reader.gateway()?,
            telemetry: TelemetryDefaults {
                enabled: reader.boolean("DEFAULT_TELEMETRY_ENABLED")?,
                endpoint: reader.endpoint("DEFAULT_TELEMETRY_ENDPOINT")?,
                source: reader.choice(
                    "DEFAULT_TELEMETRY_SOURCE",
                    "both, node or sdk",
                    |value| match value {
                        "both" => Some(TelemetrySource::Both),
                        "node" => Some(TelemetrySource::Node),
                        "sdk" => Some(TelemetrySource::Sdk),
                        _ => None,
                    },
                )?,
            },
            log_level: reader.choice(
                "DEFAULT_LOG_LEVEL",
                "TRACE, DEBUG, INFO, WARNING or ERROR",
                |value| match value {
                    "TRACE" => Some(LogLevel::Trace),
                    "DEBUG" => Some(LogLevel::Debug),
                    "INFO" => Some(LogLevel::Info),
                    "WARNING" => Some(LogLevel::Warning),
                    "ERROR" => Some(LogLevel::Error),
                    _ => None,
                },
            )?,
        })
    }
}

/// Reads one setting after another.
struct Reader(BTreeMap<String, String>);

impl Reader {
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    fn choice<T: Default>(
        &self,
        name: &'static str,
        expected: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, SettingsError> {
        let Some(value) = self.get(name) else {
            return Ok(T::default());
        };
        read(value).ok_or_else(|| SettingsError::BadValue {
            name,
            value: value.to_owned(),
            expected,
        })
    }

    fn boolean(&self, name: &'static str) -> Result<bool, SettingsError> {
        self.choice(name, "true or false", |value| value.parse().ok())
    }

    fn endpoint(&self, name: &'static str) -> Result<Option<String>, SettingsError> {
        let expected = "a URL with its scheme, such as http://otel-collector.monitoring:4317";
        self.choice(name, expected, |value| {
            is_endpoint(value).then(|| Some(value.to_owned()))
        })
    }

    fn timeout(&self, name: &'static str, default: &str) -> Result<String, SettingsError> {
        let expected = "a Gateway API duration, such as 120s or 1m30s";
        let value = self.choice(name, expected, |value| {
            is_duration(value).then(|| Some(value.to_owned()))
        })?;
        Ok(value.unwrap_or_else(|| default.to_owned()))
    }

    fn gateway(&self) -> Result<Option<Gateway>, SettingsError> {
        if !self.boolean("GATEWAY_API_ENABLED")? {
            return Ok(None);
        }
        let required = |name| {
            self.get(name)
                .map(str::to_owned)
                .ok_or(SettingsError::Missing {
                    name,
                    needed_by: "GATEWAY_API_ENABLED",
                })
        };
        Ok(Some(Gateway {
            name: required("GATEWAY_NAME")?,
            namespace: required("GATEWAY_NAMESPACE")?,
            agent_timeout: self.timeout("GATEWAY_DEFAULT_AGENT_TIMEOUT", "120s")?,
            modelapi_timeout: self.timeout("GATEWAY_DEFAULT_MODELAPI_TIMEOUT", "120s")?,
            mcp_timeout: self.timeout("GATEWAY_DEFAULT_MCP_TIMEOUT", "30s")?,
        }))
    }
}

/// Whether a text is an OTLP endpoint: an http or https URL with a host.
pub fn is_endpoint(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Whether a text is a duration of the Gateway API (GEP-2257): one to four numbers with a unit.
pub fn is_duration(text: &str) -> bool {
    let mut rest = text;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = &rest[digits..];
        let Some(unit) = ["ms", "h", "m", "s"]
            .into_iter()
            .find(|unit| after.starts_with(unit))
        else {
            return false;
        };
        if digits == 0 {
            return false;
        }
        rest = &after[unit.len()..];
        if rest.is_empty() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from_variables(owned).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_means_the_defaults() {
        let settings = read(&[("PATH", "/bin"), ("DEFAULT_LOG_LEVEL", "")]).unwrap();
        assert_eq!(settings.system_namespace, "kaos-system");
        assert_eq!(settings.telemetry, TelemetryDefaults::default());
        assert_eq!(settings.log_level, LogLevel::Info);
        assert_eq!(settings.gateway, None);
    }

    #[test]
    fn bad_settings_are_named_with_what_is_allowed() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (
                &[("DEFAULT_TELEMETRY_ENABLED", "yes")],
                "setting DEFAULT_TELEMETRY_ENABLED=\"yes\" is not valid; it must be true or false",
            ),
            (
                &[("DEFAULT_LOG_LEVEL", "info")],
                "setting DEFAULT_LOG_LEVEL=\"info\" is not valid; it must be TRACE, DEBUG, INFO, WARNING or ERROR",
            ),
            (
                &[("DEFAULT_TELEMETRY_SOURCE", "all")],
                "setting DEFAULT_TELEMETRY_SOURCE=\"all\" is not valid; it must be both, node or sdk",
            ),
            (
                &[("DEFAULT_TELEMETRY_ENDPOINT", "collector:4317")],
                "setting DEFAULT_TELEMETRY_ENDPOINT=\"collector:4317\" is not valid; it must be a URL with its scheme, such as http://otel-collector.monitoring:4317",
            ),
            (
                &[("GATEWAY_API_ENABLED", "true")],
                "setting GATEWAY_NAME is missing; GATEWAY_API_ENABLED needs it",
            ),
        ];
        for (variables, expected) in cases {
            assert_eq!(read(variables).unwrap_err(), *expected);
        }
        let unknown = read(&[("DEFAULT_LOGLEVEL", "INFO")]).unwrap_err();
        assert!(
            unknown.starts_with(
                "unknown setting DEFAULT_LOGLEVEL; the settings are SYSTEM_NAMESPACE, "
            ),
            "{unknown}"
        );
    }

    #[test]
    fn durations_are_those_of_the_gateway_api() {
        for good in ["0s", "120s", "1m30s", "1h2m3s4ms", "500ms"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "s", "10", "1d", "1h1h1h1h1h", "1.5s", "-1s"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn endpoints_have_a_scheme() {
        for good in ["http://c:4317", "https://otel.example/x"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["c:4317", "localhost", "grpc://c:4317", "http://", ""] {
            assert!(!is_endpoint(bad), "{bad}");
        }
    }
}
