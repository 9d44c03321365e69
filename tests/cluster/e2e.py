#!/usr/bin/env python3
"""The chart on a real single-node Kubernetes: e2e.py IMAGE.tar...

Starts the cluster (start.sh, or kind/start.sh where KAOS_CLUSTER is kind), imports the images, installs the chart, applies KAOS's resources, asks an agent, and
compares what an OTLP receiver in the cluster got with what the API server knows of the pods. Then pods are rolled,
relabelled and deleted, containers restarted (pair.py), a crowd of pods comes and goes (crowd.py), and the chart is
upgraded and uninstalled, by the commands of the documentation (documented.py). `cargo xtask e2e` calls it.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import crowd
import documented
import pair
from asking import SERVICES, ask, ask_whole, pod_of, served_by, service_url, wait_for_team, wait_until_told
from cluster import (HERE, KIND, PATIENCE, SCRIPTS, SYSTEM, agent_address, agent_metrics, agent_pid, eventually,
                     kernel_objects, kubectl, left_over, main_process, on_the_node, pods, run, say, wait_for_rollouts)
from documented import GETTING_STARTED, TROUBLESHOOTING

CHART = HERE.parent.parent / "charts/kaos"
RELEASE = "kaos"
AGENT = f"{RELEASE}-node-agent"
# What is not in the documented command.
VALUES = [
    "telemetry.source=node",
    "telemetry.endpoint=http://collector.lab:4317",
    "defaultImages.agent=localhost/kaos-workloads/agent:1",
    "defaultImages.litellm=localhost/kaos-workloads/litellm:1",
]
# What is told of a request where no environment asks for spans of HTTP.
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
# Callers, and the Services that they call for a request.
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


def check_resources(trace):
    """Each span names the pod that the API server knows."""
    for name in served_by(trace):
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
    # Other values than those that are installed; a dry run asks the API server and changes nothing.
    for file in ("README.md", documented.CHART):
        documented.run_one(file, "helm install", "--dry-run=server")
    documented.run_one(GETTING_STARTED, "helm install", *values, "--wait", f"--timeout={PATIENCE}s")
    notes = run("helm", "get", "notes", RELEASE, "-n", SYSTEM)
    said = "".join(documented.shell(line.strip()) for line in notes.splitlines() if line.startswith("  "))
    nodes = len(kubectl("get", "nodes", "-o", "name").split())
    assert said.count("kaos-agent can work here") == nodes and "with the limits" not in said, said
    assert not pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent-doctor"), "a Pod of `helm test` is left"
    pid = agent_pid()
    check_capabilities(pid)
    limit = pods(SYSTEM, "app.kubernetes.io/name=kaos-node-agent")[0]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert limit == "512Mi" and agent_metrics()["memory_limit_bytes"] == 512 << 20, agent_metrics()["memory_limit_bytes"]
    say("installed; `doctor` is content with the chart's five capabilities")
    return kernel_objects(pid)


def first_requests():
    """KAOS's own spans need no setting; those of HTTP are asked for by the environment."""
    team = (HERE / "team.yaml").read_text()
    quiet = re.sub(r"\n *- \{name: OTEL_INCLUDE_HTTP_.*", "", team)
    kubectl("apply", "-f", "-", text=quiet)
    wait_for_team()
    trace = ask_whole("without HTTP", served={"tools", "models"})
    told = Counter((span["resource"]["service.name"], span["name"]) for span in trace)
    assert told == WITHOUT_HTTP, f"missing: {WITHOUT_HTTP - told}, not expected: {told - WITHOUT_HTTP}"
    check_resources(trace)
    reached = check_peers(trace)
    assert reached == CALLED, reached
    say(f"calls name the {len({service for _, service in reached})} Services that they reached")

    kubectl("apply", "-f", "-", text=team)
    wait_for_team()
    trace = ask_whole("all is done")
    check_resources(trace)
    assert check_peers(trace) == CALLED


