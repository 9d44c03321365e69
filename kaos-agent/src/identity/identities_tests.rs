use super::*;
use crate::capture::event::Instrumentation;
use crate::settings::Output;

const SECOND: Nanos = 1_000_000_000;

fn options() -> OutputSettings {
    OutputSettings {
        output: Output::Otlp,
        http_spans: HttpSpans::All,
        otlp_endpoint: None,
        otlp_protocol: None,
        beside_sdk: BesideSdkSettings::default(),
    }
}

fn owned(values: &[(&str, &str)]) -> Vec<(String, String)> {
    super::super::environment::readable(
        values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

fn defaults(options: &OutputSettings, environment: &[(&str, &str)]) -> AgentDefaults {
    let mut warnings = Vec::new();
    AgentDefaults::new(options, &owned(environment), &[], None, &mut warnings)
        .expect("good options")
}

fn described(executable: &str, environment: &[(&str, &str)]) -> ProcessChange {
    ProcessChange::Described(Box::new(ProcessInfo {
        executable: executable.to_owned(),
        environment: owned(environment),
        ..ProcessInfo::default()
    }))
}

struct Machine(Identities);

impl Machine {
    fn new() -> Self {
        Self(Identities::new(AgentDefaults::default()))
    }

    fn push(&mut self, at: Nanos, pid: Pid, change: ProcessChange) -> Vec<Warning> {
        let mut warnings = Vec::new();
        self.0
            .push(&ProcessEvent { at, pid, change }, &mut warnings);
        warnings
    }

    fn name(&self, pid: Pid) -> Option<String> {
        self.0.service(pid).map(|service| service.name.clone())
    }
}

fn service(defaults: AgentDefaults, environment: &[(&str, &str)]) -> Arc<Service> {
    let mut machine = Machine(Identities::new(defaults));
    machine.push(0, 1, described("/bin/app", environment));
    machine.0.service(1).expect("described")
}

#[test]
fn children_inherit_until_they_execute() {
    let mut machine = Machine::new();
    machine.push(1, 10, described("/bin/app", &[]));
    machine.push(2, 11, ProcessChange::Forked { parent: 10 });
    assert_eq!(machine.name(11).as_deref(), Some("app"));
    machine.push(3, 11, ProcessChange::Executed);
    assert_eq!(machine.name(11), None);
    machine.push(4, 11, described("/bin/other", &[]));
    assert_eq!(machine.name(11).as_deref(), Some("other"));
    assert_eq!(machine.name(10).as_deref(), Some("app"));
    machine.push(5, 12, ProcessChange::Forked { parent: 99 });
    assert_eq!(machine.name(12), None);
}

#[test]
fn one_that_was_gone_before_it_was_looked_at_is_what_its_parent_was() {
    let mut machine = Machine::new();
    machine.push(
        1,
        10,
        described("/bin/app", &[("OTEL_SERVICE_NAME", "shop")]),
    );
    machine.push(2, 11, ProcessChange::Forked { parent: 10 });
    machine.push(3, 11, described("", &[]));
    assert_eq!(machine.name(11).as_deref(), Some("shop"));
    // Its number is another's, of which nothing is known.
    machine.push(4, 11, ProcessChange::Exited);
    machine.push(5, 11, described("", &[]));
    assert_ne!(machine.name(11).as_deref(), Some("shop"));
}

#[test]
fn the_exited_are_remembered_for_a_while() {
    let mut machine = Machine::new();
    machine.push(0, 10, described("/bin/app", &[]));
    machine.push(SECOND, 10, ProcessChange::Exited);
    machine.push(SECOND + EXITED_KEPT, 11, described("/bin/app", &[]));
    assert_eq!(machine.name(10).as_deref(), Some("app"));
    // No other process needs to do anything for that.
    machine.0.tick(SECOND + EXITED_KEPT + 1);
    assert_eq!(machine.name(10), None);
}

#[test]
fn a_number_that_is_used_again_has_a_new_owner() {
    let mut machine = Machine::new();
    machine.push(0, 10, described("/bin/app", &[]));
    machine.push(SECOND, 10, ProcessChange::Exited);
    machine.push(2 * SECOND, 10, described("/bin/other", &[]));
    machine.push(10 * EXITED_KEPT, 11, ProcessChange::Executed);
    assert_eq!(machine.name(10).as_deref(), Some("other"));
}

#[test]
fn equal_services_are_one() {
    let mut machine = Machine::new();
    let environment = [
        ("OTEL_SERVICE_NAME", "a"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "/x"),
    ];
    machine.push(0, 1, described("/bin/app", &environment));
    machine.push(0, 2, described("/bin/app", &environment));
    machine.push(0, 3, described("/bin/app", &environment[..1]));
    let [first, second, third] = [1, 2, 3].map(|pid| machine.0.service(pid).expect("described"));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&first, &third));
}

