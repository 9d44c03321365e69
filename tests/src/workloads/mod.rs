//! The workloads under `tests/workloads`, each a real process that says when it listens.

mod ai;
mod certificate;
mod interpreters;
mod pipe;
mod tls;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub use self::ai::{AgentKind, AgentPlace, MODEL_API_KEY};
pub use self::certificate::Certificate;
pub use self::interpreters::{
    built_pythons, openssl_1_1_root, other_interpreters, python_roots, root_of_built_pythons,
};
use self::pipe::NamedPipe;
use crate::process::{Process, free_port};
use crate::receiver::Receiver;
pub use crate::skip::skip;
use crate::skip::why_not;

/// Name and value of an environment variable.
pub type Variable = (&'static str, &'static str);

/// A server process and where it listens.
pub struct Server {
    /// The process.
    pub process: Process,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Files that it needs for as long as it runs.
    _files: Option<TempDir>,
}

impl Server {
    /// URL of a path on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    fn start(name: &str, port: u16, command: &mut Command, listens: &str) -> Self {
        let process = Process::spawn(name, command);
        process.wait_for_line("that it listens", |line| line.contains(listens));
        Self {
            process,
            port,
            scheme: "http",
            _files: None,
        }
    }

    /// It speaks TLS, if there is a certificate.
    fn over(self, certificate: Option<&Certificate>) -> Self {
        let scheme = certificate.map_or(self.scheme, |_| "https");
        Self { scheme, ..self }
    }
}

/// Makes processes that export to one receiver, each under a service name of its own.
#[derive(Clone, Copy)]
pub struct Workloads<'a> {
    receiver: &'a Receiver,
    as_kaos: bool,
    certificate: Option<&'a Certificate>,
}

impl<'a> Workloads<'a> {
    /// Workloads whose telemetry goes to this receiver.
    #[must_use]
    pub fn of(receiver: &'a Receiver) -> Self {
        Self {
            receiver,
            as_kaos: false,
            certificate: None,
        }
    }

    /// The same, set up as KAOS's operator does: their plain HTTP requests are not told.
    #[must_use]
    pub fn of_kaos(receiver: &'a Receiver) -> Self {
        Self {
            as_kaos: true,
            ..Self::of(receiver)
        }
    }

    /// The same, but the plain servers of this file speak TLS, and everybody trusts them.
    #[must_use]
    pub fn over(self, certificate: &'a Certificate) -> Self {
        Self {
            certificate: Some(certificate),
            ..self
        }
    }

    /// A command with the environment of a service.
    #[must_use]
    pub fn command(&self, service: &str, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env("OTEL_SERVICE_NAME", service)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.grpc_endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
            // Tests wait for spans, so each leaves the agent soon.
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
        if self.as_kaos {
            let resource = format!("service.namespace=test,kaos.resource.name={service}");
            command.env("OTEL_RESOURCE_ATTRIBUTES", resource);
        }
        if let Some(certificate) = self.certificate {
            certificate.hand_to(&mut command);
        }
        command
    }

    /// `server.py`: `kind` is `h11`, `httptools` or `aiohttp`.
    #[must_use]
    pub fn python_server(&self, service: &str, kind: &str) -> Server {
        let port = free_port();
        let mut command = self.python(service, "server.py");
        command.args([kind, &port.to_string()]);
        Server::start(service, port, &mut command, "unning on http").over(self.certificate)
    }

    /// `client.py`, which gets the URLs with `library`: `httpx`, `aiohttp` or `requests`.
    #[must_use]
    pub fn python_client(&self, service: &str, library: &str, urls: &[String]) -> Process {
        let mut command = self.python(service, "client.py");
        Process::spawn(service, command.arg(library).args(urls))
    }

    /// `with_sdk.py serve`: a server with the OpenTelemetry SDK inside, which exports over gRPC.
    #[must_use]
    pub fn server_with_sdk(&self, service: &str, model: &Server, variables: &[Variable]) -> Server {
        let port = free_port();
        let mut command = self.python(service, "with_sdk.py");
        command
            .args(["serve", &port.to_string()])
            .env("MODEL_URL", model.url(""))
            .envs(variables.iter().copied())
            // So that its spans have the same attributes as ours.
            .env("OTEL_SEMCONV_STABILITY_OPT_IN", "http");
        Server::start(service, port, &mut command, "running on http")
    }

