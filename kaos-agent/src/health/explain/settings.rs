//! Which settings were read, where from, and what they come to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::traced::RunningAgent;
use crate::capture::event::{Pid, ProcessChange, ProcessEvent, ProcessInfo};
use crate::capture::processes;
use crate::capture::redact::redact_variable;
use crate::identity::identities::{AgentDefaults, Identities};
use crate::identity::service::{self, BesideSdk, Protocol, SdkTraces, Service};
use crate::settings::{BesideSdkSettings, HttpSpans, Output, OutputSettings};

/// Settings of a process.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Variables of its environment that the agent reads, secrets masked.
    pub environment: Vec<Variable>,
    /// The agent whose options and environment hold for what that leaves open.
    pub defaults_of: Option<Pid>,
    /// `service.name`.
    pub service_name: String,
    /// Attributes of its resource, secrets masked.
    pub resource: BTreeMap<String, String>,
    /// Where its spans go; `None` where no endpoint is known.
    pub traces: Option<Destination>,
    /// Where its metrics go.
    pub metrics: Option<Destination>,
    /// Which of its traces are kept.
    pub sampler: String,
    /// Requests that it serves become spans.
    pub http_server_spans: bool,
    /// Requests that it makes become spans.
    pub http_client_spans: bool,
    /// Served URLs that are not told.
    pub excluded_urls: Vec<String>,
    /// Settings that cannot be honoured, and why.
    pub warnings: Vec<String>,
    /// What is told of it beside an SDK, and what says so: [`Sdk`](super::Sdk) shows it.
    #[serde(skip)]
    pub(super) beside_sdk: (BesideSdk, &'static str),
    /// It was started with an SDK that exports over OTLP.
    #[serde(skip)]
    pub(super) is_instrumented: bool,
}

/// The variable that switches an SDK off.
pub(super) const SDK_DISABLED: &str = "OTEL_SDK_DISABLED";

/// A variable, its secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Where a signal goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// URL, secrets masked.
    pub endpoint: String,
    /// What the process calls its host, where that is another for the agent: a name that its pod
    /// resolves, or the pod itself.
    pub named: Option<String>,
    /// `grpc`, `http/protobuf` or `http/json`.
    pub protocol: &'static str,
    /// Names of the headers that are sent; their values are secret.
    pub headers: Vec<String>,
    /// `process`: its own environment names it; `agent`: the agent's options or environment do.
    pub from: &'static str,
}

impl Settings {
    pub(super) fn of(
        pid: Pid,
        info: &ProcessInfo,
        agent: Option<&RunningAgent>,
    ) -> anyhow::Result<Self> {
        let (defaults, options) = defaults(agent)?;
        let (service, warnings) = resolve(pid, info, defaults);
        // What is there without the agent's settings is the process's own.
        let (own, _) = resolve(pid, info, AgentDefaults::default());
        let from = |own: &Option<service::Destination>| match own {
            Some(_) => "process",
            None => "agent",
        };
        let view = |destination: &Option<service::Destination>, from| {
            Some(Destination::of(destination.as_ref()?, from))
        };
        let mut settings = Self {
            beside_sdk: (service.beside_sdk, "default"),
            is_instrumented: service.is_instrumented,
            environment: info.environment.iter().map(masked_variable).collect(),
            defaults_of: agent.map(|agent| agent.pid),
            traces: view(&service.traces, from(&own.traces)),
            metrics: view(&service.metrics, from(&own.metrics)),
            sampler: sampler(service.sampler),
            http_server_spans: service.http_server_spans,
            http_client_spans: service.http_client_spans,
            excluded_urls: service
                .excluded_urls
                .iter()
                .map(|pattern| pattern.as_str().to_owned())
                .collect(),
            resource: service
                .resource
                .into_iter()
                .map(|(key, value)| (key.clone(), masked(&key, value)))
                .collect(),
            service_name: service.name,
            warnings,
        };
        let of_name = options.by_service.iter().map(|(name, _)| name);
        settings.beside_sdk.1 = if settings.is_true(SDK_DISABLED) {
            SDK_DISABLED
        } else if service.sdk_traces == SdkTraces::Nowhere {
            "OTEL_TRACES_EXPORTER"
        } else if options.of_others != BesideSdk::default()
            || of_name
                .into_iter()
                .any(|name| *name == settings.service_name)
        {
            "--beside-sdk"
        } else {
            "default"
        };
        Ok(settings)
    }

    /// Ports of its own destinations, as far as its environment names them.
    pub(super) fn own_ports(&self) -> Vec<u16> {
        let destinations = [&self.traces, &self.metrics].into_iter().flatten();
        destinations
            .filter(|destination| destination.from == "process")
            .filter_map(|destination| destination.endpoint.parse::<http::Uri>().ok()?.port_u16())
            .collect()
    }

    /// Whether a variable of its environment is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        let mut variables = self.environment.iter();
        let variable = variables.find(|variable| variable.name == name);
        variable.is_some_and(|variable| variable.value.trim().eq_ignore_ascii_case("true"))
    }
}

