#!/usr/bin/env python3
"""The chart on a real single-node Kubernetes: e2e.py IMAGE.tar...

Starts the cluster (start.sh, or kind/start.sh where KAOS_CLUSTER is kind), imports the images, installs the chart, applies KAOS's resources, asks an agent, and
compares what an OTLP receiver in the cluster got with what the API server knows of the pods. Then pods are rolled,
relabelled and deleted, a crowd of them comes and goes (crowd.py), and the chart is upgraded and uninstalled.
`cargo xtask e2e` calls it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import crowd
from cluster import (HERE, PATIENCE, SCRIPTS, SYSTEM, agent_metrics, agent_pid, eventually, kernel_objects, kubectl,
                     left_over, pods, run, say, spans, traces, wait_for_rollouts)

CHART = HERE.parent.parent / "charts/kaos"
RELEASE = "kaos"
AGENT = f"{RELEASE}-node-agent"
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
# What is told of `delegation` where no environment asks for spans of HTTP.
WITHOUT_HTTP = Counter({
    ("supervisor", "agent.agentic_loop"): 1,
    **{("supervisor", f"agent.step.{number}"): 1 for number in (1, 2, 3)},
    ("supervisor", "model.inference"): 3,
    ("supervisor", "tool.add"): 1,
    ("supervisor", "mcp.tool.add"): 1,
    ("supervisor", "delegate.worker"): 1,
    ("worker", "agent.agentic_loop"): 1,
    **{("worker", f"agent.step.{number}"): 1 for number in (1, 2)},
    ("worker", "model.inference"): 2,
    ("worker", "tool.add"): 1,
    ("worker", "mcp.tool.add"): 1,
    ("tools", "tools/call add"): 2,
    # Served, and asked of the provider.
    ("models", "chat scripted"): 10,
})
# What is told of whom a call reached.
PEER = ("service.peer.name", "peer.service", "service.peer.namespace", "k8s.service.name")
# Callers, and the Services that they call for `delegation`.
CALLED = {
    ("supervisor", "modelapi-models"),
    ("supervisor", "mcpserver-tools"),
    ("supervisor", "agent-worker"),
    ("worker", "modelapi-models"),
    ("worker", "mcpserver-tools"),
    ("models", "model"),
}
# Exactly the chart's, as bits of /proc/PID/status (linux/capability.h).
CAPABILITIES = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "PERFMON": 38, "BPF": 39, "CHECKPOINT_RESTORE": 40}


def pod_of(resource):
    """The pod of a resource of team.yaml, when it is the only one and ready."""

    def one():
        found = pods("team", f"kaos.tools/resource={resource}")
        conditions = [it for pod in found for it in pod.get("status", {}).get("conditions", [])]
        is_ready = any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
        return found[0] if len(found) == 1 and is_ready else None

    return eventually(f"one ready pod of {resource}", one)


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


def check_peers(trace):
    """Calls say whom they reached: Services by their names, whatever the address looks like."""
    services = json.loads(kubectl("get", "services", "--all-namespaces", "-o", "json"))["items"]
    by_address = {it["spec"]["clusterIP"]: it["metadata"] for it in services}
    reached = set()
    for span in trace:
        told = [span["attributes"].get(key) for key in PEER]
        metadata = by_address.get(span["attributes"].get("network.peer.address"))
        if span["kind"] != "SPAN_KIND_CLIENT" or metadata is None:
            assert told == [None] * len(PEER), span
            continue
        name = metadata.get("labels", {}).get("kaos.tools/resource", metadata["name"])
        assert told == [name, name, metadata["namespace"], metadata["name"]], span
        reached.add((span["resource"]["service.name"], metadata["name"]))
    return reached


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
    """KAOS's own spans need no setting; those of HTTP are asked for by the environment."""
    team = (HERE / "team.yaml").read_text()
    quiet = re.sub(r"\n *- \{name: OTEL_INCLUDE_HTTP_.*", "", team)
    kubectl("apply", "-f", "-", text=quiet)
    wait_for_rollouts("team", SERVICES)
    trace = ask_until_whole({"tools", "models"}, "without HTTP")
    told = Counter((span["resource"]["service.name"], span["name"]) for span in trace)
    assert told == WITHOUT_HTTP, f"missing: {WITHOUT_HTTP - told}, not expected: {told - WITHOUT_HTTP}"
    check_resources(trace)
    reached = check_peers(trace)
    assert reached == CALLED, reached
    say(f"calls name the {len({service for _, service in reached})} Services that they reached")

    kubectl("apply", "-f", "-", text=team)
    wait_for_rollouts("team", SERVICES)
    trace = ask_until_whole(set(SERVICES.values()), "all is done")
    check_resources(trace)
    assert check_peers(trace) == CALLED
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
    run(str(SCRIPTS / "cp.sh"), "kill-apiserver")
    try:
        eventually("/readyz tells of it", lambda: "the API server does not answer" in readyz())
        assert ask(delegation("alone"), service) == "alone"
    finally:
        run(str(SCRIPTS / "cp.sh"), "start-apiserver")
    eventually("/readyz tells that it is back", lambda: readyz() == "ok")
    eventually("the trace of what was asked meanwhile", lambda: newest(set(SERVICES.values()))[1] > before)
    pod = pod_of("worker")["metadata"]["name"]
    kubectl("-n", "team", "delete", "pod", pod)
    wait_for_rollouts("team", ["agent-worker"])
    check_resources(ask_until_whole(set(SERVICES.values()), "caught up"))
    say("the API server was away: the agent went on, said so, and caught up")