#[test]
fn tables_are_bounded() {
    let mut machine = Machine::new();
    for pid in 0..u32::try_from(MAX_PROCESSES).expect("small") {
        machine.push(0, pid, described("/bin/app", &[]));
    }
    let late = 1_000_000;
    machine.push(1, late, described("/bin/app", &[]));
    assert_eq!(
        (machine.name(late), machine.0.counters().processes_refused),
        (None, 1)
    );
    // One that exited makes room at once.
    machine.push(2, 5, ProcessChange::Exited);
    machine.push(3, late, described("/bin/app", &[]));
    assert_eq!(machine.name(late).as_deref(), Some("app"));
    assert_eq!(machine.name(5), None);

    let mut machine = Machine::new();
    for pid in 0..=u32::try_from(MAX_SERVICES).expect("small") {
        machine.push(0, pid, described(&format!("/bin/app{pid}"), &[]));
    }
    let last = u32::try_from(MAX_SERVICES).expect("small");
    assert_eq!(
        (machine.name(last), machine.0.counters().services_refused),
        (None, 1)
    );
    // A service nobody has any more makes room.
    machine.push(1, 0, ProcessChange::Executed);
    machine.push(2, last, described("/bin/last", &[]));
    assert_eq!(machine.name(last).as_deref(), Some("last"));
}

