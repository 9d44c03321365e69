"""Makes the recordings of the golden replays: record.py AGENT_BINARY [NAME…], as root.

Each scenario starts real workloads (tests/workloads), records them with `kaos-agent record`, drives
them, and leaves testdata/NAME.kaosrec. `cargo xtask setup` makes the environment that the workloads
need; KAOS_PYTHON, KAOS_GO_WORKLOAD and KAOS_OLLAMA name its interpreter and the other programs, as in
the tests.
"""

import http.client as http_client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
WORKLOADS = HERE.parent.parent / "tests" / "workloads"
PYTHON = os.environ.get("KAOS_PYTHON", sys.executable)
MODEL_API_KEY = "sk-of-the-tests"
# Where `cargo xtask setup` puts the first major version of the MCP SDK.
MCP_1 = Path(PYTHON).parent.parent / "mcp-1"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{process.args} does not listen on port {port}")


class Scenario:
    """Workloads, and one recorder that watches them."""

    def __init__(self, agent, name):
        self.agent = agent
        self.file = HERE / f"{name}.kaosrec"
        self.stack = ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def spawn(self, service, *command, **environment):
        environment = {"OTEL_SERVICE_NAME": service} | environment
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=WORKLOADS,  # so that command lines hold no path of this machine
            env={"PATH": os.environ["PATH"], "NO_PROXY": "*"} | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def serve(self, service, *command, **environment):
        port = free_port()
        arguments = [port if part == "PORT" else part for part in command]
        process = self.spawn(service, *arguments, **environment)
        wait_for_port(port, process)
        return process, f"http://127.0.0.1:{port}"

    def python_server(self, service, script, *arguments, **environment):
        return self.serve(
            service, PYTHON, f"python/{script}", *arguments, "PORT", **environment
        )

    def model(self):
        return self.python_server("model", "model.py")

    def litellm(self, model_url, key=MODEL_API_KEY):
        return self.serve(
            "litellm",
            Path(PYTHON).with_name("litellm"),
            *("--config", "litellm.yaml", "--host", "127.0.0.1", "--port", "PORT"),
            MODEL_URL=f"{model_url}/v1",
            LITELLM_MASTER_KEY=key,
            LITELLM_LOCAL_MODEL_COST_MAP="True",
        )

    def supervisor_and_worker(self, model_url, tools_url, *command, **environment):
        """Two agents with the same tools, of which one may delegate to the other."""
        environment |= {
            "MODEL_API_URL": model_url,
            "MODEL_NAME": "scripted",
            "MCP_SERVERS": "TOOLS",
            "MCP_SERVER_TOOLS_URL": f"{tools_url}/mcp",
            "OTEL_SDK_DISABLED": "true",
        }
        worker = self.serve("worker", PYTHON, *command, AGENT_NAME="worker", **environment)
        environment |= {"PEER_AGENTS": "worker", "PEER_AGENT_WORKER_CARD_URL": worker[1]}
        return self.serve(
            "supervisor", PYTHON, *command, AGENT_NAME="supervisor", **environment
        ), worker

    def run(self, service, *command, **environment):
        return self.spawn(service, *command, **environment).wait(timeout=60)

    def ask(self, library, url, mode, *script):
        """Asks with a client library; each item of the script is a request of its own."""
        prompts = (json.dumps([item]) for item in script)
        self.run(f"{library}-client", PYTHON, "python/ask.py", library, url, mode, *prompts)

    def record(self, *selectors):
        """Records until the scenario calls `stop`."""
        self.file.unlink(missing_ok=True)
        command = [self.agent, "record", "-o", self.file, *map(str, selectors)]
        self.recorder = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.recorder.stderr:
            if "ready" in line:
                return
        sys.exit(f"{command} does not get ready")

    def stop(self):
        self.recorder.send_signal(signal.SIGTERM)
        if self.recorder.wait(timeout=30) != 0:
            sys.exit(self.recorder.stderr.read())


def post(url, body, key=None):
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        return error.read()
    except http_client.HTTPException:  # A stream that is cut.
        return None