    /// `opentelemetry-instrument uvicorn instrumented:app`: a server with automatic instrumentation,
    /// which exports spans alone, over HTTP, as the OpenTelemetry Operator sets it up.
    #[must_use]
    pub fn instrumented_server(&self, service: &str, model: &Server) -> Server {
        let port = free_port();
        let mut command =
            self.command(service, python().with_file_name("opentelemetry-instrument"));
        command
            .arg(python().with_file_name("uvicorn"))
            .arg("--app-dir")
            .arg(directory().join("python"))
            .args(["instrumented:app", "--port", &port.to_string()])
            .env("MODEL_URL", model.url(""))
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.http_endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_SEMCONV_STABILITY_OPT_IN", "http");
        Server::start(service, port, &mut command, "running on http")
    }

    /// `with_sdk.py ask`: a client with the OpenTelemetry SDK inside, which exports over HTTP and asks so
    /// often at once.
    #[must_use]
    pub fn client_with_sdk(
        &self,
        service: &str,
        url: &str,
        count: usize,
        variables: &[Variable],
    ) -> Process {
        let mut command = self.python(service, "with_sdk.py");
        command
            .args(["ask", url, &count.to_string()])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.http_endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .envs(variables.iter().copied())
            .env("OTEL_SEMCONV_STABILITY_OPT_IN", "http");
        Process::spawn(service, &mut command)
    }

    /// `server.js`.
    #[must_use]
    pub fn node_server(&self, service: &str) -> Server {
        let port = free_port();
        let mut command = self.command(service, "node");
        command
            .arg(directory().join("node/server.js"))
            .arg(port.to_string());
        Server::start(service, port, &mut command, "listening").over(self.certificate)
    }

    /// `client.js`, which gets the URLs.
    #[must_use]
    pub fn node_client(&self, service: &str, urls: &[String]) -> Process {
        let mut command = self.command(service, "node");
        command.arg(directory().join("node/client.js")).args(urls);
        Process::spawn(service, &mut command)
    }

    /// `main.go` as a server.
    #[must_use]
    pub fn go_server(&self, service: &str) -> Server {
        let port = free_port();
        let mut command = self.command(service, variable("KAOS_GO_WORKLOAD"));
        command.args(["serve", &port.to_string()]);
        Server::start(service, port, &mut command, "listening")
    }

    /// `main.go` as a client that gets the URLs.
    #[must_use]
    pub fn go_client(&self, service: &str, urls: &[String]) -> Process {
        let mut command = self.command(service, variable("KAOS_GO_WORKLOAD"));
        Process::spawn(service, command.arg("get").args(urls))
    }

    /// `causes.js`, or `main.go` as the same: calls `backend` four times for each request, and on its own
    /// with the method of `polls`.
    #[must_use]
    pub fn causes_of(
        &self,
        runtime: Runtime,
        service: &str,
        backend: &str,
        polls: Option<&str>,
    ) -> Server {
        let port = free_port();
        let mut command = match runtime {
            Runtime::Node => self.command(service, "node"),
            Runtime::Go => self.command(service, variable("KAOS_GO_WORKLOAD")),
        };
        match runtime {
            Runtime::Node => command.arg(directory().join("node/causes.js")),
            Runtime::Go => command.arg("causes"),
        };
        command.args([&port.to_string(), backend]).args(polls);
        Server::start(service, port, &mut command, "listening")
    }

    /// Runs curl with these arguments, to get the URLs one after the other. Returns
    /// "METHOD PATH STATUS BYTES" for each: what the client itself knows.
    ///
    /// # Panics
    /// curl fails.
    #[must_use]
    pub fn curl(&self, service: &str, arguments: &[&str], urls: &[String]) -> Vec<String> {
        let mut command = self.curl_command(service);
        command.args(arguments);
        for url in urls {
            command.args(["--output", "/dev/null"]).arg(url);
        }
        told_by_curl(Process::spawn(service, &mut command))
    }

    /// The same, but curl, which runs and has its libraries loaded, learns the URLs only when `wait`
    /// has returned.
    ///
    /// # Panics
    /// curl fails.
    #[must_use]
    pub fn curl_after(&self, service: &str, urls: &[String], wait: impl FnOnce()) -> Vec<String> {
        let files = TempDir::new().expect("a temporary directory");
        let pipe = NamedPipe::in_directory(files.path());
        let mut command = self.curl_command(service);
        command.arg("--config").arg(pipe.path());
        let curl = Process::spawn(service, &mut command);
        wait();
        pipe.write(&for_curl(urls));
        told_by_curl(curl)
    }

    fn curl_command(&self, service: &str) -> Command {
        let mut command = self.command(service, "curl");
        command.args(CURL_OPTIONS);
        command
    }

