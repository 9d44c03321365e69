//! Agent.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::container::{http_probe, main_container, with_probes};
use super::deployment::deployment;
use super::environment::Environment;
use super::modelapi::{port, served_models, serves};
use super::names::{check, endpoint};
use super::route::http_route;
use super::service::service;
use super::telemetry::Telemetry;
use super::{Desired, Problem, mcpserver, name_of};
use crate::api::{
    Agent, Component as _, LinkedResources, McpServer, MemoryType, ModelApi, ModelApiMode,
    ToolCallMode,
};
use crate::settings::Settings;

/// Port of every Agent.
const PORT: i32 = 8000;

/// What an Agent refers to, as far as it exists in its namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentReferences {
    /// Its ModelAPI.
    pub model_api: Option<ModelApiReference>,
    /// Its MCPServers by name.
    pub mcp_servers: BTreeMap<String, McpServerReference>,
    /// Names of its peers that exist and are exposed, sorted.
    pub peers: Vec<String>,
}

/// What matters of a ModelAPI to those who name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelApiReference {
    /// Whether it is ready.
    pub ready: bool,
    /// How it serves.
    pub mode: ModelApiMode,
    /// What it serves.
    pub models: Vec<String>,
}

impl From<&ModelApi> for ModelApiReference {
    fn from(resource: &ModelApi) -> Self {
        Self {
            ready: resource.status.as_ref().is_some_and(|status| status.ready),
            mode: resource.spec.mode,
            models: served_models(&resource.spec),
        }
    }
}

/// What matters of an MCPServer to those who name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct McpServerReference {
    /// Whether it is ready.
    pub ready: bool,
}

impl From<&McpServer> for McpServerReference {
    fn from(resource: &McpServer) -> Self {
        Self {
            ready: resource.status.as_ref().is_some_and(|status| status.ready),
        }
    }
}

/// The objects of an Agent.
///
/// # Errors
/// Something that it refers to is missing or not ready, or its spec must be changed.
pub fn agent(
    resource: &Agent,
    references: &AgentReferences,
    settings: &Settings,
) -> Result<Desired, Problem> {
    let name = name_of(resource)?;
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let telemetry = Telemetry::merge(&resource.telemetry(), &settings.telemetry)?;
    let awaited = resolve(resource, references)?;
    let linked = LinkedResources {
        modelapi: resource.spec.model_api.clone(),
        mcpservers: sorted(&resource.spec.mcp_servers),
        peers: references.peers.clone(),
    };

    let mut environment = Environment::default();
    environment.set_log_level(settings.log_level);
    environment.set_kaos_sdk(&telemetry, namespace, name);
    let mode = references.model_api.as_ref().map(|model| model.mode);
    let port_of_model = port(mode.unwrap_or(ModelApiMode::Proxy));
    let url = endpoint::<ModelApi>(namespace, &linked.modelapi, port_of_model);
    set_configuration(&mut environment, resource, name, &url);
    set_links(&mut environment, &linked, namespace);

    let generated = Container {
        image: Some(settings.images.agent.clone()),
        ..Container::default()
    };
    let container = main_container(resource, generated, environment, PORT);
    let ready = http_probe("/ready", PORT);
    let pod_spec = PodSpec {
        containers: vec![with_probes(container, ready, http_probe("/health", PORT))],
        ..PodSpec::default()
    };
    let exposed = resource.spec.agent_network.expose;
    let route = settings
        .gateway
        .as_ref()
        .filter(|_| exposed)
        .map(|gateway| http_route(resource, name, gateway, PORT))
        .transpose()?;
    let deployment = deployment(resource, name, &pod_spec, &telemetry, None)?;
    // Only now, since waiting does not help a spec that is not valid.
    if let Some(awaited) = awaited {
        return Err(Problem::Waiting(awaited));
    }
    Ok(Desired {
        deployment,
        service: exposed.then(|| service(resource, name, PORT)),
        config_map: None,
        route,
        endpoint: exposed.then(|| endpoint::<Agent>(namespace, name, PORT)),
        telemetry: telemetry.report(),
        linked: Some(linked),
    })
}

