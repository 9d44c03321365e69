"""A hundred short-lived pods, spread over ten namespaces that each have a collector of their own."""

import json
import string
from collections import Counter
from datetime import datetime
from urllib.parse import urlsplit

from cluster import HERE, agent_metrics, eventually, kubectl, say, spans, wait_for_rollouts

PLACES = [f"place-{number}" for number in range(10)]
PODS = 10
# Requests that each pod sends to itself.
REQUESTS = 3
WAVES = 2
# What may be allocated more at the end of one wave than of the one before, when all is forgotten. A hundred pods whose data stayed would take several MiB.
MOST_GROWTH = 1 << 20
CPU = "process_cpu_seconds_total"
# What there is of the pods, in the agent's own words: processes are remembered for a minute after they ended
# (another where that was not seen), and their metrics are exported a last time within a minute after that.
LEVELS = ("kubernetes_pods", "identity_processes", "exchanges_open", "export_services",
          "export_metric_tasks")


def manifests(place):
    text = string.Template((HERE / "crowd.yaml").read_text())
    return text.substitute(PLACE=place, PODS=PODS, REQUESTS=REQUESTS)


def visitors(place):
    """The pods of the Job, which are kept until it is deleted."""
    return json.loads(kubectl("-n", place, "get", "pods", "-l", "job-name=visitors", "-o", "json"))["items"]


def expected(pods):
    """What is to be told of these pods."""
    return Counter((pod["metadata"]["uid"], "visitor", kind, f"/{pod['metadata']['name']}/{number}")
                   for pod in pods for kind in ("SPAN_KIND_CLIENT", "SPAN_KIND_SERVER") for number in range(REQUESTS))


def told(place):
    """What a namespace's collector got, whoever sent it."""

    def path(span):
        attributes = span["attributes"]
        return attributes.get("url.path") or urlsplit(attributes.get("url.full", "")).path

    def place_of(span):
        return tuple(span["resource"].get(f"k8s.{it}") for it in ("pod.uid", "container.name"))

    return Counter((*place_of(span), span["kind"], path(span)) for span in spans(place))


def seconds(pods):
    """From the first pod's creation to the end of the last."""
    moment = datetime.fromisoformat
    made = [moment(pod["metadata"]["creationTimestamp"]) for pod in pods]
    ended = [moment(status["state"]["terminated"]["finishedAt"])
             for pod in pods for status in pod["status"]["containerStatuses"]]
    return (max(ended) - min(made)).seconds


def losses(metrics):
    """Counters of what was lost, and of what was not understood."""
    # Files of programs that ended before they were looked at (`uprobes_unreadable`) are no loss; nor are news of what
    # any process of this machine maps (`uprobes_lost_mappings`), since all that is observed is then looked at again.
    words = ("lost", "full", "dropped", "refused", "rejected", "evicted", "unreadable_records", "unknown")
    made_good = "uprobes_lost_mappings_total"
    return {name: value for name, value in metrics.items()
            if name.endswith("_total") and name != made_good and any(it in name for it in words)}


def wave(seen):
    """All pods come and go. Returns what each namespace's pods were, with those of earlier waves."""
    for place in PLACES:
        kubectl("apply", "-f", "-", text=manifests(place))
    for place in PLACES:
        wait_for_rollouts(place, ["collector"])
    for place in PLACES:
        kubectl("-n", place, "patch", "job", "visitors", "-p", '{"spec": {"suspend": false}}')
    for place in PLACES:
        kubectl("-n", place, "wait", "job/visitors", "--for=condition=Complete", "--timeout=300s")
    everyone = {place: visitors(place) for place in PLACES}
    took = seconds([pod for pods in everyone.values() for pod in pods])
    for place, pods in everyone.items():
        assert len(pods) == PODS, f"{place} had {len(pods)} pods"
        seen[place] += expected(pods)
        eventually(f"all of {place} is told", lambda: told(place).total() >= seen[place].total(), patience=60)
        kubectl("-n", place, "delete", "job", "visitors", "--wait=false")
    eventually("no visitor is left", lambda: not any(visitors(place) for place in PLACES))
    return took


def come_and_go():
    """None is missed, none is taken for another, no span reaches another's collector, and the agent grows no more."""
    before = agent_metrics()
    seen = {place: Counter() for place in PLACES}
    used = []
    for number in range(1, WAVES + 1):
        cpu = agent_metrics()[CPU]
        took = wave(seen)
        cpu = agent_metrics()[CPU] - cpu
        for level in LEVELS:
            eventually(f"{level} is as before", lambda: agent_metrics()[level] <= before[level])
        after = agent_metrics()
        used.append(after["process_heap_used_bytes"])
        mebibytes = [after[f"process_{it}_bytes"] / (1 << 20) for it in ("heap_used", "heap_free", "resident_memory")]
        say(f"wave {number}: {PODS * len(PLACES)} pods came and went in {took} s; the agent took {cpu:.1f} s of a processor, has allocated "
            "{:.2f} MiB, keeps {:.2f} MiB that were freed, and {:.1f} MiB are resident".format(*mebibytes))
    for place in PLACES:
        got = told(place)
        assert got == seen[place], f"{place}: missing {seen[place] - got}, not expected {got - seen[place]}"
    lost = {name: value - before.get(name, 0) for name, value in losses(agent_metrics()).items()}
    assert not any(lost.values()), {name: value for name, value in lost.items() if value}
    assert used[-1] - used[0] < MOST_GROWTH, used
    say(f"{sum(seen[place].total() for place in PLACES)} spans, each at the collector of its own namespace")
    kubectl("delete", "namespace", *PLACES, "--wait=false")
