#!/usr/bin/env python3
"""The chart on a real single-node Kubernetes: e2e.py IMAGE.tar...

Starts the cluster (start.sh), imports the images, installs the chart, applies KAOS's resources, asks an agent, and
compares what an OTLP receiver in the cluster got with what the API server knows of the pods. Then pods are rolled,
relabelled and deleted, and the chart is uninstalled. `cargo xtask e2e` calls it.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHART = HERE.parent.parent / "charts/kaos"
SYSTEM = "kaos-system"
RELEASE = "kaos"
AGENT = f"{RELEASE}-node-agent"
# Seconds; long, since other work may keep both cores busy.
PATIENCE = 300
VALUES = [
    "agent.image.repository=localhost/kaos-node-agent",
    "agent.image.tag=e2e",
    "operator.image.repository=localhost/kaos-operator",
    "operator.image.tag=e2e",
    "telemetry.source=node",
    "telemetry.endpoint=http://collector.lab:4317",
    "defaultImages.agent=localhost/kaos-workloads/agent:1",
    "defaultImages.litellm=localhost/kaos-workloads/litellm:1",
]
# Deployments of team.yaml with the service names that the operator gives them.
SERVICES = {
    "agent-supervisor": "supervisor",
    "agent-worker": "worker",
    "mcpserver-tools": "tools",
    "modelapi-models": "models",
}
# Exactly the chart's, as bits of /proc/PID/status (linux/capability.h).
CAPABILITIES = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "PERFMON": 38, "BPF": 39, "CHECKPOINT_RESTORE": 40}


def run(*command, check=True, text=None):
    """Runs a command inside the cluster's network and returns its output."""
    line = [str(HERE / "in.sh"), *command]
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


def pod_of(resource):
    """The pod of a resource of team.yaml, when it is the only one and ready."""

    def one():
        found = pods("team", f"kaos.tools/resource={resource}")
        conditions = [it for pod in found for it in pod.get("status", {}).get("conditions", [])]
        is_ready = any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
        return found[0] if len(found) == 1 and is_ready else None

    return eventually(f"one ready pod of {resource}", one)


def wait_for_rollouts(namespace, names):
    for name in names:
        # The operator makes the Deployment some time after its resource.
        eventually(name, lambda: kubectl("-n", namespace, "get", "deployment", name, check=False))
        kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={PATIENCE}s")


def spans():
    """All spans that the collector printed, each with its resource's attributes."""
    lines = kubectl("-n", "lab", "logs", "deployment/collector", "--tail=-1").splitlines()
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


