//! What AI agents are made of: models and their clients, proxies, tool servers, agents.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{Server, Workloads, directory, python, variable};
use crate::process::{Process, free_port};

/// The key of the LiteLLM proxy, which starts only with one that its clients must show. It is what
/// KAOS's agent server sends, and opens nothing else.
pub const MODEL_API_KEY: &str = "not-needed";

/// Which generation of KAOS's agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    /// `pydantic-ai-server` from PyPI.
    Current,
    /// `january_agent.py`, written for the tests.
    January,
}

/// An agent's place among the others.
#[derive(Debug, Default)]
pub struct AgentPlace {
    /// URL of its model API.
    pub model_api: String,
    /// URL of its MCP server.
    pub tools: Option<String>,
    /// Names and URLs of those to whom it may delegate.
    pub peers: Vec<(&'static str, String)>,
    /// Where it listens; any free port if not given.
    pub port: Option<u16>,
    /// More of its environment.
    pub variables: Vec<(&'static str, String)>,
}

impl AgentPlace {
    /// With this model API and MCP server.
    #[must_use]
    pub fn of(model_api: &Server, tools: &Server) -> Self {
        Self {
            model_api: model_api.url(""),
            tools: Some(tools.url("/mcp")),
            ..Self::default()
        }
    }

    /// May also delegate to this one.
    #[must_use]
    pub fn with_peer(mut self, name: &'static str, url: String) -> Self {
        self.peers.push((name, url));
        self
    }

    /// Listens here.
    #[must_use]
    pub fn at(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Also has this variable in its environment.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }
}

impl Workloads<'_> {
    /// `model.py`: the scripted model server.
    #[must_use]
    pub fn model(&self, service: &str) -> Server {
        self.uvicorn(service, &mut self.python(service, "model.py"))
            .over(self.certificate)
    }

    /// `ask.py`: asks a model with this client library, each prompt in turn. Returns what the
    /// client knows of each answer.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn ask(
        &self,
        service: &str,
        library: &str,
        url: &str,
        mode: &str,
        prompts: &[Value],
    ) -> Vec<Value> {
        let mut command = self.python(service, "ask.py");
        command.args([library, url, mode]);
        command
            .args(prompts.iter().map(Value::to_string))
            .env("MODEL_API_KEY", MODEL_API_KEY);
        let lines = Process::spawn(service, &mut command).succeed();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).expect("it prints JSON"))
            .collect()
    }

    /// Ollama with the model `tiny`, whose weights are random.
    ///
    /// # Panics
    /// The model cannot be made.
    #[must_use]
    pub fn ollama(&self, service: &str) -> Server {
        let port = free_port();
        let files = TempDir::new().expect("a temporary directory");
        let place = files.path();
        let of_ollama = |command: &mut Command, argument| {
            command
                .arg(argument)
                .env("HOME", place)
                .env("OLLAMA_MODELS", place.join("models"))
                .env("OLLAMA_HOST", format!("127.0.0.1:{port}"));
        };
        let mut command = self.command(service, variable("KAOS_OLLAMA"));
        of_ollama(&mut command, "serve");
        let mut server = Server::start(service, port, &mut command, "Listening on");

        let mut command = self.python("tiny model", "tiny_model.py");
        Process::spawn("tiny model", command.arg(place)).succeed();
        let mut command = Command::new(variable("KAOS_OLLAMA"));
        of_ollama(&mut command, "create");
        command.args(["tiny", "-f", "Modelfile"]).current_dir(place);
        Process::spawn("ollama create", &mut command).succeed();
        server._files = Some(files);
        server
    }

    /// `tools.py`: the MCP server, of the generation without sessions.
    #[must_use]
    pub fn tools(&self, service: &str) -> Server {
        self.uvicorn(service, &mut self.python(service, "tools.py"))
    }

    /// `tools.py` with so many more tools, `run_0` and on, so that each run can have one of its own.
    #[must_use]
    pub fn named_tools(&self, service: &str, count: usize) -> Server {
        let mut command = self.python(service, "tools.py");
        self.uvicorn(service, command.env("NAMED_TOOLS", count.to_string()))
    }

    /// `tools_session.py`: the MCP server with sessions.
    #[must_use]
    pub fn session_tools(&self, service: &str) -> Server {
        let mut command = self.python(service, "tools_session.py");
        self.uvicorn(service, command.env("PYTHONPATH", mcp_1()))
    }

    /// `tools_client.py`: FastMCP's client, which calls the tool once.
    #[must_use]
    pub fn tools_client(&self, service: &str, tools: &Server) -> Process {
        let mut command = self.python(service, "tools_client.py");
        command.args([&tools.url("/mcp"), r#"add={"a": 2, "b": 3}"#]);
        Process::spawn(service, &mut command)
    }

    /// A LiteLLM proxy before the model server. `litellm.yaml` has the models that it knows.
    #[must_use]
    pub fn litellm(&self, service: &str, model: &Server) -> Server {
        let port = free_port();
        let litellm = python().with_file_name("litellm");
        let mut command = self.command(service, litellm);
        command
            .arg("--config")
            .arg(directory().join("litellm.yaml"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .env("MODEL_URL", model.url("/v1"))
            .env("LITELLM_MASTER_KEY", MODEL_API_KEY)
            // It must not ask the network for anything.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("NO_PROXY", "*");
        Server::start(service, port, &mut command, "running on http")
    }

    /// `agent.py`: an AI agent by hand.
    #[must_use]
    pub fn agent(&self, service: &str, model_api: &Server, tools: &Server) -> Server {
        let mut command = self.python(service, "agent.py");
        command
            .env("MODEL_API_URL", model_api.url(""))
            .env("MODEL_API_KEY", MODEL_API_KEY)
            .env("MCP_SERVER_URL", tools.url("/mcp"));
        self.uvicorn(service, &mut command)
    }

    /// An agent of KAOS, under its service name, configured as KAOS's operator does. Its own
    /// OpenTelemetry SDK is off unless the place says otherwise.
    #[must_use]
    pub fn kaos_agent(&self, service: &str, kind: AgentKind, place: &AgentPlace) -> Server {
        let port = place.port.unwrap_or_else(free_port);
        let mut command = match kind {
            AgentKind::Current => {
                let mut command = self.command(service, python());
                command
                    .args(["-m", "uvicorn", "--factory", "pais.server:get_app"])
                    .args(["--host", "127.0.0.1", "--port", &port.to_string()]);
                command
            }
            AgentKind::January => {
                let mut command = self.python(service, "january_agent.py");
                command.arg(port.to_string()).env("PYTHONPATH", mcp_1());
                command
            }
        };
        let peers: Vec<&str> = place.peers.iter().map(|(name, _)| *name).collect();
        command
            .env("AGENT_NAME", service)
            .env("MODEL_API_URL", &place.model_api)
            .env("MODEL_NAME", "scripted")
            .env("PEER_AGENTS", peers.join(","))
            .env("OTEL_SDK_DISABLED", "true");
        for (name, url) in &place.peers {
            let name = name.to_uppercase().replace('-', "_");
            command.env(format!("PEER_AGENT_{name}_CARD_URL"), url);
        }
        if let Some(url) = &place.tools {
            command
                .env("MCP_SERVERS", "TOOLS")
                .env("MCP_SERVER_TOOLS_URL", url);
        }
        command.envs(place.variables.iter().map(|(name, value)| (name, value)));
        Server::start(service, port, &mut command, "running on http")
    }

    /// Starts a script that serves with uvicorn on the port that it gets as its argument.
    fn uvicorn(&self, service: &str, command: &mut Command) -> Server {
        let port = free_port();
        Server::start(
            service,
            port,
            command.arg(port.to_string()),
            "running on http",
        )
    }
}

/// The first major version of the MCP SDK, a directory for `PYTHONPATH`.
fn mcp_1() -> PathBuf {
    let python = python();
    let environment = python.ancestors().nth(2).expect("it is in ENVIRONMENT/bin");
    environment.join("mcp-1")
}