def selected(*servers):
    """Selectors of these processes."""
    return [part for process, _ in servers for part in ("--pid", process.pid)]


def chat(url, script, stream=False, model="scripted", key=None):
    """Asks for a chat completion; a script is what the model answers."""
    prompt = script if isinstance(script, str) else json.dumps(script)
    messages = [{"role": "user", "content": prompt}]
    body = {"model": model, "messages": messages, "stream": stream}
    return post(f"{url}/v1/chat/completions", body, key)


def agent(scenario):
    """An agent on FastAPI asks a LiteLLM proxy and an MCP server: plain, streaming, failing."""
    model = scenario.model()
    litellm = scenario.litellm(model[1])
    tools = scenario.python_server("tools", "tools.py")
    agent = scenario.python_server(
        "agent",
        "agent.py",
        MODEL_API_URL=litellm[1],
        MODEL_API_KEY=MODEL_API_KEY,
        MCP_SERVER_URL=f"{tools[1]}/mcp",
    )
    scenario.record(*selected(agent, litellm, tools, model))
    for text, stream in (("what is two and three", False), ("tell me more", True), ("fail", False)):
        chat(agent[1], text, stream)
    scenario.stop()


# One answer each: a text, tool calls, a text with tool calls, real counts of tokens, errors.
ANSWERS = (
    {"say": "a short answer", "usage": {"prompt": 90, "completion": 40}},
    {"call": {"add": {"a": 2, "b": 3}}},
    {"say": "let me see", "call": {"add": {"a": 2, "b": 3}}},
    {"status": 429},
    {"status": 500},
)
# And those that only a stream can give.
STREAMED = (*ANSWERS, {"say": "cut after three words", "cut": 3}, {"say": "no", "error": "overloaded"})


def openai(scenario):
    """OpenAI's client library: chat completions, responses, embeddings; whole, streamed, failing."""
    model, url = scenario.model()
    # Whoever we start is watched: no other can be told from another's Python.
    scenario.record("--pid", os.getpid())
    thinking = {"prompt": 90, "completion": 40, "cached": 64, "reasoning": 25}
    scenario.ask("openai", url, "tools", *ANSWERS, {"think": "hm", "say": "so", "usage": thinking})
    scenario.ask("openai", url, "stream tools", *STREAMED, {"say": "so", "usage": thinking})
    scenario.ask("openai-responses", url, "tools", *ANSWERS)
    scenario.ask("openai-responses", url, "stream tools", *STREAMED)
    scenario.ask("openai-embeddings", url, "", ANSWERS[0])
    scenario.stop()


def anthropic(scenario):
    """Anthropic's client library: messages; whole, streamed, failing."""
    _, url = scenario.model()
    scenario.record("--pid", os.getpid())
    scenario.ask("anthropic", url, "tools", *ANSWERS)
    scenario.ask("anthropic", url, "stream tools", *STREAMED)
    scenario.stop()


def ollama(scenario):
    """Ollama's client library: chat; whole, streamed, failing."""
    _, url = scenario.model()
    scenario.record("--pid", os.getpid())
    scenario.ask("ollama", url, "tools", *ANSWERS)
    scenario.ask("ollama", url, "stream tools", *STREAMED)
    scenario.stop()


def ollama_server(scenario):
    """A real Ollama with a tiny model: its own API and OpenAI's, and its runner process."""
    with tempfile.TemporaryDirectory() as place:
        ollama = os.environ["KAOS_OLLAMA"]
        port = free_port()
        settings = {"HOME": place, "OLLAMA_MODELS": f"{place}/models"}
        settings["OLLAMA_HOST"] = f"127.0.0.1:{port}"
        server = scenario.spawn("ollama", ollama, "serve", **settings)
        wait_for_port(port, server)
        subprocess.run([PYTHON, WORKLOADS / "python/tiny_model.py", place], check=True)
        create = [ollama, "create", "tiny", "-f", "Modelfile"]
        subprocess.run(create, cwd=place, env=os.environ | settings, check=True)
        scenario.record("--pid", os.getpid())
        url = f"http://127.0.0.1:{port}"
        for library in ("ollama", "openai"):
            for mode in ("", "stream"):
                client = (PYTHON, "python/ask.py", library, url, mode, "hello")
                scenario.run(f"{library}-client", *client, MODEL_NAME="tiny")
        scenario.stop()
        server.terminate()  # Killed, it would leave its runner behind.
        server.wait(timeout=10)