impl Destination {
    fn of(destination: &service::Destination, from: &'static str) -> Self {
        Self {
            endpoint: masked("", destination.endpoint.clone()),
            named: destination.named.clone(),
            protocol: match destination.protocol {
                Protocol::Grpc => "grpc",
                Protocol::HttpProtobuf => "http/protobuf",
                Protocol::HttpJson => "http/json",
            },
            headers: destination
                .headers
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            from,
        }
    }
}

/// The defaults that an agent hands to processes, or those that `run` without options would have
/// here; and what they ask for beside SDKs.
fn defaults(agent: Option<&RunningAgent>) -> anyhow::Result<(AgentDefaults, BesideSdkSettings)> {
    let (output, process) = match agent {
        Some(agent) => (agent.output.clone(), agent.pid),
        None => (None, std::process::id()),
    };
    let ProcessInfo {
        environment,
        surroundings,
        ..
    } = processes::describe(process, None);
    let output = output.unwrap_or(OutputSettings {
        output: Output::Otlp,
        http_spans: HttpSpans::All,
        otlp_endpoint: None,
        otlp_protocol: None,
        beside_sdk: BesideSdkSettings::default(),
    });
    let host_name = crate::identity::host_name();
    // The agent has told its own warnings itself.
    let defaults = AgentDefaults::new(
        &output,
        &environment,
        &surroundings.certificates,
        host_name,
        &mut Vec::new(),
    )?;
    Ok((defaults, output.beside_sdk))
}

/// What the agent makes of a process; and warnings.
fn resolve(pid: Pid, info: &ProcessInfo, defaults: AgentDefaults) -> (Service, Vec<String>) {
    let mut identities = Identities::new(defaults);
    let mut warnings = Vec::new();
    let described = ProcessEvent {
        at: 0,
        pid,
        change: ProcessChange::Described(Box::new(info.clone())),
    };
    identities.push(&described, &mut warnings);
    let service = identities.service(pid).as_deref().cloned();
    (
        service.unwrap_or_default(),
        warnings.iter().map(ToString::to_string).collect(),
    )
}

fn masked_variable((name, value): &(String, String)) -> Variable {
    Variable {
        name: name.clone(),
        value: masked(name, value.clone()),
    }
}

fn masked(name: &str, mut value: String) -> String {
    redact_variable(name, &mut value);
    value
}

fn sampler(sampler: service::Sampler) -> String {
    use service::Sampler::{
        AlwaysOff, AlwaysOn, ParentBasedAlwaysOff, ParentBasedAlwaysOn, ParentBasedTraceIdRatio,
        TraceIdRatio,
    };
    match sampler {
        AlwaysOn => "always_on".to_owned(),
        AlwaysOff => "always_off".to_owned(),
        TraceIdRatio(ratio) => format!("traceidratio {ratio}"),
        ParentBasedAlwaysOn => "parentbased_always_on".to_owned(),
        ParentBasedAlwaysOff => "parentbased_always_off".to_owned(),
        ParentBasedTraceIdRatio(ratio) => format!("parentbased_traceidratio {ratio}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::event::Surroundings;

    fn of(environment: &[(&str, &str)]) -> Settings {
        let info = ProcessInfo {
            executable: "/usr/bin/ollama".to_owned(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..ProcessInfo::default()
        };
        Settings::of(7, &info, None).expect("no option is wrong")
    }

    #[test]
    fn secrets_are_masked_and_names_stay() {
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/?api_key=HUSH"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer HUSH,x-a=HUSH",
            ),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "token=HUSH,team=blue,note=sk-HUSHHUSHHUSH",
            ),
            ("OTEL_SERVICE_NAME", "shop"),
        ]);
        let told = serde_json::to_string(&settings).expect("it is JSON");
        assert!(!told.contains("HUSH"), "{told}");
        let traces = settings.traces.as_ref().expect("it has an endpoint");
        assert_eq!(traces.headers, ["authorization", "x-a"]);
        assert_eq!(traces.from, "process");
        assert_eq!(settings.resource["team"], "blue");
        assert_eq!(settings.own_ports(), [4318, 4318]);
    }

    #[test]
    fn hosts_are_told_as_the_pod_resolves_them() {
        let info = ProcessInfo {
            environment: vec![(
                "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
                "http://collector:4317".to_owned(),
            )],
            surroundings: Surroundings {
                search_domain: Some("team.svc.cluster.local".to_owned()),
                ..Surroundings::default()
            },
            ..ProcessInfo::default()
        };
        let settings = Settings::of(7, &info, None).expect("no option is wrong");
        let traces = settings.traces.expect("it has an endpoint");
        let endpoint = "http://collector.team.svc.cluster.local:4317";
        assert_eq!(
            (traces.endpoint.as_str(), traces.from),
            (endpoint, "process")
        );
        assert_eq!(traces.named.as_deref(), Some("collector"));
    }

    #[test]
    fn warnings_are_told() {
        let settings = of(&[("OTEL_TRACES_SAMPLER", "xray")]);
        assert_eq!(settings.warnings.len(), 1);
        assert_eq!(settings.sampler, "parentbased_always_on");
        assert_eq!(settings.service_name, "ollama");
    }
}
