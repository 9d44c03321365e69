//! `kaos-operator render`: what would be created, without a cluster.
//!
//! What a manifest refers to must be in the manifests too, and counts as ready.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use crate::api::validation::Schemas;
use crate::api::{Agent, GROUP, McpServer, ModelApi};
use crate::reconcile::{
    self, AgentReferences, Desired, McpServerReference, ModelApiReference, Problem,
    RUNTIMES_CONFIG_MAP, RUNTIMES_KEY, Runtimes,
};
use crate::settings::Settings;

/// Namespace of manifests that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// What came of the manifests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The objects, as a stream of YAML documents.
    pub yaml: String,
    /// Why some resources have none: `Kind namespace/name: reason`.
    pub problems: Vec<String>,
}

/// Why nothing could be rendered at all.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The text is no YAML.
    #[error("the manifests cannot be read: {0}")]
    Yaml(String),
    /// An object could not be written.
    #[error("cannot write an object as YAML: {0}")]
    Write(String),
}

/// The manifests, by kind and in their order.
#[derive(Default)]
struct Manifests {
    agents: Vec<Agent>,
    servers: Vec<McpServer>,
    models: Vec<ModelApi>,
    runtimes: Runtimes,
    /// What the schema forbids in each resource, by its title.
    invalid: BTreeMap<String, Vec<String>>,
    problems: Vec<String>,
}

/// Renders a stream of YAML documents. Kinds that are not ours are passed over, but for the
/// ConfigMap of runtimes.
///
/// # Errors
/// The text is no YAML. What is wrong with single resources is in [`Rendered::problems`].
pub fn render(manifests: &str, settings: &Settings) -> Result<Rendered, RenderError> {
    let manifests = Manifests::read(manifests)?;
    let mut rendered = Rendered::default();
    for resource in &manifests.models {
        let outcome = reconcile::model_api(resource, settings);
        rendered.add("ModelAPI", resource, outcome, &manifests.invalid)?;
    }
    for resource in &manifests.servers {
        let outcome = reconcile::mcp_server(resource, &manifests.runtimes, settings);
        rendered.add("MCPServer", resource, outcome, &manifests.invalid)?;
    }
    for resource in &manifests.agents {
        let outcome = reconcile::agent(resource, &manifests.references_of(resource), settings);
        rendered.add("Agent", resource, outcome, &manifests.invalid)?;
    }
    rendered.problems.splice(0..0, manifests.problems);
    Ok(rendered)
}

impl Manifests {
    fn read(text: &str) -> Result<Self, RenderError> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| RenderError::Yaml(error.to_string()))?;
        let mut manifests = Self::default();
        let schemas = Schemas::new();
        for document in documents {
            let kind = document["kind"].as_str().unwrap_or_default();
            let group = document["apiVersion"].as_str().unwrap_or_default();
            let ours = group.split('/').next() == Some(GROUP);
            if ours {
                let invalid = schemas.problems(kind, &document);
                manifests.invalid.insert(title_of(&document), invalid);
            }
            match kind {
                "Agent" if ours => {
                    read_into(document, &mut manifests.agents, &mut manifests.problems)
                }
                "MCPServer" if ours => {
                    read_into(document, &mut manifests.servers, &mut manifests.problems)
                }
                "ModelAPI" if ours => {
                    read_into(document, &mut manifests.models, &mut manifests.problems)
                }
                "ConfigMap" => manifests.read_runtimes(document),
                _ => {}
            }
        }
        Ok(manifests)
    }

    fn read_runtimes(&mut self, document: Value) {
        let Ok(map) = serde_json::from_value::<ConfigMap>(document) else {
            return;
        };
        if map.name_any() == RUNTIMES_CONFIG_MAP {
            let text = map.data.as_ref().and_then(|data| data.get(RUNTIMES_KEY));
            self.runtimes = text.map_or_else(Runtimes::default, |text| Runtimes::parse(text));
        }
    }

    fn references_of(&self, agent: &Agent) -> AgentReferences {
        let namespace = agent.namespace();
        let spec = &agent.spec;
        let model_api = self
            .models
            .iter()
            .find(|model| model.namespace() == namespace && model.name_any() == spec.model_api)
            .map(|model| ModelApiReference {
                ready: true,
                ..ModelApiReference::from(model)
            });
        let mcp_servers: BTreeMap<String, McpServerReference> = self
            .servers
            .iter()
            .filter(|server| server.namespace() == namespace)
            .map(|server| (server.name_any(), McpServerReference { ready: true }))
            .collect();
        let mut peers: Vec<String> = self
            .agents
            .iter()
            .filter(|peer| peer.namespace() == namespace && peer.spec.agent_network.expose)
            .map(ResourceExt::name_any)
            .filter(|name| spec.agent_network.access.contains(name))
            .collect();
        peers.sort_unstable();
        AgentReferences {
            model_api,
            mcp_servers,
            peers,
        }
    }
}

fn read_into<K: kube::Resource + DeserializeOwned>(
    document: Value,
    resources: &mut Vec<K>,
    problems: &mut Vec<String>,
) {
    let title = title_of(&document);
    match serde_json::from_value::<K>(document) {
        Ok(mut resource) => {
            resource
                .meta_mut()
                .namespace
                .get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
            resources.push(resource);
        }
        Err(error) => problems.push(format!("{title}: {error}")),
    }
}

/// `Kind namespace/name` of a manifest.
fn title_of(document: &Value) -> String {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    format!(
        "{} {}/{}",
        text("/kind").unwrap_or_default(),
        text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE),
        text("/metadata/name").unwrap_or_default()
    )
}

impl Rendered {
    fn add<K: kube::Resource>(
        &mut self,
        kind: &str,
        resource: &K,
        outcome: Result<Desired, Problem>,
        invalid: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), RenderError> {
        let namespace = resource.namespace().unwrap_or_default();
        let title = format!("{kind} {namespace}/{}", resource.name_any());
        match (outcome, invalid.get(&title)) {
            // Our own reason says more than the schema's.
            (Err(problem), _) => {
                self.problems.push(format!("{title}: {problem}"));
                Ok(())
            }
            (Ok(_), Some(invalid)) if !invalid.is_empty() => {
                let told = invalid.iter().map(|it| format!("{title}: {it}"));
                self.problems.extend(told);
                Ok(())
            }
            (Ok(desired), _) => {
                self.write(desired.config_map.as_ref())?;
                self.write(Some(&desired.deployment))?;
                self.write(desired.service.as_ref())?;
                self.write(desired.route.as_ref())
            }
        }
    }

    fn write(&mut self, object: Option<&impl Serialize>) -> Result<(), RenderError> {
        let Some(object) = object else {
            return Ok(());
        };
        let yaml = serde_saphyr::to_string(object)
            .map_err(|error| RenderError::Write(error.to_string()))?;
        self.yaml.push_str("---\n");
        self.yaml.push_str(&yaml);
        if !yaml.ends_with('\n') {
            self.yaml.push('\n');
        }
        Ok(())
    }
}
