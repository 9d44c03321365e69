"""Makes the recordings of the golden replays: record.py AGENT_BINARY [NAME…], as root.

Each scenario starts real workloads (tests/workloads), records them with `kaos-agent record`, drives
them, and leaves testdata/NAME.kaosrec. `cargo xtask setup` makes the environment that the workloads
need; KAOS_PYTHON and KAOS_GO_WORKLOAD name its interpreter and the Go program, as in the tests.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
WORKLOADS = HERE.parent.parent / "tests" / "workloads"
PYTHON = os.environ.get("KAOS_PYTHON", sys.executable)
MODEL_API_KEY = "sk-of-the-tests"


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

    def run(self, service, *command):
        return self.spawn(service, *command).wait(timeout=60)

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


def post(url, body):
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        return error.read()


def agent(scenario):
    """An agent on FastAPI asks a LiteLLM proxy and an MCP server: plain, streaming, failing."""
    model, model_url = scenario.python_server("model", "model.py")
    litellm, litellm_url = scenario.serve(
        "litellm",
        Path(PYTHON).with_name("litellm"),
        *("--config", "litellm.yaml", "--host", "127.0.0.1", "--port", "PORT"),
        MODEL_URL=f"{model_url}/v1",
        LITELLM_MASTER_KEY=MODEL_API_KEY,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    tools, tools_url = scenario.python_server("tools", "tools.py")
    agent, agent_url = scenario.python_server(
        "agent",
        "agent.py",
        MODEL_API_URL=litellm_url,
        MODEL_API_KEY=MODEL_API_KEY,
        MCP_SERVER_URL=f"{tools_url}/mcp",
    )
    processes = (agent, litellm, tools, model)
    scenario.record(*(part for process in processes for part in ("--pid", process.pid)))
    for text, stream in (("what is two and three", False), ("tell me more", True), ("fail", False)):
        messages = [{"role": "user", "content": text}]
        post(f"{agent_url}/v1/chat/completions", {"messages": messages, "stream": stream})
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
    pids = [part for process, _ in servers for part in ("--pid", process.pid)]
    scenario.record(*pids, "--exe", "python3*", "--exe", "node", "--exe", "go-workload-*")
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


SCENARIOS = {function.__name__: function for function in (agent, http, clients, failures)}

if __name__ == "__main__":
    if len(sys.argv) < 2 or not shutil.which(sys.argv[1]):
        sys.exit(__doc__)
    for name in sys.argv[2:] or SCENARIOS:
        with Scenario(sys.argv[1], name) as scenario:
            SCENARIOS[name](scenario)
        print(f"{scenario.file.name}: {scenario.file.stat().st_size} bytes")
