"""A pod of two containers, one of which is restarted, and a third that joins them for a while."""

import os
import signal
from datetime import datetime

from cluster import HERE, PATIENCE, eventually, kubectl, main_process, pods, run, say, spans

POD = ("-n", "team", "pod/pair")
PORTS = {"left": 8001, "right": 8002}
# What they serve; `http.server` answers 200 with it.
PROBED = {"left": "/tools.py", "right": "/model.py"}


def pod():
    found = pods("team", "app=pair")
    return found[0] if found else None


def containers():
    """States of the containers by their names, with those that joined later."""
    status = pod()["status"]
    every = status["containerStatuses"] + status.get("ephemeralContainerStatuses", [])
    return {it["name"]: it for it in every}


def served(container, path):
    """What was told of such requests, whichever container is said to have served them."""
    name = pod()["metadata"]["name"]
    return [span for span in spans() if span["kind"] == "SPAN_KIND_SERVER" and span["attributes"].get("url.path") == path
            and span["resource"].get("k8s.pod.name") == name
            and container in (None, span["resource"].get("k8s.container.name"))]


def check_first(container):
    """The probe that made it ready is told of."""
    condition = next(it for it in pod()["status"]["conditions"] if it["type"] == "ContainersReady")
    # The API server's times have no fractions.
    ready = datetime.fromisoformat(condition["lastTransitionTime"]).timestamp() + 1

    def first():
        began = [int(span["startTimeUnixNano"]) / 1e9 for span in served(container, PROBED[container])]
        return min(began, default=ready) < ready

    eventually(f"the probe that made {container} ready is told", first)


def ask_once(container, path, restarts):
    """One request of a path of its own is told once, as that container's."""
    address = pod()["status"]["podIP"]
    run("curl", "-sS", "-o", "/dev/null", f"http://{address}:{PORTS[container]}{path}")
    told = eventually(f"{path} is told", lambda: served(None, path))
    state = containers()[container]
    expected = {
        "service.name": "pair",
        "k8s.namespace.name": "team",
        "k8s.pod.uid": pod()["metadata"]["uid"],
        "k8s.container.name": container,
        "k8s.container.restart_count": str(restarts),
        "container.id": state["containerID"].split("://")[1],
        "service.instance.id": f"team.pair.{container}",
    }
    assert len(told) == 1, told
    found = {key: told[0]["resource"].get(key) for key in expected}
    assert found == expected, f"{path}: {found} is not {expected}"


def restart(container):
    """Kills what it runs; the kubelet starts it again."""
    before = containers()[container]
    os.kill(main_process(pod(), container), signal.SIGKILL)

    def again():
        now = containers()[container]
        return now["restartCount"] == before["restartCount"] + 1 and now["ready"]

    eventually(f"{container} runs again", again)


def join():
    """An ephemeral container asks itself something and ends."""
    kubectl("debug", *POD, "--image=localhost/kaos-workloads/python:1", "--image-pull-policy=IfNotPresent",
            "--container=guest", "--profile=general", "--", "python", "/workloads/short.py", "1")
    told = eventually("the guest's request is told", lambda: served(None, "/pair/0"))
    assert len(told) == 1, told
    identity = told[0]["resource"]
    found = (identity.get("k8s.container.name"), identity.get("container.id"))
    assert found == ("guest", containers()["guest"]["containerID"].split("://")[1]), identity


def come_and_go():
    kubectl("apply", "-f", str(HERE / "pair.yaml"))
    kubectl("wait", *POD, "--for=condition=Ready", f"--timeout={PATIENCE}s")
    for container in PORTS:
        check_first(container)
        ask_once(container, f"/first-of-{container}", restarts=0)
    restart("right")
    ask_once("right", "/restarted", restarts=1)
    ask_once("left", "/left-alone", restarts=0)
    join()
    kubectl("delete", *POD, "--wait=true")
    say("two containers of a pod, one started again, and one that joined them were told of under their own names")
