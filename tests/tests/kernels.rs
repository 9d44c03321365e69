//! What `kaos-agent doctor` and `kaos-agent run` say of the kernel that they are on, whichever it is:
//! this machine's, or another in a virtual machine (`cargo xtask vm`).

use std::process::Command;

use kaos_agent::capture::programs::{ITERATORS, PROGRAMS, UPROBES, oldest_kernel};
use kaos_agent::capture::release;
use kaos_tests::agent::{self, Agent};
use serde_json::Value;

/// First kernel with `uprobe_multi` links.
const UPROBE_MULTI: (u32, u32) = (6, 6);

#[test]
#[ignore = "kernel: needs root"]
fn doctor_and_run_say_what_this_kernel_can_do() {
    let running = release::running();
    let version = release::parse(&running).expect("a version");
    let is_new_enough = version >= oldest_kernel();
    let output = Command::new(agent::executable())
        .args(["doctor", "--json"])
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .output()
        .expect("it starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("a list");
    let check = |name: &str| {
        let found = checks.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {report:#}"))
    };

    let verdict = if is_new_enough { "ok" } else { "fail" };
    assert_eq!(check("kernel")["verdict"], verdict, "{report:#}");
    // What this kernel has is attached, and nothing else.
    for program in PROGRAMS.iter().chain(UPROBES).chain(ITERATORS) {
        let check = check(&format!("{}:{}", program.subsystem, program.hook));
        // Probes are loaded for perf events where there is no better way.
        let is_probe = UPROBES.iter().any(|probe| probe.hook == program.hook);
        let verdict = match program.needed {
            _ if is_probe || program.since <= version => "ok",
            true => "fail",
            false => "warn",
        };
        assert_eq!(check["verdict"], verdict, "{check}");
    }
    let links = &check("probes in processes")["found"];
    let is_multi = links
        .as_str()
        .is_some_and(|found| found == "uprobe_multi links");
    assert_eq!(is_multi, version >= UPROBE_MULTI, "{links}");
    // Other checks may have warnings: what a machine's clock is, for one.
    assert_eq!(
        output.status.code() == Some(2),
        !is_new_enough,
        "{report:#}"
    );

    let own_pid = std::process::id().to_string();
    if is_new_enough {
        Agent::start(&["--pid", &own_pid]).stop();
        return;
    }
    let (major, minor) = oldest_kernel();
    let output = Command::new(agent::executable())
        .args(["run", "--pid", &own_pid])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "kaos-agent: cannot trace on kernel {running}: the socket tracepoints came with \
         {major}.{minor}, and nothing else is supported yet; use a kernel from {major}.{minor} on"
    );
    assert_eq!(said.trim_end(), expected);
}
