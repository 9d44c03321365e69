use super::*;
use crate::capture::event::CertificateFile;
use crate::identity::variables::Warning;

fn parsed(values: &[(&str, &str)]) -> (Option<Destination>, Vec<Warning>) {
    parsed_within(&Surroundings::default(), values)
}

fn parsed_within(
    around: &Surroundings,
    values: &[(&str, &str)],
) -> (Option<Destination>, Vec<Warning>) {
    let mut values: Vec<_> = values
        .iter()
        .map(|(name, value)| (format!("OTEL_EXPORTER_OTLP_{name}"), (*value).to_owned()))
        .collect();
    values.sort();
    let mut warnings = Vec::new();
    let mut variables = Variables::new(None, &values, &mut warnings);
    let destination = destination(&mut variables, SignalKind::Traces, around);
    (destination, warnings)
}

#[track_caller]
fn good(values: &[(&str, &str)]) -> Destination {
    let (destination, warnings) = parsed(values);
    assert_eq!(warnings, []);
    destination.expect("a destination")
}

#[test]
fn endpoints() {
    use Protocol::{Grpc, HttpJson, HttpProtobuf};
    for (values, endpoint, protocol) in [
        (
            &[("ENDPOINT", "http://c:4318")] as &[_],
            "http://c:4318/v1/traces",
            HttpProtobuf,
        ),
        (
            &[("ENDPOINT", "http://c:4318/")],
            "http://c:4318/v1/traces",
            HttpProtobuf,
        ),
        (
            &[("ENDPOINT", "https://c/otlp/")],
            "https://c/otlp/v1/traces",
            HttpProtobuf,
        ),
        (
            &[("ENDPOINT", "https://c/otlp?x=1")],
            "https://c/otlp/v1/traces?x=1",
            HttpProtobuf,
        ),
        (
            &[("TRACES_ENDPOINT", "http://c:4318/in")],
            "http://c:4318/in",
            HttpProtobuf,
        ),
        (
            &[("TRACES_ENDPOINT", "http://c:4318")],
            "http://c:4318/",
            HttpProtobuf,
        ),
        (
            &[
                ("TRACES_ENDPOINT", "http://t:1/x"),
                ("ENDPOINT", "http://c:2"),
            ],
            "http://t:1/x",
            HttpProtobuf,
        ),
        (
            &[("TRACES_ENDPOINT", ""), ("ENDPOINT", "http://c:2")],
            "http://c:2/v1/traces",
            HttpProtobuf,
        ),
        (&[("ENDPOINT", "http://c:4317")], "http://c:4317", Grpc),
        (
            &[("ENDPOINT", "http://[::1]:4317/ignored")],
            "http://[::1]:4317",
            Grpc,
        ),
        (
            &[("ENDPOINT", "http://c:4317"), ("PROTOCOL", "http/protobuf")],
            "http://c:4317/v1/traces",
            HttpProtobuf,
        ),
        (
            &[("ENDPOINT", "http://c:9"), ("PROTOCOL", "grpc")],
            "http://c:9",
            Grpc,
        ),
        (
            &[("ENDPOINT", "http://c:9"), ("PROTOCOL", "HTTP/JSON")],
            "http://c:9/v1/traces",
            HttpJson,
        ),
        (
            &[
                ("ENDPOINT", "http://c:9"),
                ("PROTOCOL", "grpc"),
                ("TRACES_PROTOCOL", "http/json"),
            ],
            "http://c:9/v1/traces",
            HttpJson,
        ),
        (&[("ENDPOINT", "c:4317")], "https://c:4317", Grpc),
        (
            &[("ENDPOINT", "c:4317"), ("INSECURE", "true")],
            "http://c:4317",
            Grpc,
        ),
        (
            &[
                ("ENDPOINT", "c:4317"),
                ("INSECURE", "true"),
                ("TRACES_INSECURE", "false"),
            ],
            "https://c:4317",
            Grpc,
        ),
        (
            &[("ENDPOINT", "https://c:4317"), ("INSECURE", "true")],
            "https://c:4317",
            Grpc,
        ),
        (
            &[("ENDPOINT", "http://c:4317"), ("INSECURE", "false")],
            "http://c:4317",
            Grpc,
        ),
    ] {
        let found = good(values);
        assert_eq!(
            (found.endpoint.as_str(), found.protocol),
            (endpoint, protocol),
            "{values:?}"
        );
    }
}

