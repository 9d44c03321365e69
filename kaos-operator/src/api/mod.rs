//! The custom resources of `kaos.tools/v1alpha1`.
//!
//! The types are the schema: their doc comments become the descriptions in the CRDs, their serde
//! defaults the API server's defaults, and their validation is what the API server rejects.
//! `cargo xtask crds` writes the CRDs into the chart.

mod agent;
mod mcpserver;
mod modelapi;
mod shared;
mod status;
pub mod validation;

use k8s_openapi::api::core::v1::EnvVar;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use kube::core::object::HasStatus;

pub use self::agent::{
    Agent, AgentConfig, AgentNetwork, AgentSpec, MemoryConfig, MemoryType, ToolCallMode,
};
pub use self::mcpserver::{
    CUSTOM_RUNTIME, McpServer, McpServerConfig, McpServerSpec, McpServerType, ToolsConfig,
};
pub use self::modelapi::{
    ApiKey, ApiKeySource, ConfigYaml, HostedConfig, ModelApi, ModelApiMode, ModelApiSpec,
    ProxyConfig,
};
pub use self::shared::{
    ContainerOverride, GatewayRoute, OpenObject, TelemetrySettings, TelemetrySource,
};
pub use self::status::{ComponentStatus, DeploymentStatus, LinkedResources, Phase};

/// API group of the resources, and prefix of our labels and annotations.
pub const GROUP: &str = "kaos.tools";

/// What the three kinds have in common, for everything that does not care which it has.
pub trait Component:
    kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + HasStatus<Status = ComponentStatus>
{
    /// Value of the label `kaos.tools/component`, and prefix of the owned objects' names.
    const COMPONENT: &'static str;
    /// Name of the main container.
    const CONTAINER: &'static str;
    /// What the spec says of telemetry, with the older place merged in.
    fn telemetry(&self) -> TelemetrySettings;
    /// Environment in the older place of the spec. `container.env` is the newer.
    fn older_env(&self) -> &[EnvVar];
    /// Override of the main container.
    fn container(&self) -> Option<&ContainerOverride>;
    /// Strategic merge patch of the pod spec.
    fn pod_spec(&self) -> Option<&OpenObject>;
    /// Settings of the HTTPRoute.
    fn gateway_route(&self) -> Option<&GatewayRoute>;
}

/// The methods of [`Component`] for the fields that all three specs have.
macro_rules! component_fields {
    () => {
        fn container(&self) -> Option<&ContainerOverride> {
            self.spec.container.as_ref()
        }

        fn pod_spec(&self) -> Option<&OpenObject> {
            self.spec.pod_spec.as_ref()
        }

        fn gateway_route(&self) -> Option<&GatewayRoute> {
            self.spec.gateway_route.as_ref()
        }
    };
}
use component_fields;

/// The definitions of all kinds, in the order of their names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![Agent::crd(), McpServer::crd(), ModelApi::crd()]
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