def troubleshooting():
    """What the documentation asks where something is missing."""
    pod = pod_of("supervisor")
    process = on_the_node(main_process(pod))
    in_pod = ("kubectl -n kaos-system exec", "kaos-agent")
    said = documented.run_one(TROUBLESHOOTING, *in_pod, "doctor")
    assert "kaos-agent can work here" in said, said
    said = documented.run_one(TROUBLESHOOTING, *in_pod, "explain", "--pid", process)
    assert "OTEL_SERVICE_NAME=supervisor" in said and "traced    yes" in said, said
    if KIND:
        listed = documented.run_one(TROUBLESHOOTING, "docker exec")
        assert re.search(rf"^\S+ +{process} .*python", listed, re.MULTILINE), listed
    assert "ready" in documented.run_one(TROUBLESHOOTING, "kubectl -n kaos-system logs")
    name = pod["metadata"]["name"]
    said = documented.run_one(TROUBLESHOOTING, "kubectl get pod NAME", "-n", "team", NAME=name)
    assert "kaos.tools/telemetry=enabled" in said, said


def roll():
    before = pod_of("worker")["metadata"]["name"]
    kubectl("-n", "team", "rollout", "restart", "deployment/agent-worker")
    wait_for_team()
    after = pod_of("worker")["metadata"]["name"]
    assert before != after
    check_resources(ask_whole("rolled"))
    say(f"{before} was replaced by {after}, which was told of from its first request")


def relabel():
    pod = pod_of("tools")["metadata"]["name"]
    kubectl("-n", "team", "label", "pod", pod, "kaos.tools/telemetry=disabled", "--overwrite")
    untold = {"tools"}

    def is_observed(count):
        return agent_metrics()["kubernetes_pods"] == count

    eventually("one pod less is observed", lambda: is_observed(len(SERVICES) - 1))
    ask_whole("without tools", served=set(SERVICES.values()) - untold, untold=untold)
    documented.run_one(GETTING_STARTED, "kubectl label pod NAME", "-n", "team", "--overwrite", NAME=pod)
    eventually("it is observed again", lambda: is_observed(len(SERVICES)))
    check_resources(ask_whole("with tools"))
    say(f"{pod} was told of while it had the label")


def delete():
    pod = pod_of("supervisor")["metadata"]["name"]
    kubectl("-n", "team", "delete", "pod", pod)
    wait_for_team()
    check_resources(ask_whole("deleted"))


def without_api_server():
    """The agent goes on with the pods that it knows, says so, and catches up."""
    address = agent_address()
    service = service_url()

    def readyz():
        return run("curl", "-sS", "--max-time", "5", f"http://{address}/readyz", check=False)

    assert readyz() == "ok", readyz()
    assert agent_metrics(address)["kubernetes_connected"] == 1
    run(str(SCRIPTS / "cp.sh"), "kill-apiserver")
    try:
        eventually("/readyz tells of it", lambda: "the API server does not answer" in readyz())
        assert agent_metrics(address)["kubernetes_connected"] == 0
        asked = ask("alone", service)
    finally:
        run(str(SCRIPTS / "cp.sh"), "start-apiserver")
    eventually("/readyz tells that it is back", lambda: readyz() == "ok")
    assert agent_metrics(address)["kubernetes_connected"] == 1
    wait_until_told(asked)
    pod = pod_of("worker")["metadata"]["name"]
    kubectl("-n", "team", "delete", "pod", pod)
    wait_for_team()
    check_resources(ask_whole("caught up"))
    say("the API server was away: the agent went on, said so, and caught up")


def upgrade(objects):
    """The new agent takes over pods that run already; of the old one nothing is left. It may not look at Services."""
    may_read = (TROUBLESHOOTING, "kubectl auth can-i list services")
    assert documented.run_one(*may_read) == "yes\n" and agent_metrics()["kubernetes_services_connected"] == 1
    before = {pod["metadata"]["uid"] for pod in pods("team")}
    old = agent_pid()
    run("helm", "upgrade", RELEASE, str(CHART), "-n", SYSTEM, "--reuse-values", "--set", "agent.logLevel=DEBUG",
        "--set", "agent.resolveServices=false", "--wait", f"--timeout={PATIENCE}s")
    kubectl("-n", SYSTEM, "rollout", "status", f"daemonset/{AGENT}", f"--timeout={PATIENCE}s")
    assert agent_pid() != old
    eventually("the old agent's kernel side is gone", lambda: not any(left_over(objects).values()))
    trace = ask_whole("upgraded")
    check_resources(trace)
    assert not any(key in span["attributes"] for span in trace for key in PEER[3:]), "a Service has a name"
    assert documented.run_one(*may_read, check=False) == "no\n" and "kubernetes_services" not in agent_metrics()
    assert {pod["metadata"]["uid"] for pod in pods("team")} == before, "pods were restarted"
    say("upgraded: the new agent went on with pods that were running")
    return kernel_objects(agent_pid())


