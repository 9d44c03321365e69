//! What a person sees who gives the agent something that it cannot use: one line that says what to
//! do, and the exit code that `--help` documents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn kaos_agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kaos-agent"))
        .args(arguments)
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env_remove("LOG_LEVEL")
        .output()
        .expect("the agent's executable was built for this test")
}

/// Exit code and standard error.
fn ends(arguments: &[&str]) -> (i32, String) {
    let output = kaos_agent(arguments);
    assert!(output.stdout.is_empty(), "standard output is for results");
    let code = output.status.code().expect("it ended by itself");
    (
        code,
        String::from_utf8(output.stderr).expect("messages are UTF-8"),
    )
}

#[track_caller]
fn assert_refused(arguments: &[&str], code: i32, line: &str) {
    let (found_code, error) = ends(arguments);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with(line), "{error}");
    assert_eq!(found_code, code, "{error}");
}

#[test]
fn usage_errors() {
    assert_refused(&[], 2, "kaos-agent: no command is given: ");
    assert_refused(&["run"], 2, "kaos-agent: no process is selected: ");
    assert_refused(
        &["run", "--nonsense"],
        2,
        "kaos-agent: unexpected argument '--nonsense' found",
    );
    assert_refused(&["run", "--all", "--port", "80"], 2, "kaos-agent: --all: ");
    assert_refused(
        &["run", "--pid", "4194305"],
        2,
        "kaos-agent: --pid 4194305: there is no such process; ",
    );
    assert_refused(
        &["run", "--all", "--ring-bytes", "5MiB"],
        2,
        "kaos-agent: --ring-bytes 5MiB: it is not a power of two; give 4MiB or 8MiB",
    );
    assert_refused(
        &["run", "--all", "--ring-bytes", "64GiB"],
        2,
        "kaos-agent: --ring-bytes 64GiB: it is too large; ",
    );
    assert_refused(
        &["run", "--all", "--otlp-endpoint", "nowhere"],
        2,
        "kaos-agent: --otlp-endpoint: it is no URL; ",
    );
    assert_refused(
        &["record", "--all"],
        2,
        "kaos-agent: the following required arguments were not provided: --output <FILE>; ",
    );
    assert_refused(
        &["explain", "--pid", "4194305"],
        2,
        "kaos-agent: --pid 4194305: there is no such process; ",
    );
    assert_refused(
        &["replay"],
        2,
        "kaos-agent: the following required arguments were not provided: <FILE>; ",
    );
}

#[test]
fn help_and_version() {
    for arguments in [
        ["run", "--help"],
        ["--help", ""],
        ["--version", ""],
        ["version", ""],
    ] {
        let given: Vec<_> = arguments
            .into_iter()
            .filter(|argument| !argument.is_empty())
            .collect();
        let output = kaos_agent(&given);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty());
    }
    let help = String::from_utf8(kaos_agent(&["run", "--help"]).stdout).expect("help is UTF-8");
    assert!(help.contains("3  this machine cannot be observed"));
}

#[test]
fn doctor_reports_in_text_and_json() {
    let text = kaos_agent(&["doctor"]);
    let json = kaos_agent(&["doctor", "--json"]);
    assert_eq!(text.status.code(), json.status.code());
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    let verdict = report["verdict"].as_str().expect("a report has a verdict");
    let worst = ["ok", "warn", "fail"]
        .iter()
        .position(|known| *known == verdict);
    assert_eq!(
        text.status.code(),
        worst.and_then(|code| i32::try_from(code).ok())
    );
    for check in report["checks"].as_array().expect("a report has checks") {
        assert_eq!(
            check["verdict"] != "ok",
            check["remedy"].is_string(),
            "{check}"
        );
    }
}

/// One of the recordings of the golden replays.
fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/agent.kaosrec")
}

#[test]
fn replays_are_the_same_each_time() {
    let recording = recording();
    let path = recording
        .to_str()
        .expect("the path of the sources is UTF-8");
    let replay = || kaos_agent(&["replay", path, "--output", "json"]);
    let (first, second) = (replay(), replay());
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    assert!(!first.stdout.is_empty());
    assert_eq!(first.stdout, second.stdout);
}

#[test]
fn broken_recordings() {
    let whole = std::fs::read(recording()).expect("the recording is part of the sources");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut other_version = whole.clone();
    other_version[8] ^= 1;
    let cases = [
        (
            None,
            "reading failed: No such file or directory (os error 2); check ",
        ),
        (Some(b"nonsense".to_vec()), "not a recording; "),
        (Some(whole[..12].to_vec()), "the header is damaged; "),
        (Some(other_version), "the header is damaged; "),
        (
            Some(whole[..whole.len() - 20].to_vec()),
            "the file ends after record ",
        ),
        (Some(flipped), "damaged at record "),
    ];
    let directory = tempfile::tempdir().expect("a directory for files can be made");
    for (number, (contents, message)) in cases.into_iter().enumerate() {
        let path = directory.path().join(format!("{number}.kaosrec"));
        if let Some(contents) = contents {
            std::fs::write(&path, contents).expect("the file can be written");
        }
        let path = path.to_str().expect("temporary paths are UTF-8");
        assert_refused(
            &["replay", path],
            1,
            &format!("kaos-agent: replay {path}: {message}"),
        );
    }
}

#[test]
fn what_is_before_a_damage_is_told() {
    let mut recording = std::fs::read(recording()).expect("the recording is part of the sources");
    recording.truncate(recording.len() - 20);
    let directory = tempfile::tempdir().expect("a directory for files can be made");
    let path = directory.path().join("truncated.kaosrec");
    std::fs::write(&path, recording).expect("the file can be written");
    let path = path.to_str().expect("temporary paths are UTF-8");
    let output = kaos_agent(&["replay", path, "--output", "tree"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("trace "));
}

#[test]
fn a_recording_is_never_overwritten() {
    let recording = recording();
    let path = recording
        .to_str()
        .expect("the path of the sources is UTF-8");
    let (code, error) = ends(&["record", "--all", "-o", path]);
    assert!(matches!(code, 1 | 3), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
