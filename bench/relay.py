"""Flows a second through a relay over ten observers with full stores, by time.

Everything is a process of its own. The baseline is one observer that is asked for as many
flows without a relay. Twelve processes share the machine's processors, and the rate says how
many there are; what a flow costs the relay, and one observer, in processor time does not.
"""

import asyncio
import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import numpy as np

from bench.report import save, summary
from cilia.datapath.records import event_dtype
from cilia.hubble.peers import Peer
from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.server.listener import HubbleApi, HubblePort, HubbleSocket
from cilia.hubble.store import FlowStore
from cilia.hubble.tls import TlsFiles, node_server_name
from cilia.lab.apiserver.certificates import ensure_authority, ensure_peer
from cilia.runtime.services import serve

OBSERVERS, STORED, WANTED, ROUNDS = 10, 100_000, 20_000, 3
GET_FLOWS = "/observer.Observer/GetFlows"
V4 = bytes(10) + b"\xff\xff"
TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 120
FIRST_PORT = 42440
Row = dict[str, object]


class Names:
    """Two pods, with labels as pods have them."""

    def endpoint(self, number: int) -> EndpointName:
        """A pod's name."""
        return EndpointName(f"default/pod-{number}")

    def pod_at(self, address: str, identity: int) -> str:
        """Nobody is elsewhere."""
        return ""

    def workloads(self, pod: str) -> Sequence[tuple[str, str]]:
        """Every pod is of a Deployment."""
        return [("shop", "Deployment")]

    def service(self, address: str, port: int, protocol: int) -> str:
        """None."""
        return ""

    def labels(self, identity: int) -> Sequence[str]:
        """As many as a pod of a Deployment has."""
        return [f"k8s:label-{n}=value-{identity}" for n in range(6)]

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """None."""
        return []


def full_store(number: int) -> FlowStore:
    """A store of flows whose times interleave with those of the other observers."""
    store = FlowStore(event_dtype(), STORED)
    rows = np.zeros(STORED, event_dtype())
    values: dict[str, Any] = {
        "type": 4, "verdict": 1, "protocol": 6, "tcp_flags": 16,
        "source": np.void(V4 + bytes((10, 0, 1, 5))),
        "destination": np.void(V4 + bytes((10, 0, 1, 6))),
        "source_port": 40000, "destination_port": 80,
        "source_identity": 300, "destination_identity": 301,
        "source_endpoint": 7, "destination_endpoint": 8,
        "time": np.arange(STORED, dtype="u8") * OBSERVERS + number,
    }  # fmt: skip
    for field, value in values.items():
        rows[field] = value
    store.add(rows, 1_700_000_000 * 10**9)
    store.parties.join(Names())
    store.show(store.total)
    return store


def certificate(folder: Path, name: str) -> TlsFiles:
    """A certificate of the bench's own authority."""
    ensure_authority(folder)
    ensure_peer(folder, name, (node_server_name(name, "default"),))
    return TlsFiles(f"{folder}/{name}.crt", f"{folder}/{name}.key", (f"{folder}/ca.crt",))


def peers(folder: Path, *, tls: bool) -> list[Peer]:
    """All observers, as the first of them names them."""
    names = [f"node-{n}" for n in range(OBSERVERS)]
    if not tls:
        return [Peer(name, f"unix://{folder}/{name}.sock") for name in names]
    return [
        Peer(name, f"127.0.0.1:{FIRST_PORT + n}", node_server_name(name, "default"))
        for n, name in enumerate(names)
    ]


def observer(folder: Path, number: int, *, tls: bool) -> None:
    """One observer, as `cilia observer` serves it, for ever."""
    own = peers(folder, tls=tls)[number]
    api = HubbleApi(full_store(number), Names(), f"default/{own.name}", "0.1.0", own)
    api.peers.replace(peers(folder, tls=tls))
    sockets: list[Any] = [HubbleSocket(folder / f"{own.name}.sock", api.server)]
    if tls:
        sockets.append(HubblePort(own.address, certificate(folder, own.name), api.server))
    asyncio.run(serve(tuple(sockets)))