def uninstall(objects):
    """While pods are traced. They go on, and nothing of the agent is left; the definitions are, until they are deleted."""
    before = containers("team")
    assert len(before) == len(SERVICES) and all(objects.values()), (before, objects)
    documented.run_one(GETTING_STARTED, "helm uninstall")
    of_release = ("-n", SYSTEM, "get", "pods", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name")
    eventually("no pod is left", lambda: not kubectl(*of_release))
    eventually("the kernel's side is gone", lambda: not any(left_over(objects).values()))
    counts = ", ".join(f"{len(ids)} {kind.removesuffix('_id')}s" for kind, ids in objects.items())
    say(f"uninstalled: {counts} were in the kernel, none is left")
    ask("alone again")
    assert containers("team") == before, "the traced pods did not stay as they were"
    kept = kubectl("get", "crd", "-o", "name").split()
    assert kept == [f"customresourcedefinition.apiextensions.k8s.io/{name}.kaos.tools"
                    for name in ("agents", "mcpservers", "modelapis")], kept
    documented.run_one(GETTING_STARTED, "kubectl delete crd")
    eventually("the team is gone with its resources", lambda: not pods("team"))


def containers(namespace):
    """Those that run, by their ids."""
    return {status["containerID"] for pod in pods(namespace) for status in pod["status"]["containerStatuses"]}


def definitions_by_hand():
    """helm takes over definitions that were applied before."""
    documented.run_one(documented.CHART, "kaos-operator crds")
    install = f"helm install {RELEASE} {CHART} -n {SYSTEM} --set agent.enabled=false,operator.replicas=0"
    refused = documented.refused(install)
    assert "cannot be imported" in refused, refused
    documented.run_one(documented.CHART, "for name in agents mcpservers modelapis")
    documented.shell(install)
    documented.run_one(GETTING_STARTED, "helm uninstall")


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


def load(images):
    """Ours by the documented commands, and the workloads."""
    ours = images[0].parent
    # Where the programs are that the images were made of.
    os.environ["PATH"] += f":{ours.parent}/debug"
    for name in ("kaos-node-agent", "kaos-operator"):
        beginning = "kind load image-archive" if KIND else "ctr -n k8s.io images import"
        documented.run_one(GETTING_STARTED, f"{beginning} target/images/{name}.tar", **{"target/images": str(ours)})
    for image in images:
        if image.stem not in ("kaos-node-agent", "kaos-operator"):
            subprocess.run([SCRIPTS / "import.sh", image], check=True, stdout=subprocess.DEVNULL)


def main(images):
    before = on_this_machine()
    subprocess.run([SCRIPTS / "start.sh"], check=True)
    try:
        load(images)
        kubectl("apply", "-f", str(HERE / "lab.yaml"))
        wait_for_rollouts("lab", ["collector", "model"])
        objects = install()
        first_requests()
        troubleshooting()
        roll()
        relabel()
        delete()
        pair.come_and_go()
        without_api_server()
        crowd.come_and_go()
        uninstall(upgrade(objects))
        definitions_by_hand()
        documented.check()
    finally:
        if "KAOS_KEEP_CLUSTER" not in os.environ:
            subprocess.run([SCRIPTS / "stop.sh"], check=True)
    if "KAOS_KEEP_CLUSTER" not in os.environ:
        assert on_this_machine() == before, on_this_machine()
    say("passed")


if __name__ == "__main__":
    main([Path(image).resolve() for image in sys.argv[1:]])