def upgrade(objects):
    """The new agent takes over pods that run already; of the old one nothing is left. It may not look at Services."""
    may_read = ("auth", "can-i", "list", "services", f"--as=system:serviceaccount:{SYSTEM}:{AGENT}")
    assert kubectl(*may_read) == "yes\n" and agent_metrics()["kubernetes_services_connected"] == 1
    before = {pod["metadata"]["uid"] for pod in pods("team")}
    old = agent_pid()
    run("helm", "upgrade", RELEASE, str(CHART), "-n", SYSTEM, "--reuse-values", "--set", "agent.logLevel=DEBUG",
        "--set", "agent.resolveServices=false", "--wait", f"--timeout={PATIENCE}s")
    kubectl("-n", SYSTEM, "rollout", "status", f"daemonset/{AGENT}", f"--timeout={PATIENCE}s")
    assert agent_pid() != old
    eventually("the old agent's kernel side is gone", lambda: not any(left_over(objects).values()))
    trace = ask_until_whole(set(SERVICES.values()), "upgraded")
    check_resources(trace)
    assert not any(key in span["attributes"] for span in trace for key in PEER[3:]), "a Service has a name"
    assert kubectl(*may_read, check=False) == "no\n" and "kubernetes_services" not in agent_metrics()
    assert {pod["metadata"]["uid"] for pod in pods("team")} == before, "pods were restarted"
    say("upgraded: the new agent went on with pods that were running")
    return kernel_objects(agent_pid())


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


def on_this_machine():
    """What a cluster makes on the machine: network namespaces, control groups, processes in them, files."""
    groups = [*Path("/sys/fs/cgroup").glob("kubepods"), *Path("/sys/fs/cgroup").glob("*/kubepods")]
    spaces = [*Path("/run/netns").glob("kaos-*"), *Path("/run/netns").glob("cni-*")]
    files = re.compile("/var/lib/kaos-(cluster|kind)")
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "kubepods" in (process / "cgroup").read_text() or files.search(command):
                processes.append(f"{process.name} {command}")
        except OSError:
            continue
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if files.search(line)]
    return [*map(str, groups + spaces), *processes, *mounts]


def main(images):
    before = on_this_machine()
    subprocess.run([SCRIPTS / "start.sh"], check=True)
    try:
        for image in images:
            subprocess.run([SCRIPTS / "import.sh", image], check=True, stdout=subprocess.DEVNULL)
        kubectl("apply", "-f", str(HERE / "lab.yaml"))
        wait_for_rollouts("lab", ["collector", "model"])
        objects = install()
        first_requests()
        roll()
        relabel()
        delete()
        without_api_server()
        crowd.come_and_go()
        uninstall(upgrade(objects))
    finally:
        if "KAOS_KEEP_CLUSTER" not in os.environ:
            subprocess.run([SCRIPTS / "stop.sh"], check=True)
    if "KAOS_KEEP_CLUSTER" not in os.environ:
        assert on_this_machine() == before, on_this_machine()
    say("passed")


if __name__ == "__main__":
    main(sys.argv[1:])
