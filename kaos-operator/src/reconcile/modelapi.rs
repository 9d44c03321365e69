//! ModelAPI: LiteLLM or Ollama.

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVarSource, KeyToPath,
    PodSpec, SecretVolumeSource, Volume, VolumeMount,
};

use super::container::{http_probe, main_container, with_probes};
use super::deployment::deployment;
use super::environment::Environment;
use super::names::{CONFIG_MAP_PREFIX, endpoint};
use super::route::http_route;
use super::service::service;
use super::telemetry::Telemetry;
use super::{Desired, Problem, litellm, name_of, object_meta};
use crate::api::{
    ApiKey, Component as _, HostedConfig, ModelApi, ModelApiMode, ModelApiSpec, ProxyConfig,
};
use crate::settings::{LogLevel, Settings};

/// Port of LiteLLM.
const LITELLM_PORT: i32 = 8000;
/// Port of Ollama.
const OLLAMA_PORT: i32 = 11434;
/// Volume of LiteLLM's configuration.
const CONFIG_VOLUME: &str = "litellm-config";
/// Volume of Ollama's models.
const OLLAMA_VOLUME: &str = "ollama-data";
/// Where Ollama keeps its models.
const OLLAMA_PATH: &str = "/root/.ollama";
/// Serves, pulls the model in `$1` and stops. A failed pull fails the container, which the kubelet
/// starts again with its back-off.
const PULL_SCRIPT: &str = r#"ollama serve & server=$!
until ollama list >/dev/null 2>&1; do kill -0 "$server" || exit 1; sleep 1; done
ollama pull "$1"; result=$?
kill "$server"; wait "$server"; exit "$result""#;

/// Whether a model is served by these: an exact name, `prefix/*` or `*`.
pub fn serves(models: &[String], model: &str) -> bool {
    models.iter().any(|served| match served.strip_suffix('*') {
        Some(prefix) if prefix.is_empty() || prefix.ends_with('/') => {
            model.len() > prefix.len() && model.starts_with(prefix)
        }
        _ => served == model,
    })
}

/// The models that a ModelAPI serves.
pub fn served_models(spec: &ModelApiSpec) -> Vec<String> {
    match spec.mode {
        ModelApiMode::Proxy => {
            let proxy = spec.proxy_config.as_ref();
            proxy.map(|proxy| proxy.models.clone()).unwrap_or_default()
        }
        ModelApiMode::Hosted => {
            let hosted = spec.hosted_config.as_ref();
            hosted
                .map(|hosted| hosted.model.clone())
                .into_iter()
                .collect()
        }
    }
}

/// Port by mode.
pub fn port(mode: ModelApiMode) -> i32 {
    match mode {
        ModelApiMode::Proxy => LITELLM_PORT,
        ModelApiMode::Hosted => OLLAMA_PORT,
    }
}

/// What is specific to a mode.
struct Mode {
    pod_spec: PodSpec,
    config: Option<String>,
    telemetry: super::TelemetryReport,
}

/// The objects of a ModelAPI.
///
/// # Errors
/// Its spec must be changed.
pub fn model_api(resource: &ModelApi, settings: &Settings) -> Result<Desired, Problem> {
    let name = name_of(resource)?;
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let telemetry = Telemetry::merge(&resource.telemetry(), &settings.telemetry)?;
    let port = port(resource.spec.mode);
    let mode = match resource.spec.mode {
        ModelApiMode::Proxy => proxy(resource, name, namespace, &telemetry, settings)?,
        ModelApiMode::Hosted => hosted(resource, name, namespace, &telemetry, settings)?,
    };
    let route = settings
        .gateway
        .as_ref()
        .map(|gateway| http_route(resource, name, gateway, port))
        .transpose()?;
    let config = mode.config.as_deref();
    Ok(Desired {
        deployment: deployment(resource, name, &mode.pod_spec, &telemetry, config)?,
        service: Some(service(resource, name, port)),
        config_map: config.map(|config| config_map(resource, name, config)),
        route,
        endpoint: Some(endpoint::<ModelApi>(namespace, name, port)),
        telemetry: mode.telemetry,
        linked: None,
    })
}

