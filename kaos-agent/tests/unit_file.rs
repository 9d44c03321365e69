//! The files for use outside of Kubernetes (`dist/`).

#[path = "../../tests/src/skip.rs"]
mod skip;

use std::path::Path;
use std::process::Command;

use self::skip::{skip, why_not};

fn dist(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../dist")
        .join(name)
}

#[test]
fn systemd_takes_the_unit() {
    if let Some(reason) = why_not("systemd-analyze") {
        return skip(&reason);
    }
    let unit = std::fs::read_to_string(dist("kaos-agent.service")).expect("it is there");
    // The program is not installed here.
    let unit = unit.replace("/usr/bin/kaos-agent", env!("CARGO_BIN_EXE_kaos-agent"));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kaos-agent.service");
    std::fs::write(&file, unit).expect("it is written");
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output();
    let verified = verified.expect("it starts");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_agent_takes_the_configuration() {
    // A second selection makes no sense beside the one of the file, which is thereby known to be read.
    let refused = Command::new(env!("CARGO_BIN_EXE_kaos-agent"))
        .args(["run", "--all", "--config"])
        .arg(dist("kaos-agent.conf"))
        .output()
        .expect("it starts");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("--all: selects every process already"),
        "{said}"
    );
}
