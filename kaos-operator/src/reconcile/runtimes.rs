//! The registry of MCP runtimes: a ConfigMap that the chart writes and people extend.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Name of the ConfigMap, in the operator's namespace.
pub const RUNTIMES_CONFIG_MAP: &str = "kaos-mcp-runtimes";
/// Its key.
pub const RUNTIMES_KEY: &str = "runtimes.yaml";

/// Runtimes by name, or what is wrong with the registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runtimes {
    by_name: BTreeMap<String, Runtime>,
    problem: Option<String>,
}

/// How an MCPServer with a certain `runtime` is run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Runtime {
    /// Image.
    pub image: String,
    /// Entry point, if not the image's.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Arguments, if not the image's.
    #[serde(default)]
    pub args: Option<Vec<String>>,
    /// Variable that gets `params`.
    #[serde(default)]
    pub params_env_var: Option<String>,
    /// Variables without which it cannot work.
    #[serde(default)]
    pub required_env: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    runtimes: BTreeMap<String, Runtime>,
}

impl Runtimes {
    /// From the text under [`RUNTIMES_KEY`]. A registry that cannot be read has no runtimes, and
    /// says why to all who ask.
    pub fn parse(yaml: &str) -> Self {
        match serde_saphyr::from_str::<Document>(yaml) {
            Ok(document) => Self {
                by_name: document.runtimes,
                problem: None,
            },
            Err(error) => Self {
                by_name: BTreeMap::new(),
                problem: Some(format!(
                    "{RUNTIMES_KEY} of ConfigMap {RUNTIMES_CONFIG_MAP} cannot be read: {}",
                    error.without_snippet()
                )),
            },
        }
    }

    /// The runtime of this name.
    ///
    /// # Errors
    /// Why there is none, and which there are.
    pub fn get(&self, name: &str) -> Result<&Runtime, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            format!(
                "runtime {name:?} is not in ConfigMap {RUNTIMES_CONFIG_MAP}; it has: {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            )
        })
    }
}
