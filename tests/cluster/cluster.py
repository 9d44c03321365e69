"""The cluster that start.sh or kind/start.sh started, and the node agent in it: what the tests here share."""

import ctypes
import json
import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KIND = os.environ.get("KAOS_CLUSTER") == "kind"
# What starts and stops the cluster, and runs something in it.
SCRIPTS = HERE / "kind" if KIND else HERE
# Namespace of the chart.
SYSTEM = "kaos-system"
# Seconds; long, since other work may keep both cores busy.
PATIENCE = 300


def run(*command, check=True, text=None):
    """Runs a command inside the cluster's network and returns its output."""
    line = [str(SCRIPTS / "in.sh"), *command]
    done = subprocess.run(line, input=text, capture_output=True, text=True, cwd=ROOT)
    if check and done.returncode != 0:
        raise SystemExit(f"e2e: {' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def kubectl(*arguments, **options):
    return run("kubectl", *arguments, **options)


def say(what):
    print(f"e2e: {what}", flush=True)


def eventually(what, check, patience=PATIENCE):
    """Waits until `check` gives something that is true, and returns it."""
    until = time.monotonic() + patience
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > until:
            raise SystemExit(f"e2e: not within {patience} s: {what}")
        time.sleep(0.5)


def pods(namespace, selector=""):
    """Pods that are not being deleted."""
    listed = json.loads(kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json"))["items"]
    return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]


def wait_for_rollouts(namespace, names):
    for name in names:
        # The operator makes the Deployment some time after its resource.
        eventually(name, lambda: kubectl("-n", namespace, "get", "deployment", name, check=False))
        kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE}s")


def spans(namespace="lab"):
    """All spans that a namespace's collector printed, each with its resource's attributes."""
    lines = kubectl("-n", namespace, "logs", "deployment/collector", "--tail=-1").splitlines()
    for line in lines:
        for by_resource in json.loads(line).get("resourceSpans", []):
            attributes = by_resource["resource"].get("attributes", [])
            resource = {it["key"]: next(iter(it["value"].values())) for it in attributes}
            for scope in by_resource.get("scopeSpans", []):
                for span in scope["spans"]:
                    keys = {it["key"]: next(iter(it["value"].values())) for it in span.get("attributes", [])}
                    yield {**span, "resource": resource, "attributes": keys}


def traces():
    """Spans by trace."""
    found = {}
    for span in spans():
        found.setdefault(span["traceId"], []).append(span)
    return found


def agent_pid():
    """The node agent's process, as this machine knows it."""
    return main_process(pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent")[0])


def main_process(pod, container=None):
    """The process that a container runs, by default the pod's first, as this machine knows it."""
    statuses = pod["status"]["containerStatuses"]
    status = next(it for it in statuses if container in (None, it["name"]))
    ident = status["containerID"].split("://")[1]
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if ident in (process / "cgroup").read_text():
                # Behind the name, which may hold anything.
                parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    first = [process for process, parent in parents.items() if parent not in parents]
    if len(first) != 1:
        raise SystemExit(f"e2e: {status['name']} runs {len(first)} processes that it did not start itself")
    return first[0]


def on_the_node(process):
    """A process's number in the node, which is a container of its own in kind."""
    status = Path(f"/proc/{process}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return numbers[1 if KIND else 0]


def kernel_objects(pid):
    """Numbers of the BPF programs, maps and links that a process holds."""
    found = {"prog_id": set(), "map_id": set(), "link_id": set()}
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        for line in file.read_text().splitlines():
            key, _, value = line.partition(":")
            if key in found:
                found[key].add(int(value))
    return found


def existing(command):
    """Numbers of all BPF objects of a kind on this machine."""
    bpf = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = (ctypes.c_uint32 * 3)(0, 0, 0)
    found = set()
    while libc.syscall(bpf, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0:
        found.add(attributes[1])
        attributes[0] = attributes[1]
    return found


def left_over(objects):
    """Those that still exist."""
    commands = {"prog_id": 11, "map_id": 12, "link_id": 31}  # BPF_*_GET_NEXT_ID
    return {kind: sorted(objects[kind] & existing(commands[kind])) for kind in objects}


def agent_address():
    """Where the node agent tells of itself."""
    return pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent")[0]["status"]["podIP"] + ":9464"


def agent_metrics(address=None):
    """What the node agent tells of itself, by name."""
    text = run("curl", "-sS", "--max-time", "10", f"http://{address or agent_address()}/metrics")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("kaos_agent_"): float(value) for name, value in lines}
