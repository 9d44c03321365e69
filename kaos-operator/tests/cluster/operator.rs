//! The operator as a process, with the rights and the settings that the chart gives it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::control_plane::{ControlPlane, SYSTEM, end, free_port, start};
use super::eventually;

/// An operator that ends with it.
pub struct Operator {
    child: Child,
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
        let settings: Api<ConfigMap> = Api::namespaced(plane.client.clone(), SYSTEM);
        let settings = settings
            .get("kaos-operator-settings")
            .await
            .expect("the chart's settings");
        let port = free_port();
        let kubeconfig = plane.operator_kubeconfig(name).await;
        let child = start(
            plane.directory(),
            name,
            Command::new(env!("CARGO_BIN_EXE_kaos-operator"))
                .args(["run", "--log=info,kaos_operator=debug"])
                .arg(format!("--listen=127.0.0.1:{port}"))
                .arg(format!("--identity={name}"))
                .env_clear()
                .env("KUBECONFIG", kubeconfig)
                .envs(settings.data.unwrap_or_default())
                .envs(other.iter().copied()),
        );
        let operator = Self {
            child,
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

    /// Resident memory in MiB.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the operator runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kilobytes.expect("a size in kB") / 1024
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.is_ok_and(|status| status.success()));
        for _ in 0..200 {
            if let Ok(Some(status)) = self.child.try_wait() {
                assert!(status.success(), "{status}: {}", self.log());
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the operator does not end: {}", self.log());
    }

    /// Kills it.
    pub fn kill(&mut self) {
        end(&mut self.child);
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        end(&mut self.child);
        if std::thread::panicking() {
            eprintln!("--- log of the operator ---\n{}", self.log());
        }
    }
}
