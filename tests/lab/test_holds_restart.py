"""The agent killed, doubled and without its API server; the observer killed; CNI alone."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.bare_lab import NODE, BareLab, bare_lab
from lab.numbered import Blaster, flows, running
from lab.running_lab import cilia_command, wait_for
from lab.traffic import Pod

PORT = 7777
LONG = bool(os.environ.get("CILIA_LONG_TESTS"))
KILLS = 50 if LONG else 5
AWAY_S = 60.0
INGRESS = {
    "endpointSelector": {"matchLabels": {"app": "server"}},
    "ingress": [
        {
            "fromEndpoints": [{"matchLabels": {"app": "client"}}],
            "toPorts": [{"ports": [{"port": str(PORT), "protocol": "ANY"}]}],
        }
    ],
}


@pytest.fixture(scope="module")
def own(kubectl: str) -> Iterator[BareLab]:
    """A lab of this module's own."""
    with bare_lab("r", kubectl) as lab:
        yield lab


@pytest.fixture(scope="module")
def cast(own: BareLab) -> dict[str, Pod]:
    """A server, its client, and a stranger whom its policy keeps out."""
    pods = {name: own.connect(name, {"app": name}) for name in ("server", "client", "stranger")}
    own.apply("server", INGRESS)
    wait_for("the policy is enforced", lambda: own.enforces("server", "ingress"))
    return pods


def facts(lab: BareLab, cast: dict[str, Pod]) -> dict[str, Any]:
    """What must be the same after a restart."""
    found = {}
    for name in cast:
        entry = lab.endpoint(name)
        status = entry["status"]
        found[name] = (entry["id"], status["identity"]["id"], status["networking"])
    return found


def all_ready(lab: BareLab, cast: dict[str, Pod]) -> bool:
    return all(lab.endpoint(name)["status"]["state"] == "ready" for name in cast)


def test_killing_the_agent_loses_nothing_and_lets_nothing_through(
    own: BareLab, cast: dict[str, Pod]
) -> None:
    before = facts(own, cast)
    with flows(cast["client"], cast["server"], cast["stranger"], PORT) as traffic:
        for attempt in range(KILLS):
            with own.without_agent():
                if LONG and not attempt:
                    threading.Event().wait(AWAY_S)
                traffic.go_on()
            wait_for("it is well", own.is_well)
            assert facts(own, cast) == before
            assert all_ready(own, cast)
            traffic.go_on()


def test_a_second_agent_names_the_first_and_since_when(own: BareLab) -> None:
    held = json.loads((own.node.run / "agent.pid").read_bytes())
    config = Path(own.site.run / "config/node-1-agent.json")
    second = subprocess.run(
        [*cilia_command(), "agent", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    told = f"an agent for node node-1 runs already: process {held['pid']}, since {held['since']}"
    assert told in second.stderr
    assert "Traceback" not in second.stderr
    assert own.is_well()


def test_without_the_api_server_all_stays_and_with_it_all_converges(
    own: BareLab, cast: dict[str, Pod]
) -> None:
    before = facts(own, cast)
    with flows(cast["client"], cast["server"], cast["stranger"], PORT) as traffic:
        own.stop("apiserver")
        try:
            traffic.go_on()
            with own.without_agent():
                traffic.go_on()
            wait_for("endpoints are restored", lambda: restored(own, cast))
            assert facts(own, cast) == before
            assert own.enforces("server", "ingress")
            traffic.go_on()
        finally:
            own.begin("apiserver")
        wait_for("it is well", own.is_well)
        traffic.go_on()
    own.apply("later", {"endpointSelector": {"matchLabels": {"app": "client"}}, "ingress": [{}]})
    try:
        wait_for("a new policy is enforced", lambda: own.enforces("client", "ingress"))
    finally:
        own.remove_policy("later")
    wait_for("and gone again", lambda: own.enforces("client", "none"))


def restored(lab: BareLab, cast: dict[str, Pod]) -> bool:
    try:
        return all(lab.endpoint(name) for name in cast)
    except OSError:
        return False


def test_without_the_agent_add_says_so_and_del_succeeds(own: BareLab) -> None:
    own.create_pod("late", {"app": "late"})
    container, path = own.namespace()
    with own.without_agent():
        done = own.plugin("ADD", container, path, "late")
        refusal = json.loads(done.stdout)
        assert done.returncode == 1
        assert refusal["code"] == 11
        assert str(own.node.agent_socket) in refusal["msg"]
        assert "start the agent" in refusal["details"]
        deleted = own.plugin("DEL", container, path, "late")
        assert (deleted.returncode, deleted.stdout) == (0, "")
    wait_for("it is well", own.is_well)
    own.add("late", container, path)
    assert own.plugin("DEL", container, path, "late").returncode == 0
    wait_for("it is gone", lambda: not own.endpoint("late"))


def test_a_pod_deleted_while_the_agent_was_away_is_cleared_away(own: BareLab) -> None:
    own.create_pod("brief", {"app": "brief"})
    container, path = own.namespace()
    own.add("brief", container, path)
    with own.without_agent():
        assert own.plugin("DEL", container, path, "brief").returncode == 0
        subprocess.run(["ip", "netns", "delete", path.name], check=True)
        lost = own.node.state / "endpoints"
        assert any("brief" in one.read_text() for one in lost.glob("*.json"))
    wait_for("it is well", own.is_well)
    wait_for("nothing is left of it", lambda: not own.endpoint("brief"))
    assert not any("brief" in one.read_text() for one in lost.glob("*.json"))


def lost_events(lab: BareLab) -> int:
    return int(lab.ask("GET", "/v1/healthz")[1]["nodeMonitor"]["lost"])


def test_a_killed_observer_comes_back_and_what_it_missed_is_counted(
    own: BareLab, cast: dict[str, Pod]
) -> None:
    blaster = Blaster([(cast["stranger"].netns, cast["server"].v4)], PORT, pause_s=0.0)
    with running(blaster.blast):
        assert "Policy denied" in json.dumps(first_drop(own))
        old = own.pid("observer")
        own.stop(f"{NODE}/observer")
        before = lost_events(own)
        wait_for("losses are counted", lambda: lost_events(own) > before)
        own.begin(f"{NODE}/observer")
        wait_for("another observer runs", lambda: own.pid("observer") != old)
        again = own.pid("observer")
        os.kill(again, signal.SIGKILL)
        wait_for("yet another runs", lambda: own.pid("observer") != again)
        assert "Policy denied" in json.dumps(first_drop(own))


def first_drop(lab: BareLab) -> dict[str, Any]:
    """The first drop that a monitor shows."""
    wait_for("the observer listens", lambda: listens(lab))
    with lab.start("monitor", "--type", "drop", "-o", "json") as monitor:
        try:
            assert monitor.stdout is not None
            line = monitor.stdout.readline()
            assert line, monitor.communicate()
            return dict(json.loads(line))
        finally:
            monitor.terminate()


def listens(lab: BareLab) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(lab.node.monitor_socket)) == 0
