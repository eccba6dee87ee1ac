"""Bytes by who talked to whom: what the pods' devices carried, after the connections ended too."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.kernel import netns
from lab.running_lab import RunningLab, wait_for
from lab.test_star_wars import deathstars_enforced
from lab.traffic import Pod, pods

PORT = 5201
LONG = 30_000_000
SHORT = 2_000
ALLOWED = 0.001
SETTLED_S = 12.0
"""Two harvests, and a little."""
NAME = "totals"
POLICY = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": NAME},
    "spec": {
        "endpointSelector": {"matchLabels": {"class": "deathstar"}},
        "ingress": [
            {
                "fromEndpoints": [{"matchLabels": {"class": "tiefighter"}}],
                "toPorts": [{"ports": [{"port": str(PORT), "protocol": "TCP"}]}],
            }
        ],
    },
}


@pytest.fixture
def enforced(lab: RunningLab) -> Iterator[RunningLab]:
    """The lab, with a policy that lets the ship talk to the station on one port."""
    done = lab.kubectl("apply", "-f", "-", text=json.dumps(POLICY))
    assert done.returncode == 0, done.stderr
    try:
        wait_for("both deathstars enforce ingress", lambda: deathstars_enforced(lab))
        yield lab
    finally:
        deleted = lab.kubectl("delete", "cnp", NAME, "--ignore-not-found")
    assert deleted.returncode == 0, deleted.stderr


class Server:
    """Swallows what it is sent, and closes when the client has."""

    def __init__(self, pod: Pod) -> None:
        self._socket = netns.open_socket(pod.netns, socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("0.0.0.0", PORT))
        self._socket.listen(64)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client = self._socket.accept()[0]
            except OSError:
                return
            with client:
                while client.recv(1 << 16):
                    pass

    def close(self) -> None:
        """Ends it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


def send(client: Pod, server: Pod, size: int) -> None:
    """One connection that carries so many bytes, to its very end."""
    with netns.open_socket(client.netns, socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(30)
        one.connect((server.v4, PORT))
        one.sendall(bytes(size))
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""


def carried(pod: Pod) -> int:
    """Bytes of frames that a pod's device has sent."""
    with netns.inside(pod.netns):
        lines = Path("/proc/net/dev").read_text().splitlines()
    (words,) = [line.split() for line in lines if line.strip().startswith("eth0:")]
    return int(words[9])


def harvested(lab: RunningLab, source: str, destination: str) -> tuple[int, int]:
    """Bytes that one pod has sent to the other, and the connections that it began."""
    answer = rows(lab, "totals", "--number", "10000")
    for each in answer:
        if (each["source"]["pod"], each["destination"]["pod"]) == (source, destination):
            return each["bytes"][0], each["connections"]
    return 0, 0


def settled(lab: RunningLab, source: str, destination: str) -> tuple[int, int]:
    """`harvested`, once nothing has been added for two harvests: others have used these pods."""
    last, since = (0, 0), time.monotonic()

    def is_settled() -> bool:
        nonlocal last, since
        now = harvested(lab, source, destination)
        if now != last:
            last, since = now, time.monotonic()
        return last[1] > 0 and time.monotonic() - since > SETTLED_S

    wait_for("all that was is harvested", is_settled)
    return last


def rows(lab: RunningLab, *words: str) -> Any:
    done = lab.cilia("hubble", "list", *words, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_totals_are_what_the_devices_carried(enforced: RunningLab) -> None:
    lab, known = enforced, pods(enforced.name)
    station = next(name for name in known if name.startswith("deathstar-"))
    client, server = known["tiefighter"], known[station]
    names = ("tiefighter", station)
    listening = Server(server)
    try:
        send(client, server, 1)
        (before, begun), device = settled(lab, *names), carried(client)
        send(client, server, LONG)
        for _ in range(SHORT):
            send(client, server, 100)
        sent = carried(client) - device
    finally:
        listening.close()

    def is_whole() -> bool:
        size, connections = harvested(lab, *names)
        return connections - begun == SHORT + 1 and abs(size - before - sent) <= ALLOWED * sent

    wait_for("all of it is in the totals", is_whole)
    assert sent > LONG
    wait_for("the long one has ended", lambda: any(each["bytes"][0] > LONG for each in ended(lab)))
    (long,) = [each for each in ended(lab) if each["bytes"][0] > LONG]
    assert (long["source"]["pod"], long["destination"]["pod"]) == names
    assert (long["destination"]["port"], long["state"]) == (PORT, "closed")
    assert long["policies"] == [f"default/{NAME}"]
    assert is_whole(), "and nothing is counted twice when connections end"


def ended(lab: RunningLab) -> Any:
    return rows(lab, "connections", "--ended", "--number", "10000")
