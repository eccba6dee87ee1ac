"""sent = seen + lost, exactly, through the real program, slow, stopped, killed and restarted."""

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from cilia.datapath import loader
from cilia.datapath.attach import ensure_host_device
from cilia.datapath.config import DatapathConfig
from cilia.datapath.maps.metric import event_stats
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.proto.observer.observer_pb2_grpc import ObserverStub
from cilia.kernel import netns
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.objects import Program
from cilia.kernel.testrun import test_run as run
from cilia.model.site import NodeSite
from cilia.observer.account import HEAD
from cilia.wire.http10 import decode_answer, encode_request
from kernel.node import site_of
from kernel.test_datapath import FRAME

RING_BYTES = 1 << 16
"""Room for 512 records."""
PATIENCE_S = 60.0
MAC = "02:00:00:00:00:01"


@pytest.fixture
def node(
    name: str, namespace: Path, tmp_path: Path, cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator["Node"]:
    """A node with small rings, and no observer yet."""
    monkeypatch.setattr(loader, "RING_BYTES", RING_BYTES)
    site = site_of(name, namespace, tmp_path, cgroup)
    one = Node(site)
    yield one
    one.close()
    loader.unload(site)


class Node:
    """Programs that send an event for each packet, and at most one observer."""

    def __init__(self, site: NodeSite) -> None:
        self.site = site
        with NetlinkSocket(site.netns) as connection:
            host = ensure_host_device(connection, 1500)
        config = DatapathConfig(
            node_v4=ipaddress.IPv4Address("172.30.0.11"), node_v6=None,
            router_v4=ipaddress.IPv4Address("10.0.1.1"), router_v6=None,
            pods_v4=ipaddress.IPv4Network("10.0.0.0/16"), pods_v6=None,
            net_ifindex=host.index, host_ifindex=host.index, host_mac=MAC,
        )  # fmt: skip
        self.loaded = loader.load(site, config, capacities={"conntrack": 1024, "nat": 1024})
        self._program = Program.open(loader.pins(site, "progs") / "pod_from")
        self._device = host.index
        self.observer: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Stops the observer."""
        if self.observer is not None:
            self.observer.send_signal(signal.SIGCONT)
            self.kill(signal.SIGTERM)

    def start(self) -> None:
        """Starts an observer, and waits until it answers."""
        flags = {
            "node-name": self.site.name, "bpffs": self.site.bpffs, "run-dir": self.site.run,
            "hubble-capacity": 100_000, "harvest-interval-s": 0.1,
        }  # fmt: skip
        words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
        self.observer = subprocess.Popen([sys.executable, "-m", "cilia", "observer", *words])
        self.wait("it answers", lambda: bool(self.account()))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends the observer."""
        assert self.observer is not None
        self.observer.send_signal(number)
        self.observer.wait(PATIENCE_S)
        self.observer = None

    def flood(self, count: int) -> None:
        """Sends events from every CPU, that many each."""

        def send(cpu: int) -> None:
            os.sched_setaffinity(0, {cpu})
            with netns.inside(self.site.netns):
                run(self._program, FRAME, repeat=count, ifindex=self._device)

        cpus = sorted(os.sched_getaffinity(0))
        with ThreadPoolExecutor(len(cpus)) as pool:
            list(pool.map(send, cpus))

    def account(self) -> Any:
        """What the observer says of events; nothing while it does not answer."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            try:
                client.connect(str(self.site.run / "observer.sock"))
                client.sendall(encode_request("GET", "/v1/account", {}, None))
                answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
            except (FileNotFoundError, ConnectionError):
                return {}
        return json.loads(decode_answer(answer)[1])

    def settled(self) -> Any:
        """The account when nothing waits in a ring."""
        self.wait("rings are empty", lambda: self.account()["events"]["waiting"] == 0)
        return self.account()

    def told(self) -> int:
        """Lost records, as the stream of flows tells of them."""
        address = f"unix://{self.site.hubble_socket}"
        with grpc.insecure_channel(address) as channel:
            stream = ObserverStub(channel).GetFlows(observer_pb2.GetFlowsRequest(), timeout=60)
            return sum(
                answer.lost_events.num_events_lost
                for answer in stream
                if answer.lost_events.source == flow_pb2.PERF_EVENT_RING_BUFFER
            )

    def noted(self) -> int:
        """Lost records that observers have told of, as they noted it for each other."""
        raw = (self.site.run / "observer.lost").read_bytes()
        return int(np.frombuffer(raw, "<u8", offset=HEAD.size).sum())

    def kernel(self) -> tuple[int, int]:
        """Sent and lost, as the programs counted them."""
        stats = event_stats(self.loaded.maps)
        return sum(stats.sent), sum(stats.lost)

    @staticmethod
    def wait(what: str, is_so: Callable[[], bool]) -> None:
        """Returns once something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"not so in time: {what}"
            threading.Event().wait(0.02)


def test_every_event_is_seen_or_lost_whatever_becomes_of_the_observer(node: Node) -> None:
    node.flood(100)
    node.start()
    account = node.settled()
    sent = node.kernel()[0]
    assert (account["events"]["seen"], account["events"]["lost"]) == (sent, 0)
    assert account["flows"]["seen"] == sent

    assert node.observer is not None
    node.observer.send_signal(signal.SIGSTOP)
    node.flood(5_000)
    node.observer.send_signal(signal.SIGCONT)
    events = node.settled()["events"]
    sent, lost = node.kernel()
    assert lost > 0
    assert (events["sent"], events["lost"], events["missing"]) == (sent, lost, 0)
    assert events["seen"] + lost == sent
    assert node.told() == node.noted() == lost

    flood = threading.Thread(target=node.flood, args=(200_000,))
    flood.start()
    seen = events["seen"]
    node.wait("it reads", lambda: node.account()["events"]["seen"] > seen)
    node.kill()
    told = node.noted()
    flood.join()
    node.flood(2_000)
    lost_before = node.kernel()[1]
    assert lost_before > lost
    node.start()
    account = node.settled()
    events, (sent, lost) = account["events"], node.kernel()
    assert (events["sent"], events["lost"], events["missing"]) == (sent, lost, 0)
    assert events["seen"] + lost == sent
    assert account["flows"]["seen"] <= events["seen"]
    assert node.told() == lost - told > 0, "what the dead observer had told is not told again"
