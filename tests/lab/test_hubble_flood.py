"""A flood between pods while the observer is killed: nothing goes uncounted, nobody is harmed."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.cli.hubble.account import read_account
from cilia.datapath import loader
from cilia.datapath.maps.metric import event_stats
from cilia.kernel import netns
from cilia.lab import commands
from lab.numbered import running
from lab.running_lab import RunningLab, wait_for
from lab.test_export import node_run, observer
from lab.test_star_wars import deathstars_enforced
from lab.traffic import Pod, pods, traffic

STEADY, FLOODED = 5300, 5301
NAME = "flood"
POLICY = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": NAME},
    "spec": {
        "endpointSelector": {"matchLabels": {"class": "deathstar"}},
        "ingress": [
            {
                "fromEndpoints": [{"matchLabels": {"class": "tiefighter"}}],
                "toPorts": [
                    {
                        "ports": [
                            {"port": str(port), "protocol": protocol}
                            for port in (STEADY, FLOODED)
                            for protocol in ("TCP", "UDP")
                        ]
                    }
                ],
            }
        ],
    },
}
KILLS = 2
EACH_TIME = 200
"""Connections that begin and end before the observer is killed again."""
MOST_KIB = 512 * 1024
"""Of memory: a full store of flows, and as much again for the program."""


@pytest.fixture
def enforced(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab, where the tiefighter alone may speak to the deathstars."""
    done = lab.kubectl("apply", "-f", "-", text=json.dumps(POLICY))
    assert done.returncode == 0, done.stderr
    try:
        wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))
        yield lab
    finally:
        deleted = lab.kubectl("delete", "cnp", NAME, "--ignore-not-found")
    assert deleted.returncode == 0, deleted.stderr


class Flood:
    """Short connections of one pod, small packets of it, and some that policy forbids.

    Attributes:
        connections: How many were opened and closed.
        refused: What went wrong with one of them.
    """

    def __init__(self, client: Pod, server: Pod, stranger: Pod) -> None:
        self.connections = 0
        self.refused: list[str] = []
        self._client, self._server, self._stranger = client, server, stranger
        self._listener = netns.open_socket(server.netns, socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("0.0.0.0", FLOODED))
        self._listener.listen(1024)
        self._listener.settimeout(0.1)

    def accept(self, stop: threading.Event) -> None:
        """Takes each connection, and ends it."""
        with self._listener:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    self._listener.accept()[0].close()

    def connect(self, stop: threading.Event) -> None:
        """One connection after the other."""
        while not stop.is_set():
            with netns.open_socket(self._client.netns, socket.AF_INET, socket.SOCK_STREAM) as one:
                one.settimeout(5)
                try:
                    one.connect((self._server.v4, FLOODED))
                    assert one.recv(1) == b""
                    self.connections += 1
                except OSError as error:
                    if not stop.is_set():
                        self.refused.append(repr(error))

    def packets(self, stop: threading.Event) -> None:
        """Of one byte each, as fast as they go: allowed ones and forbidden ones."""
        with contextlib.ExitStack() as stack:
            senders = [
                stack.enter_context(netns.open_socket(pod.netns, socket.AF_INET, socket.SOCK_DGRAM))
                for pod in (self._client, self._stranger)
            ]
            while not stop.is_set():
                for one in senders:
                    with contextlib.suppress(OSError):  # what ICMP tells of the packet before
                        one.sendto(b"x", (self._server.v4, FLOODED))


def account(lab: RunningLab) -> Any:
    """The observer's events; nothing while it does not answer."""
    return (read_account(node_run(lab) / "observer.sock") or {}).get("events") or {}


def lost(lab: RunningLab) -> int:
    """Events that programs of the first node found no room for."""
    with contextlib.closing(
        loader.open_map(commands.open_site(lab.name).node("node-1"), "event_stats")
    ) as stats:
        return sum(event_stats({"event_stats": stats}).lost)


def resident_kib(pid: int) -> int:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def kill(lab: RunningLab, flood: Flood) -> None:
    """Lets the observer fall behind until events are lost, kills it, and awaits another."""
    killed, before, begun = observer(lab), lost(lab), flood.connections
    os.kill(killed, signal.SIGSTOP)
    try:
        wait_for("its rings are full", lambda: lost(lab) > before)
        wait_for("pods go on", lambda: flood.connections >= begun + EACH_TIME)
    finally:
        os.kill(killed, signal.SIGKILL)
    wait_for("there is another observer", lambda: observer(lab) != killed)
    wait_for("it answers", lambda: bool(account(lab)))
    seen = account(lab)["seen"]
    wait_for("it reads", lambda: account(lab).get("seen", 0) > seen)


def test_a_flood_is_counted_to_the_event_whatever_becomes_of_the_observer(
    enforced: RunningLab,
) -> None:
    lab, known = enforced, pods(enforced.name)
    server = next(pod for name, pod in known.items() if name.startswith("deathstar-"))
    client, stranger = known["tiefighter"], known["xwing"]
    before, lost_before = account(lab), lost(lab)
    flood = Flood(client, server, stranger)
    with (
        traffic(client, server, stranger, STEADY) as troubles,
        running(flood.accept, flood.connect, flood.packets),
    ):
        for _ in range(KILLS):
            kill(lab, flood)
        assert resident_kib(observer(lab)) < MOST_KIB

    events: dict[str, Any] = {}

    def is_settled() -> bool:
        events.update(account(lab))
        return events.get("waiting") == events.get("missing") == 0

    wait_for("every event is seen or lost", is_settled)
    assert events["sent"] == events["seen"] + events["lost"]
    assert events["lost"] == lost(lab) > lost_before
    assert events["seen"] > before["seen"] + flood.connections
    troubles.assert_none()
    assert not flood.refused
    assert all(troubles.rounds.values()), troubles.rounds
    shown = lab.cilia("status", "--verbose").stdout
    assert f"{events['lost']:,} lost" in shown, shown
