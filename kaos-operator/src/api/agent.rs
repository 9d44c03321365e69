//! `Agent`.

use k8s_openapi::api::core::v1::EnvVar;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{open_object, yes};
use super::{
    Component, ComponentStatus, ContainerOverride, GatewayRoute, OpenObject, TelemetrySettings,
    component_fields,
};

/// An OpenAI-compatible agent server that loops over model calls, tool calls and delegations.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kaos.tools",
    version = "v1alpha1",
    kind = "Agent",
    plural = "agents",
    shortname = "agent",
    category = "kaos",
    namespaced,
    status = "ComponentStatus",
    derive = "PartialEq",
    doc = "An OpenAI-compatible agent server that loops over model calls, tool calls and delegations.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "ModelAPI", type_ = "string", json_path = ".spec.modelAPI"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Ready", type_ = "boolean", json_path = ".status.ready"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 57")
        .message("metadata.name must be a DNS label of at most 57 characters: the Service is named agent-<name>")
)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// Name of the ModelAPI in the same namespace.
    #[serde(rename = "modelAPI")]
    #[schemars(length(min = 1))]
    pub model_api: String,
    /// Model to ask for; the ModelAPI must serve it.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Names of the MCPServers whose tools it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp_servers: Vec<String>,
    /// How it is reached, and whom it may reach.
    #[serde(default)]
    pub agent_network: AgentNetwork,
    /// What it is told.
    #[serde(default)]
    pub config: AgentConfig,
    /// Whether it is started only when what it refers to is ready. If false, only what is missing
    /// is waited for.
    #[serde(default = "yes")]
    pub wait_for_dependencies: bool,
    /// Settings of the HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_route: Option<GatewayRoute>,
    /// Override of the container "agent".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerOverride>,
    /// Strategic merge patch over the generated pod spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object")]
    pub pod_spec: Option<OpenObject>,
}

/// How an Agent is reached, and whom it may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentNetwork {
    /// Whether it has a Service (and a route), so that others can reach it.
    #[serde(default = "yes")]
    pub expose: bool,
    /// Names of the Agents that it may delegate to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<String>,
}

impl Default for AgentNetwork {
    fn default() -> Self {
        Self {
            expose: true,
            access: Vec::new(),
        }
    }
}

/// What an Agent is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentConfig {
    /// What it is for, as its agent card says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// System prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// How tools are called: natively, by text (string), or as the model allows (auto).
    #[serde(default)]
    pub tool_call_mode: ToolCallMode,
    /// Rounds of the loop before it gives up.
    #[serde(default = "default_max_steps")]
    #[schemars(range(min = 1, max = 20))]
    pub reasoning_loop_max_steps: i32,
    /// What it remembers.
    #[serde(default)]
    pub memory: MemoryConfig,
    /// OpenTelemetry settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetrySettings>,
    /// Environment; older place of container.env, which wins name by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            description: None,
            instructions: None,
            system_prompt: None,
            tool_call_mode: ToolCallMode::default(),
            reasoning_loop_max_steps: default_max_steps(),
            memory: MemoryConfig::default(),
            telemetry: None,
            env: Vec::new(),
        }
    }
}

/// How tools are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "described at the field, and the CRD needs a plain enum"
)]
pub enum ToolCallMode {
    #[default]
    Auto,
    Native,
    String,
}

/// What an Agent remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryConfig {
    /// Whether it remembers anything.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Where: local is the memory of its process.
    #[serde(default, rename = "type")]
    pub kind: MemoryType,
    /// Messages of a session that are sent to the model.
    #[serde(default = "default_context_limit")]
    #[schemars(range(min = 1, max = 100))]
    pub context_limit: i32,
    /// Sessions that are kept.
    #[serde(default = "default_max_sessions")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_sessions: i32,
    /// Events of a session that are kept.
    #[serde(default = "default_max_session_events")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_session_events: i32,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            kind: MemoryType::default(),
            context_limit: default_context_limit(),
            max_sessions: default_max_sessions(),
            max_session_events: default_max_session_events(),
        }
    }
}

/// Where an Agent remembers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "described at the field, and the CRD needs a plain enum"
)]
pub enum MemoryType {
    #[default]
    Local,
}

fn default_max_steps() -> i32 {
    5
}

fn default_context_limit() -> i32 {
    6
}

fn default_max_sessions() -> i32 {
    1000
}

fn default_max_session_events() -> i32 {
    500
}

impl Component for Agent {
    const COMPONENT: &'static str = "agent";
    const CONTAINER: &'static str = "agent";

    fn telemetry(&self) -> TelemetrySettings {
        self.spec.config.telemetry.clone().unwrap_or_default()
    }

    fn older_env(&self) -> &[EnvVar] {
        &self.spec.config.env
    }

    component_fields!();
}
