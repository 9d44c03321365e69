//! `MCPServer`.

use k8s_openapi::api::core::v1::{EnvVar, SecretKeySelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::open_object;
use super::{
    Component, ComponentStatus, ContainerOverride, GatewayRoute, OpenObject, TelemetrySettings,
    component_fields,
};

/// Value of `runtime` for an image that is in no registry of runtimes.
pub const CUSTOM_RUNTIME: &str = "custom";

/// An MCP server over streamable HTTP. It has one of two shapes: the newer one names a runtime,
/// the older one a type and where its tools come from.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kaos.tools",
    version = "v1alpha1",
    kind = "MCPServer",
    root = "McpServer",
    plural = "mcpservers",
    singular = "mcpserver",
    shortname = "mcp",
    category = "kaos",
    namespaced,
    status = "ComponentStatus",
    derive = "PartialEq",
    doc = "An MCP server over streamable HTTP.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Runtime", type_ = "string", json_path = ".spec.runtime"),
    printcolumn(name = "Ready", type_ = "boolean", json_path = ".status.ready"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 53")
        .message("metadata.name must be a DNS label of at most 53 characters: the Service is named mcpserver-<name>")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.runtime) != has(self.type)")
        .message("exactly one of runtime and type must be set"),
    validation = Rule::new("!has(self.runtime) || self.runtime != 'custom' || (has(self.container) && has(self.container.image))")
        .message("runtime custom needs container.image"),
    validation = Rule::new("!has(self.runtime) || !has(self.config) || !has(self.config.tools)")
        .message("config.tools belongs to type; with runtime, use params"),
    validation = Rule::new("!has(self.type) || (has(self.config) && has(self.config.tools))")
        .message("type needs config.tools")
)]
pub struct McpServerSpec {
    /// A key of the ConfigMap kaos-mcp-runtimes, or custom, which needs container.image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub runtime: Option<String>,
    /// What the runtime is told, in the variable that it names (such as the tools' source).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
    /// ServiceAccount of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// OpenTelemetry settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetrySettings>,
    /// Settings of the HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_route: Option<GatewayRoute>,
    /// Override of the container "mcp-server".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerOverride>,
    /// Strategic merge patch over the generated pod spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object")]
    pub pod_spec: Option<OpenObject>,
    /// Older shape: which language runs the tools.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<McpServerType>,
    /// Older shape: the tools; and older places of env and telemetry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<McpServerConfig>,
}

/// Which language runs the tools of an older MCPServer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(
    missing_docs,
    reason = "the names say it, and the CRD needs a plain enum"
)]
pub enum McpServerType {
    PythonRuntime,
    NodeRuntime,
}

/// Older settings of an MCPServer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerConfig {
    /// Where the tools come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsConfig>,
    /// Environment; older place of container.env, which wins name by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// OpenTelemetry settings; older place of telemetry, which wins field by field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetrySettings>,
}

/// Where the tools of an older MCPServer come from: exactly one of the fields.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.fromPackage), has(self.fromString), has(self.fromSecretKeyRef)].filter(x, x).size() == 1")
        .message("exactly one of fromPackage, fromString and fromSecretKeyRef must be set")
)]
pub struct ToolsConfig {
    /// A package of PyPI or npm that is an MCP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub from_package: Option<String>,
    /// Python source of the tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub from_string: Option<String>,
    /// Key of a Secret that holds Python source of the tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_secret_key_ref: Option<SecretKeySelector>,
}

impl Component for McpServer {
    const COMPONENT: &'static str = "mcpserver";
    const CONTAINER: &'static str = "mcp-server";

    fn telemetry(&self) -> TelemetrySettings {
        let older = self.spec.config.as_ref();
        let older = older.and_then(|config| config.telemetry.clone());
        let newer = self.spec.telemetry.clone().unwrap_or_default();
        newer.or(older.unwrap_or_default())
    }

    fn older_env(&self) -> &[EnvVar] {
        self.spec.config.as_ref().map_or(&[], |config| &config.env)
    }

    component_fields!();
}