    /// nginx: `/ID` is a file of as many bytes as `file` has, `/proxy/…` the upstream's `/…`,
    /// `/status/404/ID` is not found.
    #[must_use]
    pub fn nginx(&self, service: &str, upstream: &Server, files: &[(&str, &[u8])]) -> Server {
        let port = free_port();
        let temporary = TempDir::new().expect("a temporary directory");
        let place = temporary.path();
        fs::create_dir(place.join("files")).expect("it is empty");
        for (name, bytes) in files {
            fs::write(place.join("files").join(name), bytes).expect("it is writable");
        }
        let template = fs::read_to_string(directory().join("nginx.conf")).expect("it is there");
        let settings = template
            .replace("{port}", &port.to_string())
            .replace("{upstream}", &upstream.url(""))
            .replace(
                "{tls}",
                &self
                    .certificate
                    .map_or_else(String::new, Certificate::for_nginx),
            )
            .replace("{directory}", &place.to_string_lossy());
        fs::write(place.join("nginx.conf"), settings).expect("it is writable");
        let mut command = self.command(service, "/usr/sbin/nginx");
        command.arg("-c").arg(place.join("nginx.conf"));
        // Said when its sockets are open.
        let server = Server::start(service, port, &mut command, "getrlimit(RLIMIT_NOFILE)")
            .over(self.certificate);
        Server {
            _files: Some(temporary),
            ..server
        }
    }

    fn python(&self, service: &str, script: &str) -> Command {
        let mut command = self.command(service, python());
        // A script's directory comes first in the module path, and holds nothing but workloads.
        command
            .arg("-u")
            .arg(directory().join("python").join(script));
        command
    }
}

/// A runtime of which it is not known what runs when bytes move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Node.
    Node,
    /// Go.
    Go,
}

/// What a test's workloads are made of, beside this repository's sources.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// The Python environment of `cargo xtask setup`.
    Python,
    /// The Go workload that `cargo xtask setup` builds.
    Go,
    /// The Ollama that `cargo xtask setup --ollama` builds.
    Ollama,
    /// The root file systems that `cargo xtask setup --pythons` makes.
    PythonRoots,
    /// The one with interpreters that were built from source, which it makes, too.
    BuiltPythons,
    /// The one among them that has OpenSSL 1.1.
    OpenSsl11,
    /// A program.
    Program(&'static str),
}

/// Whether something of this is not on the machine. The test is skipped then, aloud.
#[must_use]
pub fn lacks(needs: &[Need]) -> bool {
    let missing = needs.iter().find_map(|need| match need {
        Need::Python => unset("KAOS_PYTHON"),
        Need::Go => unset("KAOS_GO_WORKLOAD"),
        Need::Ollama => env::var_os("KAOS_OLLAMA")
            .is_none()
            .then(|| "no Ollama; type: cargo xtask setup --ollama".to_owned()),
        Need::PythonRoots => python_roots()
            .is_empty()
            .then(|| "no other versions; type: cargo xtask setup --pythons".to_owned()),
        Need::BuiltPythons => built_pythons()
            .is_empty()
            .then(|| "no built interpreters; type: cargo xtask setup --pythons".to_owned()),
        Need::OpenSsl11 => openssl_1_1_root()
            .is_none()
            .then(|| "no OpenSSL 1.1; type: cargo xtask setup --pythons".to_owned()),
        Need::Program(name) => why_not(name),
    });
    if let Some(reason) = &missing {
        skip(reason);
    }
    missing.is_some()
}

fn unset(name: &str) -> Option<String> {
    env::var_os(name)
        .is_none()
        .then(|| format!("{name} is not set; run `cargo xtask test`"))
}

/// How curl is used: it says what it knows of each URL.
const CURL_OPTIONS: [&str; 6] = [
    "--silent",
    "--show-error",
    "--max-time",
    "60",
    "--write-out",
    "%{method} %{url_effective} %{http_code} %{size_download}\\n",
];

/// URLs as lines of a configuration of curl.
fn for_curl(urls: &[String]) -> String {
    let lines = urls
        .iter()
        .map(|url| format!("url = \"{url}\"\noutput = \"/dev/null\"\n"));
    lines.collect()
}

/// What curl said of each URL.
fn told_by_curl(curl: Process) -> Vec<String> {
    let lines = curl.succeed();
    lines.iter().map(|line| without_authority(line)).collect()
}

/// "METHOD URL …" as "METHOD PATH …".
fn without_authority(line: &str) -> String {
    let (method, rest) = line.split_once(' ').unwrap_or_default();
    let address = rest.split_once("://").map_or(rest, |(_, address)| address);
    let path = address.find('/').map_or("/", |at| &address[at..]);
    format!("{method} {path}")
}

/// Directory of the workloads' sources.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads")
}

/// The interpreter of the workloads' environment.
///
/// # Panics
/// There is none: [`lacks`] says so.
#[must_use]
pub fn python() -> PathBuf {
    variable("KAOS_PYTHON")
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name)
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("{name} is not set; run this through `cargo xtask`"))
}
