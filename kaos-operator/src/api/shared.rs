//! Types that several kinds use.

use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements, SecurityContext, VolumeMount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A JSON object whose fields the CRD's schema leaves open.
pub type OpenObject = serde_json::Map<String, serde_json::Value>;

/// OpenTelemetry settings of one component. What is left out is inherited from the operator's
/// settings, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TelemetrySettings {
    /// Whether the component is traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// OTLP endpoint as a URL with its scheme, such as http://otel-collector.monitoring:4317.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://[^\s/]+"))]
    pub endpoint: Option<String>,
    /// Who tells: the SDK in the process (sdk), the node agent (node), or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<TelemetrySource>,
}

impl TelemetrySettings {
    /// These settings, with `older` where they are silent.
    pub fn or(self, older: Self) -> Self {
        Self {
            enabled: self.enabled.or(older.enabled),
            endpoint: self.endpoint.or(older.endpoint),
            source: self.source.or(older.source),
        }
    }
}

/// Who tells of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "the values are described where they are used, and the CRD needs a plain enum"
)]
pub enum TelemetrySource {
    #[default]
    Both,
    Node,
    Sdk,
}

/// Settings of the HTTPRoute, where the Gateway API is enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRoute {
    /// Request timeout as a Gateway API duration; 0s means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^([0-9]+(h|m|s|ms)){1,4}$"))]
    pub timeout: Option<String>,
}

/// Override of the main container, field by field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOverride {
    /// Image instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub image: Option<String>,
    /// Entry point instead of the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Arguments instead of the default ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Compute resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Environment; a variable set here wins over the operator's of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Security context of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Working directory instead of the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Further volume mounts; the volumes come from podSpec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
}

/// Schema of [`OpenObject`].
pub fn open_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// For serde defaults.
pub fn yes() -> bool {
    true
}