@contextlib.contextmanager
def cluster(folder: Path, *, tls: bool) -> Iterator[tuple[int, int]]:
    """Ten observers and a relay on `relay.sock`; the process ids of it and of the first."""
    own = certificate(folder, "relay")
    for number in range(OBSERVERS):
        certificate(folder, f"node-{number}")
    context = multiprocessing.get_context("spawn")
    observers = [
        context.Process(target=observer, args=(folder, n), kwargs={"tls": tls}, daemon=True)
        for n in range(OBSERVERS)
    ]
    command = [sys.executable, "-m", "cilia", "relay", "serve", f"--socket={folder}/relay.sock",
               "--listen-address=", "--health-listen-address=", "--log-level=warning",
               f"--peer-service=unix://{folder}/node-0.sock", "--retry-timeout=1s",
               f"--tls-hubble-client-cert-file={own.certificate}",
               f"--tls-hubble-client-key-file={own.key}",
               f"--tls-hubble-server-ca-files={own.authorities[0]}"]  # fmt: skip
    for one in observers:
        one.start()
    relay = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for_all(folder)
        yield relay.pid, observers[0].pid or 0
    finally:
        relay.terminate()
        relay.wait()
        for one in observers:
            one.terminate()
            one.join()


def wait_for_all(folder: Path) -> None:
    """Waits until the relay has all observers."""
    deadline = time.monotonic() + DEADLINE_S
    request = observer_pb2.ServerStatusRequest().SerializeToString()
    while time.monotonic() < deadline:
        with (
            grpc.insecure_channel(f"unix://{folder}/relay.sock") as channel,
            contextlib.suppress(grpc.RpcError),
        ):
            answer = channel.unary_unary("/observer.Observer/ServerStatus")(request)
            status = observer_pb2.ServerStatusResponse.FromString(answer)
            if status.num_connected_nodes.value == OBSERVERS:
                return
        time.sleep(0.2)
    raise TimeoutError(f"{OBSERVERS} observers not connected after {DEADLINE_S} s")


def rate(socket: Path, number: int) -> tuple[int, float]:
    """Flows that a client gets, and how many a second; it looks into none of them."""
    request = observer_pb2.GetFlowsRequest(number=number).SerializeToString()
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        grpc.channel_ready_future(channel).result(DEADLINE_S)
        began = time.perf_counter()
        count = sum(1 for _ in channel.unary_stream(GET_FLOWS)(request))
        return count, count / (time.perf_counter() - began)


def processor_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def spent(pid: int, socket: Path, number: int) -> tuple[float, float]:
    """Flows a second that a client gets, and processor time a flow of one process, in µs."""
    before = processor_s(pid)
    count, speed = rate(socket, number)
    assert count >= WANTED, count
    return speed, (processor_s(pid) - before) / count * 1e6


def measure(folder: Path, relay: int, first: int) -> Row:
    """Both in turn, and the ratio of each pair."""
    direct, merged = [], []
    for _ in range(ROUNDS):
        direct.append(spent(first, folder / "node-0.sock", WANTED))
        merged.append(spent(relay, folder / "relay.sock", WANTED // OBSERVERS))
    pairs = list(zip(merged, direct, strict=True))
    return {
        "observers": OBSERVERS,
        "flows": WANTED,
        "one observer flows/s": summary([speed for speed, _ in direct]),
        "relay flows/s": summary([speed for speed, _ in merged]),
        "ratio": summary([one[0] / other[0] for one, other in pairs]),
        "observer µs/flow": summary([cost for _, cost in direct]),
        "relay µs/flow": summary([cost for _, cost in merged]),
        "cost ratio": summary([one[1] / other[1] for one, other in pairs]),
    }


def main() -> None:
    """Over unix sockets, and with mTLS between relay and observers."""
    rows: list[Row] = []
    for tls in (False, True):
        with TemporaryDirectory() as name, cluster(Path(name), tls=tls) as pids:
            row = {"between": "mTLS" if tls else "unix sockets", **measure(Path(name), *pids)}
        print(row, flush=True)
        rows.append(row)
    save("relay", "python -m bench relay", rows)