#[test]
fn hosts_are_those_that_a_pod_means() {
    let pod = Surroundings {
        addresses: Some(vec!["10.244.0.7".parse().expect("an address")]),
        search_domain: Some("team.svc.cluster.local".to_owned()),
        ..Surroundings::default()
    };
    for (endpoint, resolved, named) in [
        (
            "http://collector:4317",
            "http://collector.team.svc.cluster.local:4317",
            Some("collector"),
        ),
        (
            "https://collector/in?x=1",
            "https://collector.team.svc.cluster.local/in/v1/traces?x=1",
            Some("collector"),
        ),
        (
            "http://[::1]:4318",
            "http://10.244.0.7:4318/v1/traces",
            Some("[::1]"),
        ),
        (
            "http://collector.other:4317",
            "http://collector.other:4317",
            None,
        ),
    ] {
        let (found, warnings) = parsed_within(&pod, &[("ENDPOINT", endpoint)]);
        let found = found.expect("a destination");
        assert_eq!(
            (found.endpoint.as_str(), found.named.as_deref()),
            (resolved, named),
            "{endpoint}"
        );
        assert_eq!(warnings, []);
    }
    let nowhere = Surroundings {
        addresses: Some(Vec::new()),
        ..pod
    };
    let values = [("ENDPOINT", "http://localhost:4317")];
    let (found, warnings) = parsed_within(&nowhere, &values);
    assert_eq!((found, warnings.len()), (None, 1));
    assert!(warnings[0].to_string().contains("by a Service"));
}

#[test]
fn no_endpoint_no_destination() {
    assert_eq!(parsed(&[]), (None, vec![]));
    assert_eq!(
        parsed(&[("PROTOCOL", "grpc"), ("HEADERS", "a=b")]),
        (None, vec![])
    );
    assert_eq!(
        parsed(&[("METRICS_ENDPOINT", "http://c:1")]),
        (None, vec![])
    );
}

#[test]
fn bad_endpoints_are_warned_about() {
    for bad in [
        "c:4318",
        "ftp://c",
        "http://",
        "/v1",
        "http://c:99999",
        "http://:4317",
        "::",
        "http://u:p@c:4317",
    ] {
        let (destination, warnings) = parsed(&[("ENDPOINT", bad)]);
        assert_eq!((destination, warnings.len()), (None, 1), "{bad}");
        assert!(!warnings[0].to_string().contains("u:p"));
    }
}

#[test]
fn the_other_settings() {
    let plain = good(&[("ENDPOINT", "http://c:4317")]);
    assert_eq!(plain.timeout, Duration::from_secs(10));
    assert_eq!((plain.compression, plain.certificate), (None, None));
    assert!(plain.headers.is_empty());

    let full = good(&[
        ("ENDPOINT", "http://c:4317"),
        ("TIMEOUT", "2500"),
        ("COMPRESSION", "gzip"),
        ("CERTIFICATE", "/etc/ca.pem"),
        ("HEADERS", "Authorization=Basic%20eDp5,x-team=a=b"),
    ]);
    assert_eq!(full.timeout, Duration::from_millis(2500));
    assert_eq!(full.compression, Some(Compression::Gzip));
    // Nobody has read it.
    let unread = Some(Err("the process that names it could not be read".to_owned()));
    assert_eq!(full.certificate, unread);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        full.headers,
        [pair("authorization", "Basic eDp5"), pair("x-team", "a=b")]
    );

    let specific = good(&[
        ("ENDPOINT", "http://c:4317"),
        ("TIMEOUT", "2500"),
        ("TRACES_TIMEOUT", "100"),
        ("COMPRESSION", "zstd"),
        ("TRACES_COMPRESSION", "none"),
        ("HEADERS", "a=general"),
        ("TRACES_HEADERS", "b=specific"),
    ]);
    assert_eq!(specific.timeout, Duration::from_millis(100));
    assert_eq!(specific.compression, None);
    assert_eq!(specific.headers, [pair("b", "specific")]);
}

#[test]
fn certificates_are_what_was_in_their_files() {
    let file = |path: &str, pem| CertificateFile {
        path: path.to_owned(),
        pem,
    };
    let around = Surroundings {
        certificates: vec![
            file("/a.pem", Ok(Bytes::from_static(b"A"))),
            file("/b.pem", Err("gone".to_owned())),
        ],
        ..Surroundings::default()
    };
    let certificate = |path: &str| {
        let values = [("ENDPOINT", "https://c:4317"), ("CERTIFICATE", path)];
        let (destination, _) = parsed_within(&around, &values);
        destination.expect("a destination").certificate
    };
    assert_eq!(certificate("/a.pem"), Some(Ok(Bytes::from_static(b"A"))));
    assert_eq!(certificate("/b.pem"), Some(Err("gone".to_owned())));
    assert_eq!(certificate(""), None);
}

#[test]
fn bad_settings_leave_the_rest() {
    let (destination, warnings) = parsed(&[
        ("ENDPOINT", "http://c:4318"),
        ("PROTOCOL", "thrift"),
        ("TIMEOUT", "soon"),
        ("COMPRESSION", "snappy"),
        ("INSECURE", "perhaps"),
        ("HEADERS", "good=1,bad,x y=2,nl=a%0Ab"),
    ]);
    let destination = destination.expect("still a destination");
    assert_eq!(destination.protocol, Protocol::HttpProtobuf);
    assert_eq!(destination.headers, [("good".to_owned(), "1".to_owned())]);
    assert_eq!(warnings.len(), 5);
}
