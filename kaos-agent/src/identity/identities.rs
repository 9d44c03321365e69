//! The table of processes and services.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;
use thiserror::Error;

use super::agent::AgentSettings;
use super::certificates::Certificates;
use super::configuration::Configuration;
use super::container::{container_id, pod_uid};
use super::naming;
use super::peers::Peers;
use super::pods::{Place, Pods};
use super::sdk::exports_over_otlp;
use super::service::{BesideSdk, Protocol, SdkTraces, Service};
use super::variables::Variables;
pub use super::variables::Warning;
use crate::capture::event::{
    CertificateFile, PeerEvent, PeerInfo, Pid, PodEvent, ProcessChange, ProcessEvent, ProcessInfo,
    Surroundings,
};
use crate::counters;
use crate::settings::{BesideSdkSettings, HttpSpans, OutputSettings};
use crate::time::Nanos;

/// Processes that are known at once: the default limit of processes on a Linux machine.
pub const MAX_PROCESSES: usize = 32_768;

/// Services that are alive at once. Each may have a queue and a connection of its own.
pub const MAX_SERVICES: usize = 1_024;

/// How long, in event time, the service of a process that exited is remembered: what it did last
/// may be told after its end.
pub const EXITED_KEPT: Nanos = 60_000_000_000;

/// Marks a process that KAOS runs: the operator sets it on every one.
const KAOS_RESOURCE_NAME: &str = "kaos.resource.name";

counters! {
    /// What identity could not keep.
    pub struct IdentityCounters: "identity" {
        /// Processes that are not told because the table was full.
        processes_refused,
        /// Processes that are not told because there were too many services.
        services_refused,
        /// Pods of which nothing is known because there were too many.
        pods_refused,
        /// Services and pods whose addresses are told without a name because there were too many.
        peers_refused,
    }
}

/// What holds for a process that says nothing else.
#[derive(Debug, Clone, Default)]
pub struct AgentDefaults {
    configuration: Configuration,
    http_spans_by_default: bool,
    beside_sdk: BesideSdkSettings,
    host_name: Option<String>,
}

/// `--otlp-endpoint` cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("--otlp-endpoint: {problem}")]
pub struct EndpointError {
    problem: String,
}

impl AgentDefaults {
    /// From the agent's options and its own environment, of which
    /// [`readable`](super::environment::readable) has been kept. The endpoint and protocol of the
    /// options beat those of the environment. `certificates` are in the files that it names, and `host_name` becomes `host.name` of every service.
    ///
    /// # Errors
    /// The endpoint of the options is no URL that can be used.
    pub fn new(
        options: &OutputSettings,
        environment: &[(String, String)],
        certificates: &[CertificateFile],
        host_name: Option<String>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, EndpointError> {
        let mut variables: BTreeMap<_, _> = environment.iter().cloned().collect();
        if let Some(endpoint) = &options.otlp_endpoint {
            // A path that is meant for one signal cannot be meant for the other.
            variables.retain(|name, _| !name.ends_with("_ENDPOINT"));
            variables.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint.clone());
        }
        if let Some(protocol) = options.otlp_protocol {
            variables.retain(|name, _| !name.ends_with("_PROTOCOL"));
            let word = match protocol {
                Protocol::Grpc => "grpc",
                Protocol::HttpProtobuf => "http/protobuf",
                Protocol::HttpJson => "http/json",
            };
            variables.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), word.to_owned());
        }
        let variables: Vec<_> = variables.into_iter().collect();
        let around = Surroundings {
            certificates: certificates.to_vec(),
            ..Surroundings::default()
        };
        let mut found = Vec::new();
        let configuration = Configuration::read(
            &mut Variables::new(None, &variables, &mut found),
            &Configuration::default(),
            &around,
        );
        if options.otlp_endpoint.is_some() && configuration.traces.is_none() {
            let problem = found
                .into_iter()
                .find(|it| it.variable.ends_with("_ENDPOINT"));
            return Err(EndpointError {
                problem: problem.map_or_else(|| "empty".to_owned(), |warning| warning.problem),
            });
        }
        warnings.append(&mut found);
        Ok(Self {
            configuration,
            http_spans_by_default: options.http_spans == HttpSpans::All,
            beside_sdk: options.beside_sdk.clone(),
            host_name,
        })
    }
}

/// Whose process is it?
#[derive(Debug)]
pub struct Identities {
    defaults: AgentDefaults,
    processes: FxHashMap<Pid, Process>,
    /// Processes that exited and when, in that order.
    exited: VecDeque<(Nanos, Pid)>,
    /// Services that some process or some span to be exported still has.
    services: Vec<Weak<Service>>,
    pods: Pods,
    peers: Peers,
    certificates: Certificates,
    counters: IdentityCounters,
}

#[derive(Debug, Clone)]
struct Process {
    /// `None` of one that executes another program, until that is described.
    service: Option<Arc<Service>>,
    /// Of a process in a pod, of which more may become known.
    info: Option<Arc<ProcessInfo>>,
    exited_at: Option<Nanos>,
}

