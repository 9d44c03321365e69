//! LiteLLM's configuration.

use serde::{Deserialize, Serialize};

use super::Problem;
use super::modelapi::serves;
use crate::api::ProxyConfig;

/// Where the configuration is mounted.
pub const MOUNT_PATH: &str = "/etc/litellm";
/// Name of its file, and key of its ConfigMap.
pub const FILE: &str = "config.yaml";

#[derive(Debug, Serialize)]
struct Config {
    model_list: Vec<Model>,
    litellm_settings: LitellmSettings,
}

#[derive(Debug, Serialize)]
struct Model {
    model_name: String,
    litellm_params: Parameters,
}

#[derive(Debug, Serialize)]
struct Parameters {
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_base: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct LitellmSettings {
    drop_params: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    success_callback: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_callback: Option<[&'static str; 1]>,
}

/// The generated configuration. LiteLLM resolves `os.environ/NAME` itself, so no key is in it.
///
/// # Errors
/// It cannot be written as YAML.
pub fn generate(proxy: &ProxyConfig, with_callbacks: bool) -> Result<String, Problem> {
    let callbacks = with_callbacks.then_some(["otel"]);
    let model_list = proxy
        .models
        .iter()
        .map(|model| Model {
            model_name: model.clone(),
            litellm_params: Parameters {
                model: match &proxy.provider {
                    Some(provider) => format!("{provider}/{model}"),
                    None => model.clone(),
                },
                api_base: proxy.api_base.as_ref().map(|_| "os.environ/PROXY_API_BASE"),
                api_key: proxy.api_key.as_ref().map(|_| "os.environ/PROXY_API_KEY"),
            },
        })
        .collect();
    let config = Config {
        model_list,
        litellm_settings: LitellmSettings {
            drop_params: true,
            success_callback: callbacks,
            failure_callback: callbacks,
        },
    };
    serde_saphyr::to_string(&config)
        .map_err(|error| Problem::invalid(format!("LiteLLM's configuration: {error}")))
}

#[derive(Debug, Deserialize)]
struct UserConfig {
    #[serde(default)]
    model_list: Vec<UserModel>,
}

#[derive(Debug, Deserialize)]
struct UserModel {
    model_name: String,
}

/// Checks a configuration of the user's: that it parses, and that it serves only `models`.
///
/// # Errors
/// Names the line, or the model that is not among `models`.
pub fn check(yaml: &str, models: &[String]) -> Result<(), Problem> {
    let config: UserConfig = serde_saphyr::from_str(yaml).map_err(|error| {
        // Without the snippet: the text around the error may hold a key.
        Problem::invalid(format!(
            "proxyConfig.configYaml.fromString is no configuration of LiteLLM: {}",
            error.without_snippet()
        ))
    })?;
    for model in &config.model_list {
        if !models.contains(&model.model_name) && !serves(models, &model.model_name) {
            return Err(Problem::invalid(format!(
                "proxyConfig.configYaml.fromString has the model {:?}, which is not in \
                 proxyConfig.models; add it there or remove it here",
                model.model_name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_of_the_user_is_checked() {
        let models = ["gpt-4".to_owned(), "openai/*".to_owned()];
        let model = |name: &str| format!("model_list:\n- model_name: {name}\n  other: 1\n");
        assert_eq!(check(&model("gpt-4"), &models), Ok(()));
        assert_eq!(check(&model("openai/o3"), &models), Ok(()));
        assert_eq!(check(&model("openai/*"), &models), Ok(()));
        assert_eq!(check("general_settings: {}", &models), Ok(()));
        let unknown = check(&model("claude"), &models).unwrap_err().to_string();
        assert!(unknown.contains("the model \"claude\""), "{unknown}");
        let broken = check("model_list: [sk-secret", &models).unwrap_err();
        let broken = broken.to_string();
        assert!(broken.contains("no configuration of LiteLLM"), "{broken}");
        assert!(!broken.contains("sk-secret"), "{broken}");
    }
}
