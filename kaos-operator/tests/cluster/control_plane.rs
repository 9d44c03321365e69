//! A kube-apiserver and an etcd of one's own, with the chart installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kaos_operator::api::{Agent, McpServer, ModelApi};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::oneshot::pinned_kind;
use kube::{Client, Config, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::eventually;
use super::machine::{Running, free_port, last_lines, tool, write};

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
    // In the order in which they end.
    controller_manager: Option<Running>,
    api_server: Running,
    _etcd: Running,
    directory: TempDir,
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
        let etcd = Running::start(
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
            controller_manager: None,
            api_server,
            _etcd: etcd,
            directory,
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
        let file = self.kubeconfig();
        let program = tool("kubernetes-1.36.3/kube-controller-manager");
        self.controller_manager = Some(Running::start(
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

    /// A kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.directory.path();
        let text = kubeconfig(path, self.port, ADMIN_TOKEN);
        write(path, "admin.json", &text)
    }

    /// Kills the API server.
    pub fn stop_api_server(&mut self) {
        self.api_server.end();
    }

    /// Starts it again on the same port, with the same data.
    pub async fn start_api_server(&mut self) {
        self.api_server = start_api_server(self.directory.path(), self.etcd_port, self.port);
        self.client = wait_until_ready(self.directory.path(), self.port).await;
        self.wait_for_definitions().await;
    }

    async fn install(&mut self, values: &[&str]) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}});
        self.apply(&namespace).await;
        let text = helm_template(values).expect("valid values");
        let is_hook = |document: &Value| {
            let annotations = &document["metadata"]["annotations"];
            annotations["helm.sh/hook"].is_string()
        };
        for document in documents(&text).iter().filter(|it| !is_hook(it)) {
            self.apply(document).await;
        }
        self.wait_for_definitions().await;
    }

    async fn wait_for_definitions(&self) {
        eventually("the definitions are served", || async {
            is_served::<Agent>(&self.client).await
                && is_served::<McpServer>(&self.client).await
                && is_served::<ModelApi>(&self.client).await
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
        let params = PatchParams::apply("tests").force();
        self.try_apply_with(object, &params).await
    }

    /// What the API server would say to an object, which is not stored.
    pub async fn try_dry(&self, object: &Value) -> Result<DynamicObject, kube::Error> {
        let params = PatchParams::apply("tests").force().dry_run();
        self.try_apply_with(object, &params).await
    }

    async fn try_apply_with(
        &self,
        object: &Value,
        params: &PatchParams,
    ) -> Result<DynamicObject, kube::Error> {
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
        api.patch(&object.name_any(), params, &Patch::Apply(&object))
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

async fn is_served<K>(client: &Client) -> bool
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api = Api::<K>::all(client.clone());
    api.list(&ListParams::default()).await.is_ok()
}

fn start_api_server(path: &Path, etcd_port: u16, port: u16) -> Running {
    let file = |name: &str| path.join(name).display().to_string();
    Running::start(
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
            // Webhooks are reached at the addresses behind their Service: there is no kube-proxy.
            "--enable-aggregator-routing=true".to_owned(),
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

/// A command line of helm's to be.
pub fn helm() -> Command {
    Command::new(tool("helm-4.3.1/helm"))
}

/// Where the chart is.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kaos")
}

/// The chart with these values (`--set`), or what helm says against them.
pub fn helm_template(values: &[&str]) -> Result<String, String> {
    template(&mut helm(), "kaos", values)
}

impl ControlPlane {
    /// The same of a release of another name, by a helm that asks this API server what there is
    /// (`lookup`).
    pub fn helm_template(&self, release: &str, values: &[&str]) -> Result<String, String> {
        let mut helm = helm();
        helm.arg("--kubeconfig").arg(self.kubeconfig());
        template(helm.arg("--dry-run=server"), release, values)
    }
}

fn template(helm: &mut Command, release: &str, values: &[&str]) -> Result<String, String> {
    let output = helm
        .args(["template", release])
        .arg(chart())
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

/// How long anything may take that a test waits for: an API server starts within 10 s, on a loaded
/// machine much later.
pub const PATIENCE: Duration = Duration::from_secs(180);
