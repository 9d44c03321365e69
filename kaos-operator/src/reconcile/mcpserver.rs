//! MCPServer, of either shape.

use k8s_openapi::api::core::v1::{Container, EnvVarSource, PodSpec};

use super::container::{main_container, tcp_probe, with_probes};
use super::deployment::deployment;
use super::environment::Environment;
use super::names::endpoint;
use super::route::http_route;
use super::service::service;
use super::telemetry::Telemetry;
use super::{Desired, Problem, Runtimes, name_of};
use crate::api::{CUSTOM_RUNTIME, Component as _, McpServer, McpServerType, ToolsConfig};
use crate::settings::Settings;

/// Port of every MCPServer.
pub const PORT: i32 = 8000;
/// Image in which a package of PyPI is installed.
const PYTHON_IMAGE: &str = "python:3.12-slim";
/// Image in which a package of npm is installed.
const NODE_IMAGE: &str = "node:22-slim";
/// Installs `$1` and runs its command `$2`, or else its module `$3`.
const PYTHON_PACKAGE: &str = r#"pip install --no-cache-dir "$1" && if command -v "$2" >/dev/null; then exec "$2"; else exec python -m "$3"; fi"#;
/// Variable in which the server of older manifests reads its tools' source.
const TOOLS_VARIABLE: &str = "MCP_TOOLS_STRING";

/// The objects of an MCPServer.
///
/// # Errors
/// Its runtime is not in the registry yet, or its spec must be changed.
pub fn mcp_server(
    resource: &McpServer,
    runtimes: &Runtimes,
    settings: &Settings,
) -> Result<Desired, Problem> {
    let name = name_of(resource)?;
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let telemetry = Telemetry::merge(&resource.telemetry(), &settings.telemetry)?;

    let mut environment = Environment::default();
    environment.set_log_level(settings.log_level);
    environment.set_kaos_sdk(&telemetry, namespace, name);
    let generated = match (&resource.spec.runtime, resource.spec.kind) {
        (Some(runtime), None) => newer(resource, runtime, runtimes, &mut environment)?,
        (None, Some(kind)) => older(resource, kind, settings, &mut environment)?,
        _ => {
            return Err(Problem::invalid(
                "exactly one of runtime and type must be set",
            ));
        }
    };
    let container = main_container(resource, generated, environment, PORT);
    let pod_spec = PodSpec {
        containers: vec![with_probes(container, tcp_probe(PORT), tcp_probe(PORT))],
        service_account_name: resource.spec.service_account_name.clone(),
        ..PodSpec::default()
    };
    let route = settings
        .gateway
        .as_ref()
        .map(|gateway| http_route(resource, name, gateway, PORT))
        .transpose()?;
    Ok(Desired {
        deployment: deployment(resource, name, &pod_spec, &telemetry, None)?,
        service: Some(service(resource, name, PORT)),
        config_map: None,
        route,
        endpoint: Some(endpoint::<McpServer>(namespace, name, PORT)),
        telemetry: telemetry.report(),
        linked: None,
    })
}

/// `runtime` and `params`.
fn newer(
    resource: &McpServer,
    runtime: &str,
    runtimes: &Runtimes,
    environment: &mut Environment,
) -> Result<Container, Problem> {
    let spec = &resource.spec;
    if runtime == CUSTOM_RUNTIME {
        if resource.container().is_none_or(|own| own.image.is_none()) {
            return Err(Problem::invalid(
                "runtime custom needs container.image; name the image there",
            ));
        }
        if spec.params.is_some() {
            return Err(Problem::invalid(
                "params has no meaning with runtime custom; use container.env or container.args",
            ));
        }
        return Ok(Container::default());
    }
    let runtime_name = runtime;
    let runtime = runtimes.get(runtime).map_err(Problem::Waiting)?;
    match (&spec.params, &runtime.params_env_var) {
        (Some(params), Some(variable)) => environment.set(variable, params),
        (Some(_), None) => {
            return Err(Problem::invalid(format!(
                "runtime {runtime_name:?} takes no params; remove them"
            )));
        }
        (None, _) => {}
    }
    let is_set = |name: &String| {
        let newer = resource.container().map_or(&[][..], |own| &own.env);
        resource
            .older_env()
            .iter()
            .chain(newer)
            .any(|variable| variable.name == *name)
    };
    if let Some(missing) = runtime.required_env.iter().find(|name| !is_set(name)) {
        return Err(Problem::invalid(format!(
            "container.env lacks {missing}, which runtime {runtime_name:?} needs; add it"
        )));
    }
    Ok(Container {
        image: Some(runtime.image.clone()),
        command: runtime.command.clone(),
        args: runtime.args.clone(),
        ..Container::default()
    })
}

/// `type` and `config.tools`.
fn older(
    resource: &McpServer,
    kind: McpServerType,
    settings: &Settings,
    environment: &mut Environment,
) -> Result<Container, Problem> {
    let config = resource.spec.config.as_ref();
    let tools = config.and_then(|config| config.tools.clone());
    let Some(tools) = tools else {
        return Err(Problem::invalid("type needs config.tools; add it"));
    };
    match (&tools, kind) {
        (
            ToolsConfig {
                from_package: Some(package),
                from_string: None,
                from_secret_key_ref: None,
            },
            kind,
        ) => Ok(package_container(package, kind)),
        (
            ToolsConfig {
                from_package: None,
                from_string: Some(source),
                from_secret_key_ref: None,
            },
            McpServerType::PythonRuntime,
        ) => {
            environment.set(TOOLS_VARIABLE, source);
            Ok(source_container(settings))
        }
        (
            ToolsConfig {
                from_package: None,
                from_string: None,
                from_secret_key_ref: Some(secret),
            },
            McpServerType::PythonRuntime,
        ) => {
            let source = EnvVarSource {
                secret_key_ref: Some(secret.clone()),
                ..EnvVarSource::default()
            };
            environment.set_from(TOOLS_VARIABLE, source);
            Ok(source_container(settings))
        }
        (
            ToolsConfig {
                from_package: None, ..
            },
            McpServerType::NodeRuntime,
        ) => Err(Problem::invalid(
            "type node-runtime takes its tools from config.tools.fromPackage only",
        )),
        _ => Err(Problem::invalid(
            "config.tools needs exactly one of fromPackage, fromString and fromSecretKeyRef",
        )),
    }
}

fn source_container(settings: &Settings) -> Container {
    Container {
        image: Some(settings.images.mcp_server.clone()),
        command: Some(
            ["python", "-m", "mcptools.server"]
                .map(str::to_owned)
                .to_vec(),
        ),
        ..Container::default()
    }
}

/// Installs a package and runs it. The package is an argument of the shell's, never its text.
fn package_container(package: &str, kind: McpServerType) -> Container {
    let (image, command) = match kind {
        McpServerType::PythonRuntime => {
            let name: String = package
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || "._-".contains(*letter))
                .collect();
            let module = name.replace('-', "_");
            let words = ["sh", "-c", PYTHON_PACKAGE, "sh", package, &name, &module];
            (PYTHON_IMAGE, words.map(str::to_owned).to_vec())
        }
        McpServerType::NodeRuntime => {
            let words = ["npx", "--yes", "--", package];
            (NODE_IMAGE, words.map(str::to_owned).to_vec())
        }
    };
    Container {
        image: Some(image.to_owned()),
        command: Some(command),
        ..Container::default()
    }
}
