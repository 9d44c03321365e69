//! What each argument becomes, and how it is refused.

use clap::Parser;

use super::*;
use crate::cli::arguments::{Arguments, Command};

fn parse(line: &str) -> Command {
    let arguments = std::iter::once("kaos-agent").chain(line.split_whitespace());
    Arguments::try_parse_from(arguments).unwrap().command
}

fn run(line: &str) -> Result<LiveSettings, String> {
    match parse(&format!("run {line}")) {
        Command::Run(arguments) => arguments.check().map_err(|error| error.to_string()),
        _ => unreachable!(),
    }
}

fn refused(line: &str) -> String {
    run(line).err().unwrap()
}

fn capture(line: &str) -> CaptureSettings {
    run(&format!("--all {line}")).unwrap().capture
}

fn selectors(line: &str) -> Selectors {
    match run(line).unwrap().selection {
        Selection::Matching(selectors) => selectors,
        Selection::All => unreachable!(),
    }
}

#[test]
fn selections() {
    assert!(matches!(run("--all").unwrap().selection, Selection::All));
    let own_pid = std::process::id();
    let found = selectors(&format!("--pid {own_pid} --port 80 --port 8000"));
    assert_eq!((found.pids, found.ports), (vec![own_pid], vec![80, 8000]));
    let by_name = &selectors("--exe python3*").executables[0];
    assert!(by_name.is_match("/usr/bin/python3.11") && !by_name.is_match("/opt/python3/node"));
    let by_path = &selectors("--exe /opt/**").executables[0];
    assert!(by_path.is_match("/opt/a/b") && !by_path.is_match("/usr/opt/a"));
}

#[test]
fn impossible_selections() {
    assert_eq!(
        refused(""),
        "no process is selected: there is no default; give --pid N, --exe GLOB, --port N or \
         --cgroup PATH (each may be repeated), --kubernetes or --all"
    );
    assert_eq!(
        refused("--all --port 80"),
        "--all: selects every process already; leave out --all, or --pid, --exe, --port, --cgroup and \
         --kubernetes"
    );
    assert!(refused("--pid 4194305").starts_with("--pid 4194305: there is no such process; "));
    assert!(refused("--exe [").starts_with("--exe [: unclosed character class; "));
    assert!(refused("--cgroup /tmp").starts_with("--cgroup /tmp: this is no cgroup; "));
}

#[test]
fn capture_settings() {
    assert_eq!(capture(""), CaptureSettings::default());
    assert_eq!(capture("--ring-bytes 1MiB").ring_bytes, 1 << 20);
    assert_eq!(capture("--head-bytes 1MiB --tail-bytes 0").tail_bytes, 0);
    assert_eq!(
        capture("--poll-interval 5ms").poll_interval,
        Duration::from_millis(5)
    );
    assert_eq!(capture("--max-connections 9").max_connections, 9);
    assert!(!capture("--no-contexts").contexts);
}

#[test]
fn impossible_capture_settings() {
    let refused = |line: &str| refused(&format!("--all {line}"));
    assert_eq!(
        refused("--ring-bytes 3MiB"),
        "--ring-bytes 3MiB: it is not a power of two; give 2MiB or 4MiB"
    );
    assert_eq!(
        refused("--ring-bytes 8GiB"),
        "--ring-bytes 8GiB: it is too large; give at most 1GiB"
    );
    assert!(refused("--ring-bytes 1").starts_with("--ring-bytes 1: it is smaller than a page; "));
    assert_eq!(
        refused("--head-bytes 2MiB"),
        "--head-bytes 2MiB: it is too large; give at most 1MiB"
    );
    assert!(refused("--poll-interval 0ms").starts_with("--poll-interval: "));
}

#[test]
fn outputs() {
    let LiveTarget::Spans(output) =
        run("--all --output tree --otlp-endpoint http://[::1]:4317 --otlp-protocol http/json")
            .unwrap()
            .target
    else {
        unreachable!()
    };
    assert_eq!(
        (output.output, output.http_spans),
        (Output::Tree, HttpSpans::All)
    );
    assert_eq!(output.otlp_protocol, Some(Protocol::HttpJson));
    for endpoint in [
        "localhost:4317",
        "ftp://host",
        "http://",
        "http://:4317",
        "nonsense",
    ] {
        let error = refused(&format!("--all --otlp-endpoint {endpoint}"));
        assert!(
            error.starts_with("--otlp-endpoint: it is no URL; "),
            "{endpoint}"
        );
    }
}

#[test]
fn statistics() {
    assert_eq!(run("--all").unwrap().stats, None);
    assert_eq!(run("--all --stats").unwrap().stats, Some(StatsFormat::Text));
    assert_eq!(
        run("--stats=json --all").unwrap().stats,
        Some(StatsFormat::Json)
    );
}

#[test]
fn recordings() {
    let contents = |line: &str| match parse(&format!("record -o f --all {line}")) {
        Command::Record(arguments) => match arguments.check().unwrap().target {
            LiveTarget::Recording(recording) => recording.contents,
            LiveTarget::Spans(_) => unreachable!(),
        },
        _ => unreachable!(),
    };
    assert_eq!(contents(""), RecordedContents::Redactable);
    assert_eq!(contents("--no-bodies"), RecordedContents::HeadsOnly);
    assert_eq!(
        contents("--keep-compressed"),
        RecordedContents::WithCompressed
    );
}