#[test]
fn resources_say_what_is_seen_from_outside() {
    let id = "ab".repeat(32);
    let mut machine = Machine(Identities::new(AgentDefaults {
        host_name: Some("node-1".to_owned()),
        ..AgentDefaults::default()
    }));
    let info = ProcessInfo {
        executable: "/usr/bin/python3.11".to_owned(),
        name: "uvicorn".to_owned(),
        command: ["python3", "/venv/bin/uvicorn"].map(str::to_owned).to_vec(),
        cgroup: format!("/docker/{id}"),
        environment: owned(&[(
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.namespace=shop,host.name=mine,telemetry.sdk.name=opentelemetry",
        )]),
        ..ProcessInfo::default()
    };
    machine.push(0, 1, ProcessChange::Described(Box::new(info)));
    let resource = machine.0.service(1).expect("described").resource.clone();
    let expected = [
        ("container.id", id.as_str()),
        ("host.name", "mine"),
        ("os.type", "linux"),
        ("process.executable.name", "python3.11"),
        ("process.executable.path", "/usr/bin/python3.11"),
        ("service.name", "uvicorn"),
        ("service.namespace", "shop"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "kaos-agent"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let found: Vec<_> = resource
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn http_spans_by_option_and_environment() {
    let spans = |http_spans, environment: &[(&str, &str)]| {
        let options = OutputSettings {
            http_spans,
            ..options()
        };
        let service = service(defaults(&options, &[]), environment);
        (service.http_server_spans, service.http_client_spans)
    };
    use HttpSpans::{All, Configured};
    assert_eq!(spans(All, &[]), (true, true));
    assert_eq!(spans(Configured, &[]), (false, false));
    assert_eq!(
        spans(All, &[("OTEL_INCLUDE_HTTP_SERVER", "1")]),
        (true, false)
    );
    assert_eq!(
        spans(Configured, &[("OTEL_INCLUDE_HTTP_CLIENT", "yes")]),
        (false, true)
    );
    assert_eq!(
        spans(All, &[("OTEL_INCLUDE_HTTP_CLIENT", "no")]),
        (false, false)
    );
    assert_eq!(
        spans(All, &[("OTEL_RESOURCE_ATTRIBUTES", "kaos.resource.name=x")]),
        (false, false)
    );
    assert_eq!(
        spans(All, &[("AGENT_NAME", "x"), ("MODEL_NAME", "y")]),
        (true, true)
    );
}

#[test]
fn a_disabled_sdk_does_not_switch_the_agent_off() {
    let plain = service(AgentDefaults::default(), &[]);
    let disabled = service(AgentDefaults::default(), &[("OTEL_SDK_DISABLED", "true")]);
    assert_eq!(plain.beside_sdk, BesideSdk::Complement);
    // Everything is told, as if there were none.
    let all = Service {
        beside_sdk: BesideSdk::Always,
        ..(*plain).clone()
    };
    assert_eq!(all, *disabled);
    let not_quite = service(AgentDefaults::default(), &[("OTEL_SDK_DISABLED", "1")]);
    assert_eq!(not_quite.beside_sdk, BesideSdk::Complement);
}

#[test]
fn the_environment_says_where_an_sdk_sends_its_spans() {
    let of = |variables: &[(&str, &str)]| {
        let service = service(AgentDefaults::default(), variables);
        (service.sdk_traces, service.beside_sdk)
    };
    const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
    const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
    const OF_TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
    for (variables, expected) in [
        (&[][..], SdkTraces::Anyhow),
        (&[(EXPORTER, "otlp")], SdkTraces::Anyhow),
        (&[(EXPORTER, "console,otlp")], SdkTraces::Anyhow),
        (&[(EXPORTER, "console, otlp_proto_grpc")], SdkTraces::Anyhow),
        (&[(EXPORTER, "console")], SdkTraces::NotOverGrpc),
        (&[(EXPORTER, "otlp_proto_http")], SdkTraces::NotOverGrpc),
        (&[(PROTOCOL, "http/protobuf")], SdkTraces::NotOverGrpc),
        (&[(PROTOCOL, "grpc")], SdkTraces::Anyhow),
        (
            &[(PROTOCOL, "grpc"), (OF_TRACES, "http/json")],
            SdkTraces::NotOverGrpc,
        ),
        (
            &[(PROTOCOL, "http/protobuf"), (OF_TRACES, "grpc")],
            SdkTraces::Anyhow,
        ),
    ] {
        assert_eq!(
            of(variables),
            (expected, BesideSdk::Complement),
            "{variables:?}"
        );
    }
    // What an SDK does not export is told here.
    let nowhere = (SdkTraces::Nowhere, BesideSdk::Always);
    assert_eq!(of(&[(EXPORTER, "none")]), nowhere);
}

#[test]
fn automatic_instrumentation_counts_where_its_spans_go_to_a_collector() {
    let is_instrumented = |variables: &[(&str, &str)]| {
        let info = ProcessInfo {
            executable: "/usr/bin/python3".to_owned(),
            environment: owned(variables),
            instrumentation: Some(Instrumentation::Python),
            ..ProcessInfo::default()
        };
        let mut machine = Machine::new();
        machine.push(0, 1, ProcessChange::Described(Box::new(info)));
        machine.push(1, 2, ProcessChange::Forked { parent: 1 });
        let service = machine.0.service(2).expect("described");
        service.is_instrumented && service.beside_sdk != BesideSdk::Always
    };
    assert!(is_instrumented(&[]));
    assert!(is_instrumented(&[(
        "OTEL_TRACES_EXPORTER",
        "console, otlp_proto_http"
    )]));
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_SDK_DISABLED", "true"),
    ] {
        assert!(!is_instrumented(&[(name, value)]), "{name}={value}");
    }
    assert!(!service(AgentDefaults::default(), &[]).is_instrumented);
}

#[test]
fn what_is_told_beside_an_sdk_is_set_for_each_service() {
    let options = OutputSettings {
        beside_sdk: BesideSdkSettings {
            of_others: BesideSdk::Never,
            by_service: vec![("shop".to_owned(), BesideSdk::Always)],
        },
        ..options()
    };
    let of = |name| service(defaults(&options, &[]), &[("OTEL_SERVICE_NAME", name)]).beside_sdk;
    assert_eq!(of("shop"), BesideSdk::Always);
    assert_eq!(of("other"), BesideSdk::Never);
}

#[test]
fn options_beat_the_agents_environment() {
    let options = OutputSettings {
        otlp_endpoint: Some("http://option:4318".to_owned()),
        ..options()
    };
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://environment:4317"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://environment:4317",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=mine"),
    ];
    let destination = |options, environment| {
        service(defaults(options, environment), &[])
            .traces
            .clone()
            .expect("an endpoint")
    };
    let found = destination(&options, &environment);
    assert_eq!(found.endpoint, "http://option:4318/v1/traces");
    assert_eq!(
        found.headers,
        [("authorization".to_owned(), "mine".to_owned())]
    );
    let json = OutputSettings {
        otlp_protocol: Some(Protocol::HttpJson),
        ..super::tests::options()
    };
    let found = destination(&json, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://e:4317")]);
    assert_eq!(found.protocol, Protocol::HttpJson);
}

#[test]
fn a_bad_endpoint_option_is_an_error() {
    for bad in ["", "nonsense", "ftp://x"] {
        let options = OutputSettings {
            otlp_endpoint: Some(bad.to_owned()),
            ..options()
        };
        let result = AgentDefaults::new(&options, &[], &[], None, &mut Vec::new());
        assert!(result.is_err(), "{bad}");
    }
}

#[test]
fn processes_with_the_same_certificates_share_them_and_their_service() {
    let described = |pem: &str| {
        ProcessChange::Described(Box::new(ProcessInfo {
            environment: owned(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/ca.pem"),
            ]),
            surroundings: Surroundings {
                certificates: vec![CertificateFile {
                    path: "/etc/ca.pem".to_owned(),
                    pem: Ok(pem.to_owned().into()),
                }],
                ..Surroundings::default()
            },
            ..ProcessInfo::default()
        }))
    };
    let mut machine = Machine::new();
    for (pid, pem) in [(1, "A"), (2, "A"), (3, "B")] {
        machine.push(0, pid, described(pem));
    }
    let [first, second, third] = [1, 2, 3].map(|pid| machine.0.service(pid).expect("described"));
    assert!(Arc::ptr_eq(&first, &second));
    let certificate = |service: &Service| {
        let traces = service.traces.as_ref().expect("an endpoint");
        let pem = traces.certificate.clone().expect("one is named");
        pem.expect("it was read")
    };
    assert_eq!(certificate(&first), "A");
    assert_eq!(certificate(&third), "B");
}

#[test]
fn warnings_name_the_process() {
    let warnings = Machine::new().push(
        0,
        9,
        described("/bin/app", &[("OTEL_BSP_SCHEDULE_DELAY", "x")]),
    );
    assert_eq!(
        warnings[0].to_string(),
        "OTEL_BSP_SCHEDULE_DELAY is ignored: not a whole number from 1 to 3600000 \
         (environment of process 9)"
    );
}

#[test]
fn a_program_that_is_gone_before_it_is_looked_at_is_in_the_pod_of_the_one_before() {
    const CGROUP: &str = "/kubepods/burstable/pod6a7f6a6b-3f3f-4b0a-9d43-0a7b4c2d1e0f/\
                          8b1f0c2d3e4f5a6b7c8d9e0f8b1f0c2d3e4f5a6b7c8d9e0f8b1f0c2d3e4f5a6b";
    let in_cgroup = |name: &str, cgroup: &str| {
        ProcessChange::Described(Box::new(ProcessInfo {
            environment: owned(&[("OTEL_SERVICE_NAME", name)]),
            cgroup: cgroup.to_owned(),
            ..ProcessInfo::default()
        }))
    };
    let mut machine = Machine::new();
    machine.push(0, 1, in_cgroup("shell", CGROUP));
    machine.push(1, 1, ProcessChange::Executed);
    assert_eq!(machine.name(1), None, "nothing is known of it yet");
    machine.push(1, 1, in_cgroup("curl", ""));
    assert_eq!(machine.name(1).as_deref(), Some("curl"));
    let service = machine.0.service(1).expect("described");
    assert_eq!(
        service.resource.get("container.id").map(String::as_str),
        container_id(CGROUP)
    );
    assert!(container_id(CGROUP).is_some());
}
