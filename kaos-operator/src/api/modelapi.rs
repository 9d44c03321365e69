//! `ModelAPI`.

use std::fmt;

use k8s_openapi::api::core::v1::{ConfigMapKeySelector, EnvVar, SecretKeySelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::open_object;
use super::{
    Component, ComponentStatus, ContainerOverride, GatewayRoute, OpenObject, TelemetrySettings,
    component_fields,
};

/// An endpoint that serves models: a LiteLLM proxy, or Ollama.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kaos.tools",
    version = "v1alpha1",
    kind = "ModelAPI",
    root = "ModelApi",
    plural = "modelapis",
    singular = "modelapi",
    shortname = "api",
    category = "kaos",
    namespaced,
    status = "ComponentStatus",
    derive = "PartialEq",
    doc = "An endpoint that serves models: a LiteLLM proxy, or Ollama.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Ready", type_ = "boolean", json_path = ".status.ready"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 54")
        .message("metadata.name must be a DNS label of at most 54 characters: the Service is named modelapi-<name>")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode != 'Proxy' || has(self.proxyConfig)")
        .message("mode Proxy needs proxyConfig"),
    validation = Rule::new("self.mode != 'Hosted' || has(self.hostedConfig)")
        .message("mode Hosted needs hostedConfig")
)]
pub struct ModelApiSpec {
    /// Proxy (LiteLLM in front of a provider) or Hosted (Ollama).
    pub mode: ModelApiMode,
    /// Settings of mode Proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_config: Option<ProxyConfig>,
    /// Settings of mode Hosted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosted_config: Option<HostedConfig>,
    /// OpenTelemetry settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetrySettings>,
    /// Settings of the HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_route: Option<GatewayRoute>,
    /// Override of the container "model-api".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerOverride>,
    /// Strategic merge patch over the generated pod spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "open_object")]
    pub pod_spec: Option<OpenObject>,
}

/// How a ModelAPI serves models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    missing_docs,
    reason = "described at the field, and the CRD needs a plain enum"
)]
pub enum ModelApiMode {
    Proxy,
    Hosted,
}

/// Settings of a LiteLLM proxy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyConfig {
    /// Models that it serves: exact names, prefix/* or *.
    #[schemars(length(min = 1))]
    pub models: Vec<String>,
    /// LiteLLM's name of the provider, put before each model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub provider: Option<String>,
    /// Base URL of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_base: Option<String>,
    /// Key for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKey>,
    /// A whole LiteLLM configuration instead of the generated one; used verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_yaml: Option<ConfigYaml>,
    /// Environment; older place of container.env, which wins name by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
}

/// A key, or where it is: exactly one of the fields.
#[derive(KubeSchema, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.value) != has(self.valueFrom)")
        .message("exactly one of value and valueFrom must be set")
)]
pub struct ApiKey {
    /// The key itself, readable by all who may read this resource; prefer valueFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where the key is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ApiKeySource>,
}

impl fmt::Debug for ApiKey {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ApiKey")
            .field("value", &self.value.as_ref().map(|_| "[redacted]"))
            .field("value_from", &self.value_from)
            .finish()
    }
}

/// Where a key is: exactly one of the fields.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
        .message("exactly one of secretKeyRef and configMapKeyRef must be set")
)]
pub struct ApiKeySource {
    /// Key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,
    /// Key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,
}

/// A LiteLLM configuration: exactly one of the fields.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.fromString) != has(self.fromSecretKeyRef)")
        .message("exactly one of fromString and fromSecretKeyRef must be set")
)]
pub struct ConfigYaml {
    /// The YAML itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub from_string: Option<String>,
    /// Key of a Secret that holds the YAML; it is mounted, and the operator does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_secret_key_ref: Option<SecretKeySelector>,
}

/// Settings of Ollama.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostedConfig {
    /// Model that is pulled and served.
    #[schemars(length(min = 1))]
    pub model: String,
    /// Environment; older place of container.env, which wins name by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
}

impl Component for ModelApi {
    const COMPONENT: &'static str = "modelapi";
    const CONTAINER: &'static str = "model-api";

    fn telemetry(&self) -> TelemetrySettings {
        self.spec.telemetry.clone().unwrap_or_default()
    }

    fn older_env(&self) -> &[EnvVar] {
        let spec = &self.spec;
        match spec.mode {
            ModelApiMode::Proxy => spec.proxy_config.as_ref().map_or(&[], |proxy| &proxy.env),
            ModelApiMode::Hosted => spec
                .hosted_config
                .as_ref()
                .map_or(&[], |hosted| &hosted.env),
        }
    }

    component_fields!();
}
