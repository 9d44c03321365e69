//! A kube-apiserver and an etcd of one's own, with the chart installed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::oneshot::pinned_kind;
use kube::{Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::eventually;

/// Namespace of the operator.
pub const SYSTEM: &str = "kaos-system";
const ADMIN_TOKEN: &str = "admin-of-the-tests";
/// Writes of the operator alone, and no bodies.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:kaos-system"]
  verbs: [create, update, patch, delete]
- level: None
"#;

/// A control plane that ends with it.
pub struct ControlPlane {
    directory: TempDir,
    etcd: Child,
    api_server: Child,
    controller_manager: Option<Child>,
    etcd_port: u16,
    port: u16,
    /// As administrator.
    pub client: Client,
}

/// A write of the operator, as the API server's audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `patch`, `create`, `delete`.
    pub verb: String,
    /// Plural, with the subresource after a slash.
    pub resource: String,
    /// `namespace/name`.
    pub name: String,
    /// Status code of the answer.
    pub code: u64,
}

impl ControlPlane {
    /// Starts it and installs the chart with these values (`--set`).
    pub async fn start(values: &[&str]) -> Self {
        let directory = TempDir::new().expect("a directory for the control plane");
        let path = directory.path();
        let key = rcgen::KeyPair::generate().expect("a key for service accounts");
        write(path, "sa.key", &key.serialize_pem());
        write(path, "sa.pub", &key.public_key_pem());
        write(
            path,
            "tokens.csv",
            &format!("{ADMIN_TOKEN},admin,admin,system:masters\n"),
        );
        write(path, "audit.yaml", AUDIT_POLICY);
        let (etcd_port, port) = (free_port(), free_port());
        let etcd = start(
            path,
            "etcd",
            Command::new(tool("etcd-3.6.8/etcd")).args([
                format!("--data-dir={}", path.join("etcd").display()),
                format!("--listen-client-urls=http://127.0.0.1:{etcd_port}"),
                format!("--advertise-client-urls=http://127.0.0.1:{etcd_port}"),
                "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
                "--unsafe-no-fsync".to_owned(),
            ]),
        );
        let api_server = start_api_server(path, etcd_port, port);
        let client = wait_until_ready(path, port).await;
        let mut plane = Self {
            directory,
            etcd,
            api_server,
            controller_manager: None,
            etcd_port,
            port,
            client,
        };
        plane.install(values).await;
        plane
    }

    /// Adds the garbage collector, as the part of kube-controller-manager that deletes what a
    /// deleted resource owned.
    pub fn start_garbage_collector(&mut self) {
        let path = self.directory.path();
        let kubeconfig = kubeconfig(path, self.port, ADMIN_TOKEN);
        let file = write(path, "admin.json", &kubeconfig);
        let program = tool("kubernetes-1.36.3/kube-controller-manager");
        self.controller_manager = Some(start(
            path,
            "controller-manager",
            Command::new(program).args([
                format!("--kubeconfig={}", file.display()),
                "--controllers=garbage-collector-controller".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ]),
        ));
    }

    /// Kills the API server.
    pub fn stop_api_server(&mut self) {
        end(&mut self.api_server);
    }

    /// Starts it again on the same port, with the same data.
    pub async fn start_api_server(&mut self) {
        self.api_server = start_api_server(self.directory.path(), self.etcd_port, self.port);
        self.client = wait_until_ready(self.directory.path(), self.port).await;
    }

