"""Events a second into the observer's memory, memory per flow, and what a harvest costs.

Programs fill the node's own rings; the reader drains them into the store, as `cilia observer`
does, with metrics off and on. Filling them is not in the figure: processor time of the reading
end is. Baselines of the same run: one Python object an event, and a loop over the
entries of conntrack, which sums up and does nothing else that a harvest does.
"""

import asyncio
import gc
import multiprocessing
import resource
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from bench.fabric import CLIENT, PORT, SERVER, Cilia
from bench.report import save, summary
from bench.tables import address, make
from cilia.datapath import layout, loader
from cilia.datapath.maps.metric import event_stats
from cilia.datapath.records import event_dtype
from cilia.hubble.events import wall_clock_offset_ns
from cilia.hubble.filters import Scene
from cilia.hubble.metrics import HubbleMetrics, parse_metrics
from cilia.hubble.metrics.batch import Look
from cilia.hubble.parties import Parties
from cilia.hubble.ports import EndpointName, PolicyRef
from cilia.hubble.store import FlowStore
from cilia.kernel import netns
from cilia.kernel.maps import NO_PREALLOC, Map, MapKind
from cilia.kernel.rings import Ring
from cilia.kernel.testrun import test_run
from cilia.observer.account import EventAccount
from cilia.observer.connection_rows import Ends
from cilia.observer.harvest import Harvester
from cilia.observer.ledger_file import LedgerFile
from cilia.observer.reader import Reader

ROUNDS, FILLS = 5, 15
FRAMES, REPEAT = 32, 60
"""Connections that turns are taken with, and how often each begins: three events a time."""
METRICS = "drop flow tcp port-distribution icmp policy"
GATEWAY_MAC = "02:00:63:69:6c:61"
FLOWS = 1_000_000
CONNECTIONS = (100_000, 500_000)
PODS = 200
Row = dict[str, object]


class NoNames:
    """Nobody is known."""

    def endpoint(self, number: int) -> EndpointName | None:
        """None."""
        return None

    def pod_at(self, address: str, identity: int) -> str:
        """Nothing."""
        return ""

    def workloads(self, pod: str) -> Sequence[tuple[str, str]]:
        """None."""
        return ()

    def service(self, address: str, port: int, protocol: int) -> str:
        """Nothing."""
        return ""

    def labels(self, identity: int) -> Sequence[str]:
        """None."""
        return ()

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """None."""
        return ()


Event = msgspec.defstruct("Event", list(event_dtype().names or ()))
"""A record as one Python object: the baseline."""


def ignore(records: Any) -> None:
    """Nobody listens."""


class Node:
    """A node whose programs send events, and its rings."""

    def __init__(self, fabric: Cilia, folder: Path) -> None:
        self._fabric = fabric
        self._maps = dict(loader.rings(fabric.site))
        self.rings = [Ring(one, event_dtype()) for one in self._maps.values()]
        maps = {"event_stats": loader.open_map(fabric.site, "event_stats")}
        self.account = EventAccount(
            folder / "lost", lambda: event_stats(maps), 1, dict(enumerate(self.rings))
        )
        self._frames = [
            bytes(
                Ether(dst=GATEWAY_MAC)
                / IP(src=str(CLIENT), dst=str(SERVER))
                / TCP(sport=40_000 + number, dport=PORT, flags="SR")
            )
            for number in range(FRAMES)
        ]

    def fill(self) -> None:
        """Sends events until the ring of this CPU is nearly full."""
        program, device = self._fabric.programs["pod_from"], self._fabric.devices[CLIENT]
        with netns.inside(Path(self._fabric.site.netns)):
            for frame in self._frames:
                test_run(program, frame, repeat=REPEAT, ifindex=device, ingress_ifindex=device)

    def reader(self, keep: Callable[[Any], None]) -> Reader:
        """What drains the rings."""
        return Reader(self.rings, self.account, keep, ignore, lambda cpu, n: None, lambda: 0.0)


def taken_in(node: Node, keep: Callable[[Any], None], after: Callable[[], object]) -> float:
    """Events a second of processor time, from the rings to wherever `keep` takes them."""

    def drain() -> tuple[int, float]:
        reader, count, spent = node.reader(keep), 0, 0.0
        for _ in range(FILLS):
            node.fill()
            began = time.process_time()
            while batch := reader.drain():
                count += batch
            after()
            spent += time.process_time() - began
        return count, spent

    drain()
    count, spent = drain()
    return count / spent


def events() -> list[Row]:
    """Of each way to take them in, with the ratio to the first."""
    objects: deque[Any] = deque(maxlen=FLOWS)

    def one_by_one(records: Any) -> None:
        objects.extend(Event(*row) for row in records.tolist())

    found: dict[str, list[float]] = {}
    with node_with_rings() as node:
        for _ in range(ROUNDS):
            store, counting = FlowStore(event_dtype()), FlowStore(event_dtype())
            look = Look(counting, NoNames())
            metrics = HubbleMetrics(counting, look, Scene(counting, "bench"))
            metrics.configure(parse_metrics(METRICS))
            cases: dict[str, tuple[Callable[[Any], None], Callable[[], object]]] = {
                "one Python object an event": (one_by_one, lambda: None),
                "rings to store": (adding(store), lambda: None),
                "rings to store, metrics on": (adding(counting), metrics.count),
            }
            for name, (keep, after) in cases.items():
                found.setdefault(name, []).append(taken_in(node, keep, after))
            objects.clear()
            gc.collect()
        assert node.account.counts().missing == 0
    first = summary(next(iter(found.values())))["median"]
    return [
        {"what": name, "events/s a core": summary(rates), "ratio": summary(rates)["median"] / first}
        for name, rates in found.items()
    ]