def litellm(scenario):
    """A LiteLLM proxy: another name upstream, retries, a fallback, errors that go through."""
    model = scenario.model()
    litellm = scenario.litellm(model[1], key="sk-of-the-tests")
    scenario.record(*selected(litellm, model))
    for name in ("scripted", "alias", "retried", "failing"):
        for stream in (False, True):
            fails_once = {"status": 500, "times": 1, "say": f"{name} {stream}"}
            works = {"say": f"{name} {stream}"}
            script = [fails_once if name in ("retried", "failing") else works]
            chat(litellm[1], script, stream, name, MODEL_API_KEY)
    for broken in ({"status": 429}, {"say": "one two three", "cut": 2}):
        chat(litellm[1], [broken], True, "scripted", MODEL_API_KEY)
    scenario.stop()


def mcp(scenario):
    """MCP servers of two major versions and the transport before both, with the clients of both:
    a result, a tool that fails, progress, a tool that is not there, arguments that are wrong."""
    session = ("session-tools", PYTHON, "python/tools_session.py", "PORT")
    servers = (
        (scenario.python_server("tools", "tools.py"), "mcp"),
        (scenario.serve(*session, PYTHONPATH=MCP_1), "mcp"),
        (scenario.serve(*session, "sse", PYTHONPATH=MCP_1), "sse"),
    )
    scenario.record("--pid", os.getpid(), *selected(*(server for server, _ in servers)))
    calls = (
        'add={"a": 2, "b": 3}',
        'fail={"reason": "it must"}',
        'count={"to": 2}',
        "nothing={}",
        'add={"a": "no number"}',
    )
    for (_, url), path in servers:
        url = f"{url}/{path}"
        scenario.run("client", PYTHON, "python/tools_client.py", url, *calls)
        client = (PYTHON, "python/tools_session_client.py", url, *calls)
        scenario.run("session-client", *client, PYTHONPATH=MCP_1)
    scenario.stop()


# Two rounds with tools, one of which fails, a delegation, and an answer.
TASK = [{"call": {"add": {"a": 3, "b": 4}}}, {"say": "the worker is done"}]
WORK = [
    {"call": {"add": {"a": 1, "b": 2}}},
    {"call": {"fail": {"reason": "it must"}}},
    {"delegate": {"worker": TASK}},
    {"say": "all is done"},
]


def kaos(scenario):
    """KAOS's agent server as supervisor and worker, an MCP server without sessions: a run, the
    same streamed, one whose model fails, one with parallel tool calls, one without end."""
    model = scenario.model()
    litellm = scenario.litellm(model[1], key="not-needed")
    tools = scenario.python_server("tools", "tools.py")
    agents = scenario.supervisor_and_worker(
        litellm[1],
        tools[1],
        *("-m", "uvicorn", "--factory", "pais.server:get_app"),
        *("--host", "127.0.0.1", "--port", "PORT"),
    )
    scenario.record(*selected(*agents, litellm, tools, model))
    url = agents[0][1]
    two = {"call": {"add": {"a": 1, "b": 2}, "fail": {"reason": "it must"}}}
    chat(url, WORK)
    chat(url, WORK, stream=True)
    chat(url, [{"call": {"add": {"a": 1, "b": 2}}}, {"status": 500}])
    chat(url, [two, {"say": "both"}])
    chat(url, [{"call": {"add": {"a": n, "b": 2}}} for n in range(6)])
    scenario.stop()


def january(scenario):
    """The agents of January 2026: calls in fenced blocks, an MCP session for each, delegation by
    chat completions, streamed too, and a failure behind HTTP 200."""
    model = scenario.model()
    tools = scenario.python_server("tools", "tools_session.py", PYTHONPATH=MCP_1)
    agents = scenario.supervisor_and_worker(
        model[1], tools[1], "python/january_agent.py", "PORT", PYTHONPATH=MCP_1
    )
    scenario.record(*selected(*agents, tools, model))
    url = agents[0][1]
    chat(url, WORK)
    chat(url, WORK, stream=True)
    chat(url, [{"status": 500}])
    chat(url, [{"call": {"add": {"a": n, "b": 2}}} for n in range(6)])
    scenario.stop()