    async fn install(&mut self, values: &[&str]) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
        self.apply(&namespace).await;
        let text = helm_template(values).expect("valid values");
        for document in documents(&text) {
            self.apply(&document).await;
        }
        let client = self.client.clone();
        eventually("the definitions are served", || {
            let api = Api::<kaos_operator::api::Agent>::all(client.clone());
            async move { api.list(&Default::default()).await.is_ok() }
        })
        .await;
    }

    /// Applies an object as the administrator.
    pub async fn apply(&self, object: &Value) -> DynamicObject {
        self.try_apply(object)
            .await
            .unwrap_or_else(|error| panic!("{error}: {object}"))
    }

    /// Applies an object as the administrator; the API server may refuse it.
    pub async fn try_apply(&self, object: &Value) -> Result<DynamicObject, kube::Error> {
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let types = object.types.clone().expect("a type");
        let kind = GroupVersionKind::try_from(&types).expect("a kind");
        let (resource, capabilities) = pinned_kind(&self.client, &kind).await?;
        let api: Api<DynamicObject> = match capabilities.scope {
            kube::discovery::Scope::Namespaced => {
                let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
                Api::namespaced_with(self.client.clone(), &namespace, &resource)
            }
            kube::discovery::Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        };
        let params = PatchParams::apply("tests").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object))
            .await
    }

    /// Applies a stream of YAML documents.
    pub async fn apply_yaml(&self, yaml: &str) {
        for document in documents(yaml) {
            self.apply(&document).await;
        }
    }

    /// A kubeconfig with the token of the operator's own service account.
    pub async fn operator_kubeconfig(&self, name: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), SYSTEM);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request("kaos-operator", &PostParams::default(), &request)
            .await
            .expect("a token of the operator's service account");
        let token = answer
            .status
            .and_then(|status| status.token)
            .expect("a token");
        let path = self.directory.path();
        write(
            path,
            &format!("{name}.json"),
            &kubeconfig(path, self.port, &token),
        )
    }

    /// Where processes of the test may write.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes of the operator up to now, without those of its lease.
    pub fn writes(&self) -> Vec<Write> {
        let log = fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|entry| {
                let text = |pointer: &str| {
                    let value = entry.pointer(pointer).and_then(Value::as_str);
                    value.unwrap_or_default().to_owned()
                };
                let resource = match text("/objectRef/subresource").as_str() {
                    "" => text("/objectRef/resource"),
                    part => format!("{}/{part}", text("/objectRef/resource")),
                };
                Write {
                    verb: text("/verb"),
                    resource,
                    name: format!(
                        "{}/{}",
                        text("/objectRef/namespace"),
                        text("/objectRef/name")
                    ),
                    code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
                }
            })
            .filter(|write| write.resource != "leases")
            .collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(child) = &mut self.controller_manager {
            end(child);
        }
        end(&mut self.api_server);
        end(&mut self.etcd);
    }
}

fn start_api_server(path: &Path, etcd_port: u16, port: u16) -> Child {
    let file = |name: &str| path.join(name).display().to_string();
    start(
        path,
        "apiserver",
        Command::new(tool("kubernetes-1.36.3/kube-apiserver")).args([
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", file("certificates")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            "--audit-log-mode=blocking".to_owned(),
        ]),
    )
}

async fn wait_until_ready(path: &Path, port: u16) -> Client {
    let certificate = path.join("certificates/apiserver.crt");
    eventually("the API server has a certificate", || {
        let there = certificate.exists();
        async move { there }
    })
    .await;
    let text = kubeconfig(path, port, ADMIN_TOKEN);
    let kubeconfig: Kubeconfig = serde_json::from_str(&text).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a client configuration");
    let client = Client::try_from(config).expect("a client");
    let started = Instant::now();
    loop {
        let request = http::Request::get("/readyz").body(Vec::new());
        let answer = client.request_text(request.expect("a request")).await;
        match answer {
            Ok(answer) if answer == "ok" => break,
            answer => assert!(
                started.elapsed() < PATIENCE,
                "the API server is not ready: {answer:?}\n{}",
                last_lines(&path.join("apiserver.log"))
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The API server signs its own certificate, which then is the authority.
fn kubeconfig(path: &Path, port: u16, token: &str) -> String {
    let authority = path.join("certificates/apiserver.crt");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": authority,
        }}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })
    .to_string()
}

/// The chart with these values (`--set`), or what helm says against them.
pub fn helm_template(values: &[&str]) -> Result<String, String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kaos");
    let output = Command::new(tool("helm-4.3.1/helm"))
        .args(["template", "kaos"])
        .arg(chart)
        .args(["--namespace", SYSTEM])
        .args(values.iter().flat_map(|value| ["--set", value]))
        .output()
        .expect("helm runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).expect("helm writes UTF-8"))
}

/// Documents of a YAML stream that hold something.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML documents");
    documents.into_iter().filter(Value::is_object).collect()
}

/// A program that `cargo xtask setup --cluster` built.
fn tool(path: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty());
    let cache = cache.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::home_dir().expect("a home directory");
        home.join(".cache")
    });
    let tool = cache.join("kaos").join(path);
    assert!(
        tool.exists(),
        "{} is missing; type: cargo xtask setup --cluster",
        tool.display()
    );
    tool
}

/// Starts a program with its output in a file of its name.
pub fn start(path: &Path, name: &str, command: &mut Command) -> Child {
    let open = fs::File::options()
        .create(true)
        .append(true)
        .open(path.join(format!("{name}.log")));
    let log = open.expect("a log file");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle of the log file"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{name} does not start: {error}"))
}

/// Kills a program that we started.
pub fn end(child: &mut Child) {
    // It fails only where the program has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// How long anything may take: an API server starts within 10 s, on a loaded machine later.
pub const PATIENCE: Duration = Duration::from_secs(60);
