"""Requests to the team, each under a session of its own, by which it is found again in what was told."""

import json
import time
import uuid
from collections import Counter, namedtuple

from cluster import eventually, kubectl, pods, run, say, spans, traces, wait_for_rollouts

# Deployments of team.yaml with the service names that the operator gives them.
SERVICES = {
    "agent-supervisor": "supervisor",
    "agent-worker": "worker",
    "mcpserver-tools": "tools",
    "modelapi-models": "models",
}
# Calls of models and tools that a request makes: whose, which end, and how often.
CALLS = Counter({
    ("supervisor", "CLIENT", "chat"): 3,
    ("worker", "CLIENT", "chat"): 2,
    # Served, and asked of the provider.
    ("models", "SERVER", "chat"): 5,
    ("models", "CLIENT", "chat"): 5,
    ("supervisor", "CLIENT", "tools/call"): 1,
    ("worker", "CLIENT", "tools/call"): 1,
    ("tools", "SERVER", "tools/call"): 2,
})
# A pod that is ready is behind its Service only some moments later.
RETRY = ("--retry", "60", "--retry-delay", "1", "--retry-connrefused")
# A request: its session, and the nanoseconds between which it was asked. Nobody else asks the team.
Asked = namedtuple("Asked", ("session", "began", "ended"))


def pod_of(resource):
    """The pod of a resource of team.yaml, when it is the only one and ready."""

    def one():
        found = pods("team", f"kaos.tools/resource={resource}")
        conditions = [it for pod in found for it in pod.get("status", {}).get("conditions", [])]
        is_ready = any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
        return found[0] if len(found) == 1 and is_ready else None

    return eventually(f"one ready pod of {resource}", one)


def service_url(name="agent-supervisor"):
    address = kubectl("-n", "team", "get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{address}:8000"


def wait_for_team():
    """All pods are new where they had to be, and reached by those that call them."""
    wait_for_rollouts("team", SERVICES)
    listed = ("-n", "team", "get", "pods", "-l", "kaos.tools/component", "-o", "name")
    eventually("old pods are gone", lambda: len(kubectl(*listed).split()) == len(SERVICES))
    # This path is left out of what is told.
    run("curl", "-sS", "--max-time", "120", *RETRY, "-o", "/dev/null", f"{service_url('agent-worker')}/health")


def ask(answer, url=None):
    """Has the supervisor call a tool, delegate to a worker that calls a tool, and answer so.

    The scripted model (tests/workloads/python/scripted) says what the message tells it to.
    """
    work = [{"call": {"add": {"a": 3, "b": 4}}}, {"say": "the worker has done it"}]
    script = [{"call": {"add": {"a": 1, "b": 2}}}, {"delegate": {"worker": work}}, {"say": answer}]
    body = json.dumps({"model": "agent", "messages": [{"role": "user", "content": json.dumps(script)}]})
    url = url or service_url()
    session, began = f"e2e-{uuid.uuid4()}", time.time_ns()
    said = run("curl", "-sS", "--max-time", "120", *RETRY, f"{url}/v1/chat/completions", "-H", f"x-session-id: {session}",
               "-H", "content-type: application/json", "-d", "@-", text=body)
    got = json.loads(said)["choices"][0]["message"]["content"]
    assert got == answer, got
    return Asked(session, began, time.time_ns())


def calls(trace):
    """Of models and tools, as in CALLS, whatever their spans are called."""
    found = Counter()
    for span in trace:
        operation = span["attributes"].get("mcp.method.name") or span["attributes"].get("gen_ai.operation.name")
        key = (span["resource"].get("service.name"), span["kind"].removeprefix("SPAN_KIND_"), operation)
        found.update([key] if operation in ("chat", "tools/call") else [])
    return found


def wait_until_told(asked, wanted=CALLS):
    """Each call is told once, be it in one trace or in several."""

    def told():
        return calls(span for span in spans() if asked.began <= int(span["startTimeUnixNano"]) <= asked.ended)

    until = time.monotonic() + 60
    while (got := told()) != wanted:
        if time.monotonic() > until:
            raise SystemExit(f"e2e: of {asked.session} are missing {wanted - got}, not expected {got - wanted}")
        time.sleep(0.5)


def served_by(trace):
    """Which services served something."""
    return {span["resource"].get("service.name") for span in trace if span["kind"] == "SPAN_KIND_SERVER"}


def roots(trace):
    ids = {span["spanId"] for span in trace}
    return [span for span in trace if span.get("parentSpanId", "") not in ids]


def trace_of(asked):
    """The spans that share a trace with the supervisor's run for this session."""
    for trace in traces().values():
        for span in trace:
            is_run = span["attributes"].get("session.id") == asked.session
            if is_run and span["resource"].get("service.name") == "supervisor":
                return trace
    return []


def ask_whole(answer, served=frozenset(SERVICES.values()), untold=()):
    """Asks, and returns the one trace that tells it all, in which exactly these services served.

    The very first request is told in full. A probe of the kubelet that is served in the same moment may leave it open
    which of the two caused a call; the agent then does not guess, and the trace comes in parts. Twice in a row that is no
    coincidence.
    """
    wanted = Counter({key: count for key, count in CALLS.items() if key[0] not in untold})
    for attempt in (1, 2):
        asked = ask(answer)
        wait_until_told(asked, wanted)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            trace = trace_of(asked)
            if len(roots(trace)) == 1 and served_by(trace) == served and calls(trace) == wanted:
                say(f"\"{answer}\": one trace of {len(trace)} spans over {', '.join(sorted(served))} (request {attempt})")
                return trace
            time.sleep(1)
        say(f"\"{answer}\": not one trace: {len(trace)} spans, {len(roots(trace))} roots, served by {served_by(trace)}, "
            f"missing {wanted - calls(trace)}")
    raise SystemExit("e2e: no whole trace")
