//! What `kaos-agent doctor` says of capabilities that are missing.

use std::process::Command;

use kaos_tests::agent;
use kaos_tests::workloads::{Need, lacks};
use serde_json::Value;

/// The capabilities that the agent is documented to need: as `setpriv` and as `doctor` call them, and
/// how the check comes out where one is missing.
const CAPABILITIES: [(&str, &str, &str); 5] = [
    ("bpf", "CAP_BPF", "fail"),
    ("perfmon", "CAP_PERFMON", "fail"),
    ("sys_ptrace", "CAP_SYS_PTRACE", "warn"),
    ("dac_read_search", "CAP_DAC_READ_SEARCH", "warn"),
    ("checkpoint_restore", "CAP_CHECKPOINT_RESTORE", "warn"),
];

/// What it says with these capabilities only, and its exit code.
fn doctor(capabilities: &[&str]) -> (Value, Option<i32>) {
    let mut set = "-all".to_owned();
    for capability in capabilities {
        set += ",+";
        set += capability;
    }
    let output = Command::new("setpriv")
        .args([&format!("--bounding-set={set}"), "--inh-caps=-all"])
        .arg(agent::executable())
        .args(["doctor", "--json"])
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .output()
        .expect("setpriv starts");
    let report = serde_json::from_slice(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let report = report.unwrap_or_else(|error| panic!("it is no JSON ({error}); {said}"));
    (report, output.status.code())
}

fn check<'report>(report: &'report Value, name: &str) -> &'report Value {
    let checks = report["checks"].as_array().expect("a list");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {report}"))
}

#[test]
#[ignore = "kernel: needs root"]
fn each_missing_capability_is_told() {
    if lacks(&[Need::Program("setpriv")]) {
        return;
    }
    let all = CAPABILITIES.map(|(name, _, _)| name);
    let (report, code) = doctor(&all);
    for (_, name, _) in CAPABILITIES {
        assert_eq!(check(&report, name)["verdict"], "ok");
    }
    assert_ne!(code, Some(2), "these are enough: {report}");
    let places = check(&report, "places in OpenSSL")["found"].as_str();
    let places = places.expect("a text");
    let has_openssl = !places.starts_with("no libssl among");
    assert!(
        !has_openssl || places.contains("SSL_read at 0x"),
        "{places}"
    );
    assert!(!has_openssl || places.contains(" in the "), "{places}");

    for (missing, missing_name, verdict) in CAPABILITIES {
        let rest: Vec<&str> = all.into_iter().filter(|name| *name != missing).collect();
        let (report, code) = doctor(&rest);
        for (_, name, _) in CAPABILITIES {
            let expected = if name == missing_name { verdict } else { "ok" };
            assert_eq!(
                check(&report, name)["verdict"],
                expected,
                "without {missing}"
            );
        }
        let check = check(&report, missing_name);
        let found = check["found"].as_str().expect("a text");
        assert!(found.starts_with("not held: "), "{found}");
        let remedy = check["remedy"].as_str().expect("a text");
        assert!(remedy.contains(missing_name), "{remedy}");
        // What cannot work says so; what is only lost leaves the rest as it is.
        assert_eq!(
            code,
            Some(if verdict == "fail" { 2 } else { 1 }),
            "{report}"
        );
    }
}
