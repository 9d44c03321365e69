//! The operator as a process, with the rights and the settings that the chart gives it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::control_plane::{ControlPlane, PATIENCE, SYSTEM};
use super::eventually;
use super::machine::{Running, free_port};

/// How long it may take to answer to one request; whoever waits for something asks again.
const ANSWER: Duration = Duration::from_secs(10);

/// An operator that ends with it.
pub struct Operator {
    process: Running,
    port: u16,
    log: PathBuf,
}

impl Operator {
    /// Starts a replica and waits until its caches are filled.
    pub async fn start(plane: &ControlPlane, name: &str) -> Self {
        Self::start_with(plane, name, &[]).await
    }

    /// The same with some settings other than the chart's.
    pub async fn start_with(plane: &ControlPlane, name: &str, other: &[(&str, &str)]) -> Self {
        Self::launch(plane, name, other, &[]).await
    }

    /// The same with further arguments.
    pub async fn launch(
        plane: &ControlPlane,
        name: &str,
        other: &[(&str, &str)],
        arguments: &[String],
    ) -> Self {
        let settings: Api<ConfigMap> = Api::namespaced(plane.client.clone(), SYSTEM);
        let settings = settings
            .get("kaos-operator-settings")
            .await
            .expect("the chart's settings");
        let port = free_port();
        let kubeconfig = plane.operator_kubeconfig(name).await;
        let process = Running::start(
            plane.directory(),
            name,
            Command::new(program())
                .args(["run", "--log=info,kaos_operator=debug"])
                .args(arguments)
                .arg(format!("--listen=127.0.0.1:{port}"))
                .arg(format!("--identity={name}"))
                .env_clear()
                .env("KUBECONFIG", kubeconfig)
                .envs(settings.data.unwrap_or_default())
                .envs(other.iter().copied()),
        );
        let operator = Self {
            process,
            port,
            log: plane.directory().join(format!("{name}.log")),
        };
        eventually("the operator is ready", || async {
            operator
                .get("/readyz")
                .is_some_and(|answer| answer.contains("200 OK"))
        })
        .await;
        operator
    }

    /// Answer to an HTTP request, with its head.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        let metrics = self.get("/metrics").unwrap_or_default();
        metrics.contains("\nkaos_operator_leader 1\n")
    }

    /// Waits until nothing waits to be reconciled and nothing is being reconciled, and returns how
    /// often each component has been.
    pub async fn idle(&self) -> BTreeMap<String, u64> {
        let started = Instant::now();
        loop {
            let metrics = self.get("/metrics").unwrap_or_default();
            if metrics.contains("\nkaos_operator_queue_depth 0\n")
                && metrics.contains("\nkaos_operator_running_reconciles 0\n")
            {
                return reconciles(&metrics);
            }
            assert!(started.elapsed() < PATIENCE, "it is never idle: {metrics}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the operator runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kilobytes.expect("a size in kB") / 1024
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(&mut self) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.is_ok_and(|status| status.success()));
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.ended() {
                assert!(status.success(), "{status}: {}", self.log());
                return;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.end();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the operator ---\n{}", self.log());
        }
    }
}

/// The operator: the one that was built with the tests, or, to be measured, the one that
/// `KAOS_OPERATOR` names.
fn program() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_kaos-operator").into();
    std::env::var_os("KAOS_OPERATOR").map_or_else(built, PathBuf::from)
}

/// Reconciles by component, whatever came of them, from the text of `/metrics`.
fn reconciles(metrics: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("kaos_operator_reconciles_total{component=\"") else {
            continue;
        };
        let component = rest.split('"').next().unwrap_or_default();
        let count = rest.rsplit(' ').next().and_then(|count| count.parse().ok());
        *counts.entry(component.to_owned()).or_default() += count.unwrap_or(0_u64);
    }
    counts
}
