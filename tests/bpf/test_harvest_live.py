"""Totals of real traffic: what the devices counted, whatever became of the connections."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.harness import BTF, SMALL
from bpf.live import Live
from cilia.datapath.maps.conntrack import ConntrackMap
from cilia.datapath.maps.ended import EndedMap, tally
from cilia.hubble.events import wall_clock_offset_ns
from cilia.hubble.parties import Parties
from cilia.kernel import netns
from cilia.observer.connection_rows import Ends
from cilia.observer.harvest import HarvestCounts, Harvester
from cilia.observer.ledger_file import LedgerFile

SIZES = {"conntrack": 4096, "ended": 8192}
PORTS = (40_000, 40_063)
"""Few, so that they are used again and again."""
SHORT = 2_000
LONG = 20_000_000
FAR_FUTURE_S = 1 << 31
ALLOWED = 0.001
"""Of all bytes: what pods say to their link goes through no connection."""


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Namespaces with every program attached, and room for the connections."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Live.__init__.__globals__, "SMALL", SMALL | SIZES)
        made = Live()
    with netns.inside(made.path("a")):
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{PORTS[0]} {PORTS[1]}")
    yield made
    made.close()


class Watch:
    """What the pods have sent since, and what was harvested of it."""

    def __init__(self, live: Live, folder: Path) -> None:
        self._live = live
        self._folder = folder
        self.maps = live.datapath.maps
        for name in ("conntrack", "ended"):
            self.maps[name].clear()
        self.began = tally(self.maps)
        self._before = self._device()
        self.harvester = self.successor()

    def successor(self) -> Harvester:
        """An observer that takes over from whatever was before."""
        file = LedgerFile(self._folder / "ledger", self.maps["conntrack"].id)
        ends = Ends(Parties(), BTF.struct("event_record"))
        return Harvester(self.maps, ends, file, interval_s=1, offset_ns=wall_clock_offset_ns)

    def _device(self) -> int:
        """Bytes of frames that the node received from both pods."""
        with netns.inside(self._live.path("node")):
            lines = Path("/proc/net/dev").read_text().splitlines()
        words = [line.split() for line in lines]
        return sum(int(one[1]) for one in words if one[0] in ("lxca:", "lxcb:"))

    def carried(self) -> int:
        """The same, since this began."""
        return self._device() - self._before

    def harvest(self) -> HarvestCounts:
        """Harvests once."""
        return asyncio.run(self.harvester.harvest())

    def is_exact(self, counts: HarvestCounts) -> bool:
        """Whether programs counted what was harvested, to the byte."""
        counted = tally(self.maps)
        return (counts.packets, counts.bytes) == (
            counted.packets - self.began.packets,
            counted.bytes - self.began.bytes,
        )


@pytest.fixture
def watch(live: Live, tmp_path: Path) -> Watch:
    return Watch(live, tmp_path)


def answer(client: socket.socket) -> None:
    """Reads to the end of the request, answers, and closes first."""
    received = client.recv(100)
    client.sendall(received)


def call(live: Live, number: int) -> None:
    """So many short connections from a to b."""
    target = (live.address("b", 4), 8080)
    for _ in range(number):
        with live.open("a", 4, socket.SOCK_STREAM) as client:
            client.connect(target)
            client.sendall(b"x" * 100)
            while client.recv(4096):
                pass


def test_many_short_connections_on_few_ports_are_counted_to_the_byte(
    live: Live, watch: Watch
) -> None:
    with live.serve("b", 4, 8080, answer):
        call(live, SHORT // 4)
        watch.harvest()
        call(live, SHORT // 4)
        ConntrackMap(watch.maps).sweep(FAR_FUTURE_S)
        call(live, SHORT // 4)
        watch.harvester = watch.successor()
        call(live, SHORT // 4)
    counts = watch.harvest()

    assert counts.begun == SHORT
    assert watch.is_exact(counts)
    assert counts.bytes == pytest.approx(watch.carried(), rel=ALLOWED)
    assert counts.vanished == counts.refused == 0
    assert len(EndedMap(watch.maps).read()[0]) == 0
    ConntrackMap(watch.maps).sweep(FAR_FUTURE_S)
    assert watch.harvest().ended == SHORT
    assert watch.harvest().packets == counts.packets


def test_a_long_transfer_is_counted_while_it_runs_and_after_it_has_ended(
    live: Live, watch: Watch
) -> None:
    def swallow(client: socket.socket) -> None:
        while client.recv(1 << 16):
            pass

    with live.serve("b", 4, 8081, swallow), live.open("a", 4, socket.SOCK_STREAM) as client:
        client.connect((live.address("b", 4), 8081))
        client.sendall(bytes(LONG // 2))
        middle = watch.harvest()
        client.sendall(bytes(LONG // 2))
    ConntrackMap(watch.maps).sweep(FAR_FUTURE_S)
    counts = watch.harvest()

    assert 0 < middle.bytes < counts.bytes
    assert watch.is_exact(counts)
    assert counts.bytes == pytest.approx(watch.carried(), rel=ALLOWED)
    assert counts.bytes > LONG
    (row,) = watch.harvester.ended.newest(5)
    assert row["bytes"].sum() == counts.bytes
    assert row["bytes"][0] > LONG > row["bytes"][1]
    totals = watch.harvester.totals.by_party()
    assert int(totals.bytes.sum()) == counts.bytes


def test_what_the_kernel_throws_out_is_missed_and_the_miss_is_exact(
    live: Live, watch: Watch
) -> None:
    with live.open("a", 4, socket.SOCK_DGRAM) as client:
        for port in range(1, 3 * SIZES["conntrack"]):
            client.sendto(b"x", (live.address("b", 4), port))
    counts = watch.harvest()

    counted = tally(watch.maps)
    assert counts.connections <= SIZES["conntrack"]
    assert counts.missed_packets == counted.packets - counts.packets
    assert counts.missed_packets >= 3 * SIZES["conntrack"] - 1 - SIZES["conntrack"]