impl Identities {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(defaults: AgentDefaults) -> Self {
        Self {
            defaults,
            processes: FxHashMap::default(),
            exited: VecDeque::new(),
            services: Vec::new(),
            pods: Pods::default(),
            peers: Peers::default(),
            certificates: Certificates::default(),
            counters: IdentityCounters::default(),
        }
    }

    /// Takes in what happened to a process. Settings that cannot be honoured are added to
    /// `warnings`; the same ones come again with every process that has them.
    pub fn push(&mut self, event: &ProcessEvent, warnings: &mut Vec<Warning>) {
        self.forget_exited(event.at.saturating_sub(EXITED_KEPT));
        match &event.change {
            ProcessChange::Forked { parent } => {
                // The child runs the parent's program with the parent's environment, until it is
                // described itself.
                if let Some(parent) = self.processes.get(parent)
                    && let Some(service) = parent.service.clone()
                {
                    let info = parent.info.clone();
                    self.insert(event.pid, service, info);
                }
            }
            ProcessChange::Executed => {
                // Its pod stays the same.
                match self.processes.get_mut(&event.pid) {
                    Some(process) if process.info.is_some() => process.service = None,
                    _ => drop(self.processes.remove(&event.pid)),
                }
            }
            // Gone before it could be looked at: what is known of it by its parent stands.
            ProcessChange::Described(info)
                if info.executable.is_empty() && self.is_alive(event.pid) => {}
            ProcessChange::Described(info) => {
                let mut info = Cow::Borrowed(&**info);
                // One that is gone already is where its program before was.
                if info.cgroup.is_empty()
                    && let Some(before) = self.processes.get(&event.pid)
                    && let Some(known) = &before.info
                {
                    let info = info.to_mut();
                    info.cgroup.clone_from(&known.cgroup);
                    info.surroundings.clone_from(&known.surroundings);
                }
                if !info.surroundings.certificates.is_empty() {
                    let files = &mut info.to_mut().surroundings.certificates;
                    files
                        .iter_mut()
                        .for_each(|file| self.certificates.share(file));
                }
                let is_in_pod = pod_uid(&info.cgroup).is_some();
                let kept = is_in_pod.then(|| Arc::new(info.clone().into_owned()));
                self.described(event.pid, &info, kept, warnings);
            }
            ProcessChange::Exited => {
                if let Some(process) = self.processes.get_mut(&event.pid) {
                    process.exited_at = Some(event.at);
                    self.exited.push_back((event.at, event.pid));
                }
            }
        }
    }

    /// Takes in what happened to a pod: its processes are told with what is known of it from now
    /// on. Those of a pod that is gone keep what was known.
    pub fn push_pod(&mut self, event: &PodEvent, warnings: &mut Vec<Warning>) {
        if !self.pods.push(event) {
            self.counters.pods_refused += 1;
        }
        if event.pod.is_none() {
            return;
        }
        let mut affected: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| process.exited_at.is_none())
            .filter_map(|(pid, process)| Some((*pid, process.info.clone()?)))
            .filter(|(_, info)| pod_uid(&info.cgroup).as_deref() == Some(&event.uid))
            .collect();
        affected.sort_unstable_by_key(|(pid, _)| *pid);
        for (pid, info) in affected {
            self.described(pid, &info, Some(Arc::clone(&info)), warnings);
        }
    }

    /// Takes in who has an address of the cluster.
    pub fn push_peer(&mut self, event: &PeerEvent) {
        if !self.peers.push(event) {
            self.counters.peers_refused += 1;
        }
    }

    /// Who has an address of the cluster.
    #[must_use]
    pub fn peer_at(&self, address: IpAddr) -> Option<Arc<PeerInfo>> {
        self.peers.at(address)
    }

    /// Services and pods whose addresses are known.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// A process that has a service and was not seen to end.
    fn is_alive(&self, pid: Pid) -> bool {
        let process = self.processes.get(&pid);
        process.is_some_and(|process| process.service.is_some() && process.exited_at.is_none())
    }

    fn described(
        &mut self,
        pid: Pid,
        info: &ProcessInfo,
        kept: Option<Arc<ProcessInfo>>,
        warnings: &mut Vec<Warning>,
    ) {
        let place = self.pods.place_of(info);
        let service = self
            .defaults
            .service_of(pid, info, place.as_ref(), warnings);
        match self.shared(service) {
            Some(service) => self.insert(pid, service, kept),
            None => {
                self.processes.remove(&pid);
                self.counters.services_refused += 1;
            }
        }
    }

    /// The service of a process that was described, or forked from one that was. A process that
    /// exited has it for [`EXITED_KEPT`] longer.
    #[must_use]
    pub fn service(&self, pid: Pid) -> Option<Arc<Service>> {
        self.processes
            .get(&pid)
            .and_then(|process| process.service.clone())
    }

    /// Processes that are known.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes.len()
    }

    /// What could not be kept.
    #[must_use]
    pub fn counters(&self) -> IdentityCounters {
        self.counters
    }

    fn insert(&mut self, pid: Pid, service: Arc<Service>, info: Option<Arc<ProcessInfo>>) {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            // Those that exited are worth less than one that lives.
            self.forget_one_exited();
            if self.processes.len() >= MAX_PROCESSES {
                self.counters.processes_refused += 1;
                return;
            }
        }
        let process = Process {
            service: Some(service),
            info,
            exited_at: None,
        };
        self.processes.insert(pid, process);
    }

    /// Time passed, and maybe nothing else.
    pub fn tick(&mut self, now: Nanos) {
        self.forget_exited(now.saturating_sub(EXITED_KEPT));
        // A weak reference keeps the memory.
        self.services.retain(|service| service.strong_count() > 0);
        self.peers.tick(now);
        self.certificates.tick();
    }

    fn forget_exited(&mut self, before: Nanos) {
        while self.exited.front().is_some_and(|(at, _)| *at < before) {
            self.forget_one_exited();
        }
    }

    /// Forgets the process that exited first, unless its number has a new owner.
    fn forget_one_exited(&mut self) {
        if let Some((at, pid)) = self.exited.pop_front()
            && self
                .processes
                .get(&pid)
                .is_some_and(|process| process.exited_at == Some(at))
        {
            self.processes.remove(&pid);
        }
    }

    /// The one that is equal and already there, else this one; `None` when there are too many.
    fn shared(&mut self, service: Service) -> Option<Arc<Service>> {
        self.services.retain(|other| other.strong_count() > 0);
        let equal = self
            .services
            .iter()
            .filter_map(Weak::upgrade)
            .find(|other| **other == service);
        if equal.is_some() {
            return equal;
        }
        if self.services.len() >= MAX_SERVICES {
            return None;
        }
        let service = Arc::new(service);
        self.services.push(Arc::downgrade(&service));
        Some(service)
    }
}