def service_url():
    address = kubectl("-n", "team", "get", "service", "agent-supervisor", "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{address}:8000"


def ask(script, url=None):
    """Asks the supervisor what its model answers with this script (tests/workloads/python/scripted)."""
    message = {"role": "user", "content": json.dumps(script)}
    body = json.dumps({"model": "agent", "messages": [message]})
    url = url or service_url()
    # A ready pod is behind its Service only some moments later.
    retry = ["--retry", "60", "--retry-delay", "1", "--retry-connrefused"]
    answer = run("curl", "-sS", "--max-time", "120", *retry, f"{url}/v1/chat/completions",
                 "-H", "content-type: application/json", "-d", "@-", text=body)
    return json.loads(answer)["choices"][0]["message"]["content"]


def delegation(answer):
    """A tool call, a delegation whose worker calls a tool, and an answer."""
    work = [{"call": {"add": {"a": 3, "b": 4}}}, {"say": "the worker has done it"}]
    return [{"call": {"add": {"a": 1, "b": 2}}}, {"delegate": {"worker": work}}, {"say": answer}]


def services(trace):
    """Which services of a trace served something."""
    return {span["resource"].get("service.name") for span in trace if span["kind"] == "SPAN_KIND_SERVER"}


def roots(trace):
    ids = {span["spanId"] for span in trace}
    return [span for span in trace if span.get("parentSpanId", "") not in ids]


def whole_traces(expected):
    """Traces with one root, the supervisor's, in which exactly these services served."""
    for trace in traces().values():
        top = roots(trace)
        is_whole = len(top) == 1 and top[0]["resource"].get("service.name") == "supervisor"
        if is_whole and services(trace) == expected:
            yield trace


def newest(expected):
    """The whole trace that began last, and how many there are."""
    found = sorted(whole_traces(expected), key=lambda trace: min(int(span["startTimeUnixNano"]) for span in trace))
    return (found[-1], len(found)) if found else (None, 0)


def ask_until_whole(expected, answer):
    """Asks, until a whole trace of these services has come in that was not there before.

    One request is the rule. A probe of the kubelet that is served in the same moment may leave it open which of the
    two caused a call; the agent then does not guess, and the trace comes in parts.
    """
    _, before = newest(expected)
    for attempt in range(1, 11):
        got = ask(delegation(answer))
        assert got == answer, got
        until = time.monotonic() + 20
        while time.monotonic() < until:
            trace, count = newest(expected)
            if count > before:
                say(f"one trace of {len(trace)} spans over {', '.join(sorted(expected))} (request {attempt})")
                return trace
            time.sleep(1)
    for trace in traces().values():
        say(f"trace of {len(trace)} spans: {sorted(services(trace), key=str)}, {len(roots(trace))} roots")
    raise SystemExit("e2e: no whole trace")


def check_resources(trace):
    """Each span names the pod that the API server knows."""
    for name in services(trace):
        pod = pod_of(name)
        container = pod["spec"]["containers"][0]
        deployment = pod["metadata"]["ownerReferences"][0]["name"].rsplit("-", 1)[0]
        expected = {
            "service.namespace": "team",
            "kaos.resource.name": name,
            "k8s.namespace.name": "team",
            "k8s.pod.name": pod["metadata"]["name"],
            "k8s.pod.uid": pod["metadata"]["uid"],
            "k8s.node.name": pod["spec"]["nodeName"],
            "host.name": pod["spec"]["nodeName"],
            "k8s.deployment.name": deployment,
            "k8s.container.name": container["name"],
            "container.id": pod["status"]["containerStatuses"][0]["containerID"].split("://")[1],
        }
        told = [span["resource"] for span in trace if span["resource"].get("service.name") == name]
        for resource in told:
            found = {key: resource.get(key) for key in expected}
            assert found == expected, f"{name}: {found} is not {expected}"


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


def check_capabilities(pid):
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    expected = sum(1 << bit for bit in CAPABILITIES.values())
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert int(status[kind], 16) == expected, f"{kind} is {status[kind]}, not {expected:016x}"
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", status


def install():
    values = [argument for value in VALUES for argument in ("--set-string", value)]
    run("helm", "install", RELEASE, str(CHART), "-n", SYSTEM, "--create-namespace", *values,
        "--set", "telemetry.enabled=true", "--wait", f"--timeout={PATIENCE}s")
    said = run("helm", "test", RELEASE, "-n", SYSTEM, "--logs", f"--timeout={PATIENCE}s")
    assert "kaos-agent can work here" in said and "with the limits" not in said, said
    pid = agent_pid()
    check_capabilities(pid)
    say("installed; `doctor` is content with the chart's five capabilities")
    return kernel_objects(pid)


def first_requests():
    kubectl("apply", "-f", str(HERE / "team.yaml"))
    wait_for_rollouts("team", SERVICES)
    trace = ask_until_whole(set(SERVICES.values()), "all is done")
    check_resources(trace)
    # The kubelet's probes are the first requests of a pod. LiteLLM's are not excluded by its settings.
    pod = pod_of("models")["metadata"]["name"]
    served = [span for span in spans()
              if span["resource"].get("k8s.pod.name") == pod and span["kind"] == "SPAN_KIND_SERVER"]
    assert served, "nothing of the first pod"


def roll():
    before = pod_of("worker")["metadata"]["name"]
    kubectl("-n", "team", "rollout", "restart", "deployment/agent-worker")
    wait_for_rollouts("team", ["agent-worker"])
    after = pod_of("worker")["metadata"]["name"]
    assert before != after
    check_resources(ask_until_whole(set(SERVICES.values()), "rolled"))
    say(f"{before} was replaced by {after}, which was told of from its first request")


def relabel():
    pod = pod_of("tools")["metadata"]["name"]
    kubectl("-n", "team", "label", "pod", pod, "kaos.tools/telemetry=disabled", "--overwrite")
    ask_until_whole(set(SERVICES.values()) - {"tools"}, "without tools")
    kubectl("-n", "team", "label", "pod", pod, "kaos.tools/telemetry=enabled", "--overwrite")
    check_resources(ask_until_whole(set(SERVICES.values()), "with tools"))
    say(f"{pod} was told of while it had the label")


def delete():
    pod = pod_of("supervisor")["metadata"]["name"]
    kubectl("-n", "team", "delete", "pod", pod)
    wait_for_rollouts("team", ["agent-supervisor"])
    check_resources(ask_until_whole(set(SERVICES.values()), "deleted"))


def without_api_server():
    """The agent goes on with the pods that it knows, says so, and catches up."""
    address = pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent")[0]["status"]["podIP"]
    service = service_url()

    def readyz():
        return run("curl", "-sS", "--max-time", "5", f"http://{address}:9464/readyz", check=False)

    assert readyz() == "ok", readyz()
    _, before = newest(set(SERVICES.values()))
    run(str(HERE / "cp.sh"), "kill-apiserver")
    try:
        eventually("/readyz tells of it", lambda: "the API server does not answer" in readyz())
        assert ask(delegation("alone"), service) == "alone"
    finally:
        run(str(HERE / "cp.sh"), "start-apiserver")
    eventually("/readyz tells that it is back", lambda: readyz() == "ok")
    eventually("the trace of what was asked meanwhile", lambda: newest(set(SERVICES.values()))[1] > before)
    pod = pod_of("worker")["metadata"]["name"]
    kubectl("-n", "team", "delete", "pod", pod)
    wait_for_rollouts("team", ["agent-worker"])
    check_resources(ask_until_whole(set(SERVICES.values()), "caught up"))
    say("the API server was away: the agent went on, said so, and caught up")


def uninstall(objects):
    kubectl("delete", "-f", str(HERE / "team.yaml"), "--wait=true")
    run("helm", "uninstall", RELEASE, "-n", SYSTEM, "--wait", "--cascade", "foreground", f"--timeout={PATIENCE}s")
    eventually("no pod is left", lambda: not kubectl("-n", SYSTEM, "get", "pods", "-l", f"app.kubernetes.io/instance={RELEASE}",
                                                     "-o", "name").replace(f"pod/{AGENT}-doctor\n", ""))
    assert all(objects.values()), objects
    eventually("the kernel's side is gone", lambda: not any(left_over(objects).values()))
    counts = ", ".join(f"{len(ids)} {kind.removesuffix('_id')}s" for kind, ids in objects.items())
    say(f"uninstalled: {counts} were in the kernel, none is left")
    kept = kubectl("get", "crd", "-o", "name").split()
    assert kept == [f"customresourcedefinition.apiextensions.k8s.io/{name}.kaos.tools"
                    for name in ("agents", "mcpservers", "modelapis")], kept


def main(images):
    subprocess.run([HERE / "start.sh"], check=True)
    try:
        for image in images:
            subprocess.run([HERE / "import.sh", image], check=True, stdout=subprocess.DEVNULL)
        kubectl("apply", "-f", str(HERE / "lab.yaml"))
        wait_for_rollouts("lab", ["collector", "model"])
        objects = install()
        first_requests()
        roll()
        relabel()
        delete()
        without_api_server()
        uninstall(objects)
    finally:
        if "KAOS_KEEP_CLUSTER" not in os.environ:
            subprocess.run([HERE / "stop.sh"], check=True)
    say("passed")


if __name__ == "__main__":
    main(sys.argv[1:])
