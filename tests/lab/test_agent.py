"""The agent in a whole cluster: its API server hangs, and it is told nonsense."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.running_lab import RunningLab, wait_for
from lab.traffic import Pod, Troubles, pods, traffic

PORT = 7777
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: steady}
spec:
  endpointSelector: {matchLabels: {class: deathstar}}
  ingress:
  - fromEndpoints: [{matchLabels: {org: empire}}]
    toPorts:
    - ports: [{port: "7777", protocol: ANY}, {port: "80", protocol: TCP}]
"""
REFUSED = POLICY.replace('"7777"', '"77777"')


def run_folder(lab: RunningLab) -> Path:
    return Path(f"/run/cilia/lab/{lab.name}/nodes/node-1")


def agent_pid(lab: RunningLab) -> int:
    return int(json.loads((run_folder(lab) / "agent.pid").read_bytes())["pid"])


def is_well(lab: RunningLab) -> bool:
    return lab.cilia("status", "--brief").returncode == 0


def condition(lab: RunningLab) -> dict[str, Any]:
    found = lab.json("get", "cnp", "steady").get("status", {}).get("conditions") or [{}]
    return dict(found[0])


def enforced(lab: RunningLab) -> bool:
    words = [
        entry["status"]["policy"]["realized"]["policy-enabled"]
        for name, entry in lab.endpoints().items()
        if "deathstar" in name
    ]
    return words == ["ingress", "ingress"]


@pytest.fixture
def policed(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab with a policy that lets the empire in and nobody else."""
    done = lab.kubectl("apply", "-f", "-", text=POLICY)
    assert done.returncode == 0, done.stderr
    try:
        wait_for("the policy is enforced", lambda: enforced(lab))
        yield lab
    finally:
        lab.kubectl("delete", "cnp", "steady", "--ignore-not-found")
        wait_for("the policy is gone", lambda: not enforced(lab))


@contextmanager
def steady_traffic(lab: RunningLab) -> Iterator[Troubles]:
    """From the tiefighter to a deathstar, with an xwing that tries to get in."""
    known = pods(lab.name)
    server: Pod = next(pod for name, pod in known.items() if name.startswith("deathstar"))
    with traffic(known["tiefighter"], server, known["xwing"], PORT) as troubles:
        wait_for("traffic flows", lambda: all(troubles.rounds.values()))
        yield troubles


def go_on(troubles: Troubles, rounds: int = 20) -> None:
    """Waits until every kind of traffic has made so many rounds more."""
    before = dict(troubles.rounds)
    wait_for(
        f"traffic goes on, {troubles.found[:1]}",
        lambda: all(troubles.rounds[kind] >= before[kind] + rounds for kind in before),
    )


def api_server_pid(lab: RunningLab) -> int:
    wanted = f"/cilia/lab/{lab.name}/config/apiserver.json"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "cmdline").read_bytes().decode():
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError("no API server runs")


def test_while_the_api_server_hangs_traffic_and_policy_stay(policed: RunningLab) -> None:
    server = api_server_pid(policed)
    with steady_traffic(policed) as troubles:
        os.kill(server, signal.SIGSTOP)
        try:
            go_on(troubles)
            old = agent_pid(policed)
            os.kill(old, signal.SIGKILL)
            wait_for("another agent runs", lambda: agent_pid(policed) != old)
            wait_for(
                "it has adopted the pods",
                lambda: policed.cilia("endpoint", "list").stdout.count("restoring") == 5,
            )
            go_on(troubles)
        finally:
            os.kill(server, signal.SIGCONT)
        wait_for("all is well again", lambda: is_well(policed))
        go_on(troubles)
    troubles.assert_none()


def test_a_bad_policy_is_refused_by_name_and_the_last_good_state_stays(
    policed: RunningLab,
) -> None:
    wait_for("it is found valid", lambda: condition(policed).get("status") == "True")
    with steady_traffic(policed) as troubles:
        done = policed.kubectl("apply", "-f", "-", text=REFUSED)
        assert done.returncode == 0, done.stderr
        wait_for("it is refused", lambda: condition(policed).get("status") == "False")
        assert "spec.ingress[0].toPorts[0].ports[0].port" in condition(policed)["message"]
        go_on(troubles)
    troubles.assert_none()