fn proxy(
    resource: &ModelApi,
    name: &str,
    namespace: &str,
    telemetry: &Telemetry,
    settings: &Settings,
) -> Result<Mode, Problem> {
    let Some(proxy) = &resource.spec.proxy_config else {
        return Err(Problem::invalid("mode Proxy needs proxyConfig; add it"));
    };
    if proxy.models.is_empty() {
        return Err(Problem::invalid(
            "proxyConfig.models is empty; name at least one model",
        ));
    }
    let (volume, config) = config_source(proxy, name, telemetry)?;
    let mut environment = Environment::default();
    environment.set("LITELLM_LOG", litellm_log(settings.log_level));
    environment.set_some("PROXY_API_BASE", proxy.api_base.as_ref());
    if let Some(key) = &proxy.api_key {
        set_api_key(&mut environment, key)?;
    }
    if matches!(telemetry, Telemetry::Enabled { .. }) {
        if !telemetry.sdk_exports() {
            environment.set("OTEL_SDK_DISABLED", "true");
        }
        environment.set("OTEL_EXPORTER", "otlp_grpc");
        environment.set_service(telemetry, namespace, name);
        environment.set("OTEL_PYTHON_EXCLUDED_URLS", "/health");
    }
    let generated = Container {
        image: Some(settings.images.litellm.clone()),
        args: Some(vec![
            "--config".to_owned(),
            format!("{}/{}", litellm::MOUNT_PATH, litellm::FILE),
            "--port".to_owned(),
            LITELLM_PORT.to_string(),
        ]),
        volume_mounts: Some(vec![VolumeMount {
            name: CONFIG_VOLUME.to_owned(),
            mount_path: litellm::MOUNT_PATH.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    };
    let container = main_container(resource, generated, environment, LITELLM_PORT);
    let probe = http_probe("/health/liveliness", LITELLM_PORT);
    Ok(Mode {
        pod_spec: PodSpec {
            containers: vec![with_probes(container, probe.clone(), probe)],
            volumes: Some(vec![volume]),
            ..PodSpec::default()
        },
        config,
        telemetry: telemetry.report(),
    })
}

/// Where the configuration is mounted from, and its text where we hold it.
fn config_source(
    proxy: &ProxyConfig,
    name: &str,
    telemetry: &Telemetry,
) -> Result<(Volume, Option<String>), Problem> {
    let given = proxy.config_yaml.clone().unwrap_or_default();
    let mut volume = Volume {
        name: CONFIG_VOLUME.to_owned(),
        ..Volume::default()
    };
    if let Some(secret) = given.from_secret_key_ref {
        volume.secret = Some(SecretVolumeSource {
            secret_name: Some(secret.name),
            optional: secret.optional,
            items: Some(vec![KeyToPath {
                key: secret.key,
                path: litellm::FILE.to_owned(),
                ..KeyToPath::default()
            }]),
            ..SecretVolumeSource::default()
        });
        return Ok((volume, None));
    }
    let config = match given.from_string {
        Some(yaml) => {
            litellm::check(&yaml, &proxy.models)?;
            yaml
        }
        None => litellm::generate(proxy, telemetry.sdk_exports())?,
    };
    volume.config_map = Some(ConfigMapVolumeSource {
        name: format!("{CONFIG_MAP_PREFIX}{name}"),
        ..ConfigMapVolumeSource::default()
    });
    Ok((volume, Some(config)))
}

fn set_api_key(environment: &mut Environment, key: &ApiKey) -> Result<(), Problem> {
    match (&key.value, &key.value_from) {
        (Some(value), None) => environment.set("PROXY_API_KEY", value),
        (None, Some(from)) => environment.set_from(
            "PROXY_API_KEY",
            EnvVarSource {
                secret_key_ref: from.secret_key_ref.clone(),
                config_map_key_ref: from.config_map_key_ref.clone(),
                ..EnvVarSource::default()
            },
        ),
        _ => {
            return Err(Problem::invalid(
                "proxyConfig.apiKey needs exactly one of value and valueFrom",
            ));
        }
    }
    Ok(())
}

/// LiteLLM knows no TRACE.
fn litellm_log(level: LogLevel) -> String {
    match level {
        LogLevel::Trace => LogLevel::Debug.to_string(),
        level => level.to_string(),
    }
}

fn hosted(
    resource: &ModelApi,
    name: &str,
    namespace: &str,
    telemetry: &Telemetry,
    settings: &Settings,
) -> Result<Mode, Problem> {
    let Some(HostedConfig { model, .. }) = &resource.spec.hosted_config else {
        return Err(Problem::invalid("mode Hosted needs hostedConfig; add it"));
    };
    let mut environment = Environment::default();
    match settings.log_level {
        LogLevel::Trace => environment.set("OLLAMA_DEBUG", "2"),
        LogLevel::Debug => environment.set("OLLAMA_DEBUG", "1"),
        _ => {}
    }
    environment.set_service(telemetry, namespace, name);
    let generated = Container {
        image: Some(settings.images.ollama.clone()),
        volume_mounts: Some(vec![VolumeMount {
            name: OLLAMA_VOLUME.to_owned(),
            mount_path: OLLAMA_PATH.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    };
    let container = main_container(resource, generated, environment, OLLAMA_PORT);
    let pull = Container {
        name: "pull-model".to_owned(),
        image: container.image.clone(),
        command: Some(
            ["sh", "-c", PULL_SCRIPT, "pull-model", model]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: container.env.clone(),
        resources: container.resources.clone(),
        security_context: container.security_context.clone(),
        volume_mounts: container.volume_mounts.clone(),
        ..Container::default()
    };
    let probe = http_probe("/", OLLAMA_PORT);
    Ok(Mode {
        pod_spec: PodSpec {
            init_containers: Some(vec![pull]),
            containers: vec![with_probes(container, probe.clone(), probe)],
            volumes: Some(vec![Volume {
                name: OLLAMA_VOLUME.to_owned(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        },
        config: None,
        telemetry: telemetry.report_without_sdk(),
    })
}

fn config_map(resource: &ModelApi, name: &str, config: &str) -> ConfigMap {
    ConfigMap {
        metadata: object_meta(resource, format!("{CONFIG_MAP_PREFIX}{name}")),
        data: Some([(litellm::FILE.to_owned(), config.to_owned())].into()),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_served_exactly_or_by_a_wildcard() {
        let served = |models: &[&str], model: &str| {
            let models: Vec<String> = models.iter().map(|&name| name.to_owned()).collect();
            serves(&models, model)
        };
        assert!(served(&["gpt-4"], "gpt-4"));
        assert!(!served(&["gpt-4"], "gpt-4o"));
        assert!(served(&["*"], "anything"));
        assert!(served(&["openai/*"], "openai/gpt-4"));
        assert!(!served(&["openai/*"], "openai/"));
        assert!(!served(&["openai/*"], "azure/gpt-4"));
        assert!(!served(&["gpt*"], "gpt-4"));
        assert!(!served(&[], "gpt-4"));
    }
}