def adding(store: FlowStore) -> Callable[[Any], None]:
    """What keeps a batch in a store."""

    def keep(records: Any) -> None:
        store.add(records, wall_clock_offset_ns())
        store.take_fresh()
        store.show(store.total)

    return keep


@contextmanager
def node_with_rings() -> Iterator[Node]:
    """A node that the benchmark has to itself."""
    fabric = Cilia("o")
    with TemporaryDirectory() as folder:
        try:
            yield Node(fabric, Path(folder))
        finally:
            fabric.close()


def memory() -> list[Row]:
    """Bytes of memory that a million flows take, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        used = pool.apply(filled)
    return [{"what": f"{FLOWS} flows", "MiB": used / 2**20, "bytes a flow": used / FLOWS}]


def filled() -> int:
    """Bytes that a store grows by when it is filled."""
    store, batch = FlowStore(event_dtype()), np.zeros(4096, event_dtype())
    batch["type"] = 4
    store.add(batch, 0)
    before = resident_bytes()
    while store.total < FLOWS:
        store.add(batch, 0)
    return resident_bytes() - before


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def conntrack(count: int) -> Map:
    """A map with so many connections between some pods."""
    one = make("conntrack", MapKind.LRU_HASH, count * 5 // 4)
    keys, values = np.zeros(count, one.key), np.zeros(count, one.value)
    pods = layout.encode_addresses(address(number, 10) for number in range(PODS))
    numbers = np.arange(count)
    keys["low"], keys["high"] = pods[numbers % (PODS // 2)], pods[PODS // 2 + numbers % 97]
    keys["low_port"], keys["high_port"] = numbers % 60_000, numbers // 60_000
    keys["protocol"], values["flags"] = 6, layout.constant("CONNTRACK_LOW_BEGAN")
    values["source_identity"], values["destination_identity"] = 1000, 2000
    values["first_seen"], values["expires_s"] = numbers + 1, (1 << 32) - 1
    one.put(keys, values)
    move(one, keys, values)
    return one


def move(one: Map, keys: Any, values: Any) -> None:
    """Every connection has sent another packet."""
    values["packets"] += 1
    values["bytes"] += 100
    one.put(keys, values)


def one_by_one(rows: Map, before: dict[bytes, tuple[int, ...]]) -> int:
    """The baseline: what each entry has moved since `before`, in a loop; packets and bytes."""
    keys, values = rows.entries()
    raw, size, moved = keys.tobytes(), keys.dtype.itemsize, 0
    counted = zip(values["packets"].tolist(), values["bytes"].tolist(), strict=True)
    for at, (packets, volume) in enumerate(counted):
        key = raw[at * size : (at + 1) * size]
        counters = (*packets, *volume)
        moved += sum(counters) - sum(before.get(key, (0,)))
        before[key] = counters
    return moved


def seconds_of_loop(rows: Map) -> float:
    """Processor time of the baseline, at its best."""
    known: dict[bytes, tuple[int, ...]] = {}
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        one_by_one(rows, known)
        times.append(time.process_time() - began)
    return min(times)


def harvests() -> list[Row]:
    """Seconds a harvest, of connections that all moved, and of ones that stood still."""
    rows: list[Row] = []
    for count in CONNECTIONS:
        maps = {
            "conntrack": conntrack(count),
            "ended": make("ended", MapKind.HASH, 131_072, NO_PREALLOC),
            "tally": make("tally", MapKind.PERCPU_ARRAY, 1),
        }
        loop = seconds_of_loop(maps["conntrack"])
        with TemporaryDirectory() as folder:
            harvester = Harvester(
                maps, Ends(Parties(), event_dtype()), LedgerFile(Path(folder) / "ledger", 1),
                interval_s=1, offset_ns=wall_clock_offset_ns,
            )  # fmt: skip
            asyncio.run(harvester.harvest())
            still, moved = asyncio.run(rounds(harvester, maps["conntrack"]))
        for one in maps.values():
            one.close()
        for what, times in (("still", still), ("all moved", moved)):
            found = summary(times)
            rows.append(
                {
                    "what": f"{count} connections, {what}",
                    "harvest s": found,
                    "a loop over entries s": loop,
                    "ratio": loop / found["median"],
                }
            )
    return rows


async def rounds(harvester: Harvester, rows: Map) -> tuple[list[float], list[float]]:
    """Seconds of processor time: when nothing moved, and when everything did."""
    still, moved = [], []
    for _ in range(ROUNDS):
        still.append(await spent(harvester.harvest()))
        keys, values = rows.entries()
        move(rows, keys, values.copy())
        moved.append(await spent(harvester.harvest()))
    return still, moved


async def spent(work: Awaitable[object]) -> float:
    """Processor time until something is done."""
    began = time.process_time()
    await work
    return time.process_time() - began


def main() -> None:
    """Prints and keeps the figures."""
    rows: list[Row] = []
    for part in (events, memory, harvests):
        found = part()
        for row in found:
            print("  ".join(f"{name} {_text(value)}" for name, value in row.items()), flush=True)
        rows += found
    save("observer", "python -m bench observer", rows)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['median']:,.3f} [{value['low']:,.3f} to {value['high']:,.3f}]"
    return f"{value:,.3f}" if isinstance(value, float) else str(value)
