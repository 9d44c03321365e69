"""The cluster that start.sh or kind/start.sh started, and the node agent in it: what the tests here share."""

import ctypes
import json
import os
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What starts and stops the cluster, and runs something in it.
SCRIPTS = HERE / "kind" if os.environ.get("KAOS_CLUSTER") == "kind" else HERE
# Namespace of the chart.
SYSTEM = "kaos-system"
# Seconds; long, since other work may keep both cores busy.
PATIENCE = 300


def run(*command, check=True, text=None):
    """Runs a command inside the cluster's network and returns its output."""
    line = [str(SCRIPTS / "in.sh"), *command]
    done = subprocess.run(line, input=text, capture_output=True, text=True)
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
    uid = pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent")[0]["metadata"]["uid"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_agent = os.readlink(process / "exe").endswith("/kaos-agent")
            if is_agent and uid in (process / "cgroup").read_text().replace("_", "-"):
                return int(process.name)
        except OSError:
            continue
    raise SystemExit("e2e: the node agent has no process")


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


def agent_metrics():
    """What the node agent tells of itself, by name."""
    address = pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent")[0]["status"]["podIP"]
    text = run("curl", "-sS", "--max-time", "10", f"http://{address}:9464/metrics")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {name.removeprefix("kaos_agent_"): float(value) for name, value in lines}