impl AgentDefaults {
    fn service_of(
        &self,
        pid: Pid,
        info: &ProcessInfo,
        place: Option<&Place>,
        warnings: &mut Vec<Warning>,
    ) -> Service {
        let container = container_id(&info.cgroup);
        // What the pod's specification says stands in for an environment that cannot be read.
        let environment = match (info.environment.is_empty(), place) {
            (true, Some(place)) => place.environment(),
            _ => &info.environment,
        };
        let mut variables = Variables::new(Some(pid), environment, warnings);
        let agent = AgentSettings::read(&mut variables);
        let around = &info.surroundings;
        let configuration = Configuration::read(&mut variables, &self.configuration, around);
        let is_instrumented = info.instrumentation.is_some() && exports_over_otlp(&mut variables);
        let name = configuration
            .service_name
            .or_else(|| place?.service_name().map(str::to_owned))
            .unwrap_or_else(|| naming::service_name(info));
        let is_set_up_by_kaos = configuration.http_server_spans.is_some()
            || configuration.http_client_spans.is_some()
            || configuration
                .resource_attributes
                .contains_key(KAOS_RESOURCE_NAME);
        let http_spans_by_default = self.http_spans_by_default && !is_set_up_by_kaos;

        let tells_nothing =
            configuration.sdk_disabled || configuration.sdk_traces == SdkTraces::Nowhere;
        let beside_sdk = match tells_nothing {
            true => BesideSdk::Always,
            false => self.beside_sdk.of(&name),
        };

        let mut resource = self.detected_resource(info, container);
        resource.extend(place.map(Place::attributes).unwrap_or_default());
        resource.extend(configuration.resource_attributes);
        resource.extend(constant_attributes());
        resource.insert("service.name".to_owned(), name.clone());
        Service {
            name,
            resource,
            traces: configuration.traces,
            metrics: configuration.metrics,
            batching: configuration.batching,
            metric_reading: configuration.metric_reading,
            sampler: configuration.sampler,
            value_limit: configuration.value_limit,
            http_server_spans: configuration
                .http_server_spans
                .unwrap_or(http_spans_by_default),
            http_client_spans: configuration
                .http_client_spans
                .unwrap_or(http_spans_by_default),
            excluded_urls: configuration.excluded_urls,
            agent,
            beside_sdk,
            sdk_traces: configuration.sdk_traces,
            is_instrumented,
        }
    }

    /// What is seen from outside. No `process.pid`: the workers of one server share a service, and
    /// with it a resource.
    fn detected_resource(
        &self,
        info: &ProcessInfo,
        container: Option<&str>,
    ) -> BTreeMap<String, String> {
        let attributes = [
            ("container.id", container),
            ("host.name", self.host_name.as_deref()),
            ("os.type", Some("linux")),
            (
                "process.executable.name",
                Some(naming::executable_name(info)),
            ),
            (
                "process.executable.path",
                Some(naming::executable_path(info)),
            ),
        ];
        attributes
            .into_iter()
            .filter_map(|(key, value)| {
                let value = value.filter(|value| !value.is_empty())?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect()
    }
}

/// Who made the telemetry: not an SDK in the process, whatever its environment says.
fn constant_attributes() -> [(String, String); 3] {
    [
        ("telemetry.sdk.name", "kaos-agent"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

#[cfg(test)]
#[path = "identities_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "identities_in_pods_tests.rs"]
mod in_pods_tests;
