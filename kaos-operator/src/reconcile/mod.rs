//! From a resource to the objects that it stands for: pure functions, no client, no clock.
//!
//! - **In**: a resource, what it refers to, the settings.
//! - **Out**: [`Desired`] objects, or the [`Problem`] that keeps us from making them.
//! - **Keeps**: nothing.
//! - **Limits**: names by what a Service can be called; everything else by the CRDs' schemas.
//! - **Loses**: nothing.

mod agent;
mod container;
mod deployment;
mod environment;
mod litellm;
mod mcpserver;
mod modelapi;
mod names;
mod route;
mod runtimes;
mod service;
mod status;
mod strategic_merge;
mod telemetry;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use thiserror::Error;

pub use self::agent::{AgentReferences, McpServerReference, ModelApiReference, agent};
pub use self::mcpserver::mcp_server;
pub use self::modelapi::{model_api, serves};
pub use self::names::{CONFIG_MAP_PREFIX, MANAGED_BY, MANAGER, endpoint, object_name};
pub use self::route::{HTTP_ROUTE_API, http_route_resource};
pub use self::runtimes::{RUNTIMES_CONFIG_MAP, RUNTIMES_KEY, Runtime, Runtimes};
pub use self::status::{RouteState, status};
pub use self::strategic_merge::merge_pod_spec;
pub use self::telemetry::{Telemetry, TelemetryReport};
use crate::api::{Component, LinkedResources};

/// What a resource stands for. An object that is `None` must not exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Runs the pods.
    pub deployment: Deployment,
    /// Reaches the pods.
    pub service: Option<Service>,
    /// LiteLLM's configuration.
    pub config_map: Option<ConfigMap>,
    /// HTTPRoute of the Gateway API.
    pub route: Option<DynamicObject>,
    /// URL inside the cluster, where there is a Service.
    pub endpoint: Option<String>,
    /// What became of the telemetry settings.
    pub telemetry: TelemetryReport,
    /// What an Agent refers to.
    pub linked: Option<LinkedResources>,
}

/// Why nothing can be made of a resource now. What was made of it before stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// Something that it refers to is missing or not ready.
    #[error("{0}")]
    Waiting(String),
    /// Its spec must be changed.
    #[error("{0}")]
    Invalid(String),
}

impl Problem {
    fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }
}

/// Name of a resource that came from the API server or a manifest.
fn name_of<K: Component>(resource: &K) -> Result<&str, Problem> {
    let name = resource
        .meta()
        .name
        .as_deref()
        .ok_or_else(|| Problem::invalid("metadata.name is missing"))?;
    names::check::<K>(name)?;
    Ok(name)
}

/// Metadata of an owned object.
fn object_meta<K: Component>(resource: &K, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: resource.namespace(),
        labels: Some(names::labels::<K>(&resource.name_any())),
        owner_references: resource
            .controller_owner_ref(&())
            .map(|reference| vec![reference]),
        ..ObjectMeta::default()
    }
}