/// What must be there, or be ready, and is not.
fn resolve(resource: &Agent, references: &AgentReferences) -> Result<Option<String>, Problem> {
    let spec = &resource.spec;
    // Names that no resource can have would be waited for in vain.
    if check::<ModelApi>(&spec.model_api).is_err() {
        return Err(Problem::invalid(format!(
            "modelAPI {:?} is no name of a ModelAPI; correct it",
            spec.model_api
        )));
    }
    if let Some(name) = spec
        .mcp_servers
        .iter()
        .find(|name| check::<McpServer>(name).is_err())
    {
        return Err(Problem::invalid(format!(
            "mcpServers has {name:?}, which is no name of an MCPServer; correct it"
        )));
    }
    let must_be_ready = spec.wait_for_dependencies;
    let Some(model_api) = &references.model_api else {
        return Ok(Some(format!("ModelAPI {} does not exist", spec.model_api)));
    };
    if !serves(&model_api.models, &spec.model) {
        return Err(Problem::invalid(format!(
            "model {:?} is not served by ModelAPI {}, which serves {}; change model or add it there",
            spec.model,
            spec.model_api,
            model_api.models.join(", ")
        )));
    }
    if must_be_ready && !model_api.ready {
        return Ok(Some(format!("ModelAPI {} is not ready", spec.model_api)));
    }
    for name in sorted(&spec.mcp_servers) {
        match references.mcp_servers.get(&name) {
            None => return Ok(Some(format!("MCPServer {name} does not exist"))),
            Some(server) if must_be_ready && !server.ready => {
                return Ok(Some(format!("MCPServer {name} is not ready")));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}

fn set_configuration(
    environment: &mut Environment,
    resource: &Agent,
    name: &str,
    model_api_url: &str,
) {
    let config = &resource.spec.config;
    environment.set("AGENT_NAME", name);
    environment.set_some("AGENT_DESCRIPTION", config.description.as_ref());
    environment.set_some("AGENT_INSTRUCTIONS", config.instructions.as_ref());
    environment.set_some("AGENT_SYSTEM_PROMPT", config.system_prompt.as_ref());
    environment.set("MODEL_API_URL", model_api_url);
    environment.set("MODEL_NAME", &resource.spec.model);
    let steps = config.reasoning_loop_max_steps.to_string();
    environment.set("AGENTIC_LOOP_MAX_STEPS", steps);
    environment.set(
        "TOOL_CALL_MODE",
        match config.tool_call_mode {
            ToolCallMode::Auto => "auto",
            ToolCallMode::Native => "native",
            ToolCallMode::String => "string",
        },
    );
    let memory = &config.memory;
    environment.set("MEMORY_ENABLED", memory.enabled.to_string());
    environment.set(
        "MEMORY_TYPE",
        match memory.kind {
            MemoryType::Local => "local",
        },
    );
    environment.set("MEMORY_CONTEXT_LIMIT", memory.context_limit.to_string());
    environment.set("MEMORY_MAX_SESSIONS", memory.max_sessions.to_string());
    let events = memory.max_session_events.to_string();
    environment.set("MEMORY_MAX_SESSION_EVENTS", events);
}

fn set_links(environment: &mut Environment, linked: &LinkedResources, namespace: &str) {
    if !linked.mcpservers.is_empty() {
        environment.set("MCP_SERVERS", linked.mcpservers.join(","));
        for name in &linked.mcpservers {
            let url = endpoint::<McpServer>(namespace, name, mcpserver::PORT);
            environment.set(format!("MCP_SERVER_{name}_URL"), url);
        }
    }
    if !linked.peers.is_empty() {
        environment.set("PEER_AGENTS", linked.peers.join(","));
        for name in &linked.peers {
            let variable = name.to_ascii_uppercase().replace('-', "_");
            let url = endpoint::<Agent>(namespace, name, PORT);
            environment.set(format!("PEER_AGENT_{variable}_CARD_URL"), url);
        }
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}