def unusual(scenario):
    """Batches of JSON-RPC at both ends, and bodies that are not what their types say."""
    server = scenario.python_server("server", "unusual.py", "serve")
    scenario.record("--pid", os.getpid(), *selected(server))
    scenario.run("client", PYTHON, "python/unusual.py", "ask", server[1])
    scenario.stop()


def http(scenario):
    """curl asks uvicorn (h11, then httptools on uvloop) in the ways that HTTP/1 knows."""
    h11, h11_url = scenario.python_server("h11", "server.py", "h11")
    httptools, httptools_url = scenario.python_server("httptools", "server.py", "httptools")
    scenario.record("--pid", h11.pid, "--pid", httptools.pid, "--exe", "curl")
    large = "x" * 120_000
    for url in (h11_url, httptools_url):
        for arguments in (
            [f"{url}/echo/kept-1", f"{url}/echo/kept-2?api_key=secret"],
            ["--http1.0", f"{url}/echo/old"],
            ["--head", f"{url}/echo/head"],
            ["--data", "password=secret", "-H", "Cookie: a=secret", f"{url}/echo/form"],
            ["--data", large, "-H", "Expect: 100-continue", f"{url}/echo/large"],
            ["-H", "Transfer-Encoding: chunked", "--data", "in chunks", f"{url}/echo/chunked"],
            [f"{url}/stream/pieces", f"{url}/status/404/x", f"{url}/status/500/x"],
            [f"{httptools_url}/call/nested?url={h11_url}/echo/called"],
        ):
            scenario.run("curl", "curl", "-s", *arguments)
    scenario.stop()


def clients(scenario):
    """The client libraries of Python, Node and Go, and the servers of Node, Go and aiohttp."""
    servers = (
        scenario.serve("node", "node", "node/server.js", "PORT"),
        scenario.serve("go", os.environ["KAOS_GO_WORKLOAD"], "serve", "PORT"),
        scenario.python_server("aiohttp", "server.py", "aiohttp"),
    )
    client = "python/client.py"
    scenario.record(*selected(*servers), "--exe", "python3*", "--exe", "node", "--exe", "go-workload-*")
    urls = [f"{url}/echo/{name}" for name in ("a", "b") for _, url in servers]
    scenario.run("httpx-client", PYTHON, client, "httpx", *urls)
    scenario.run("aiohttp-client", PYTHON, client, "aiohttp", *urls)
    scenario.run("node-client", "node", "node/client.js", *urls)
    scenario.run("go-client", os.environ["KAOS_GO_WORKLOAD"], "get", *urls)
    scenario.stop()


def failures(scenario):
    """A refused connection, a client that leaves, a server that is killed."""
    server, url = scenario.python_server("server", "server.py", "h11")
    scenario.record("--pid", server.pid, "--exe", "curl")
    scenario.run("refused", "curl", "-s", f"http://127.0.0.1:{free_port()}/nobody")
    scenario.run("leaver", "curl", "-s", "--max-time", "0.3", f"{url}/wait/never")
    waiting = scenario.spawn("orphan", "curl", "-s", f"{url}/wait/killed")
    time.sleep(0.5)  # no process tells that it waits
    server.kill()
    waiting.wait(timeout=10)
    scenario.stop()


SCENARIOS = {
    function.__name__: function
    for function in (
        *(agent, http, clients, failures),
        *(openai, anthropic, ollama, ollama_server, litellm, mcp, kaos, january, unusual),
    )
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or not shutil.which(sys.argv[1]):
        sys.exit(__doc__)
    for name in sys.argv[2:] or SCENARIOS:
        with Scenario(sys.argv[1], name) as scenario:
            SCENARIOS[name](scenario)
        print(f"{scenario.file.name}: {scenario.file.stat().st_size} bytes")
