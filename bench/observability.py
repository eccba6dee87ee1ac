"""What pods pay for being observed: their rates without events against with all of it.

With: the programs send events, `cilia observer` reads them with metrics on, and a client follows
with a filter. Rounds are paired as those of `bench.provenance`: without, with, with, without, or
the other way about; the figure is the median of their ratios, with its 95 % confidence interval.
The observer has the rest of the machine: what it costs there is in `bench.observer`.
"""

import json
import math
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc

from bench.datapath import MODES, SOURCE, rate, served
from bench.fabric import Cilia, Fabric
from bench.observer import METRICS
from bench.report import median_interval, save, summary
from cilia.wire.http10 import decode_answer, encode_request

ROUNDS, SECONDS = 24, 0.3
BUDGET = 0.97
"""The rate with everything on must be no less than this of the rate without."""
METRICS_ADDRESS = "127.0.0.1:42965"
FILTER = ("--verdict", "DROPPED")
DEADLINE_S = 60
Row = dict[str, Any]


class Node(Cilia):
    """Rings are left to the observer."""

    def drain(self) -> int:
        """Nothing."""
        return 0


@contextmanager
def observed(node: Cilia) -> Iterator[None]:
    """The real observer reads, and a client of it follows."""
    site = node.site
    site.run.mkdir(parents=True, exist_ok=True)
    cilia = [sys.executable, "-m", "cilia"]
    reading = [*cilia, "observer", f"--node-name={site.name}", f"--bpffs={site.bpffs}",
               f"--run-dir={site.run}", f"--hubble-metrics-server={METRICS_ADDRESS}",
               f"--hubble-metrics={METRICS}", "--log-level=error"]  # fmt: skip
    following = [*cilia, "hubble", "observe", "-f", *FILTER]
    following += [f"--server=unix://{site.hubble_socket}"]
    with ExitStack() as stack:
        reader = stack.enter_context(running(reading))
        with grpc.insecure_channel(f"unix://{site.hubble_socket}") as channel:
            grpc.channel_ready_future(channel).result(DEADLINE_S)
        client = stack.enter_context(running(following))
        yield
        assert reader.poll() is client.poll() is None, "the observer or its client has ended"


@contextmanager
def running(command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A program, until the end of the block."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def events(node: Cilia) -> Row:
    """What the observer says became of them."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(node.site.run / "observer.sock"))
        client.sendall(encode_request("GET", "/v1/account", {}, None))
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    found = json.loads(decode_answer(answer)[1])["events"]
    return {"what": "events", **{name: found[name] for name in ("sent", "seen", "lost")}}


def judged(fabrics: Sequence[Fabric], tool: Path, mode: str, width: int) -> Row:
    """One mode: the median of the rounds' ratios, held against the budget."""
    rates: dict[str, list[float]] = {fabric.name: [] for fabric in fabrics}
    ratios = []
    for index in range(ROUNDS):
        one, other = fabrics[:: -1 if index % 2 else 1]
        turn = [(f.name, rate(f, tool, mode, width, SECONDS)) for f in (one, other, other, one)]
        if not all(found for _, found in turn):
            continue  # a busy machine gave somebody no time at all
        for name, found in turn:
            rates[name].append(found)
        logs = [math.log(found) * (1 if name == "with" else -1) / 2 for name, found in turn]
        ratios.append(math.exp(sum(logs)))
    ratio, what = median_interval(ratios), f"{mode} x{width}"
    holds = "holds" if ratio["low"] >= BUDGET else "fails" if ratio["high"] < BUDGET else "open"
    medians = {name: summary(found) for name, found in rates.items()}
    words = "   ".join(f"{name} {found['median']:>14,.0f}/s" for name, found in medians.items())
    print(
        f"{what:>9}  {words}   {ratio['median']:.4f} x [95 %: {ratio['low']:.4f} to "
        f"{ratio['high']:.4f}] of {len(ratios)} rounds  budget {BUDGET}: {holds}",
        flush=True,
    )
    return {"what": what, **medians, "ratio": ratio, "rounds": len(ratios), "budget": holds}


def main() -> None:
    """Builds both, side by side, and compares them."""
    tool = Path("/tmp/cilia-netload")
    subprocess.run(["gcc", "-O2", "-o", str(tool), str(SOURCE)], check=True)
    with ExitStack() as stack:
        quiet, node = (
            stack.enter_context(closing(Node(name, events=with_events)))
            for name, with_events in (("without", False), ("with", True))
        )
        fabrics: Sequence[Fabric] = (quiet, node)
        for one in fabrics:
            stack.enter_context(served(one, tool))
        stack.enter_context(observed(node))
        rows = [judged(fabrics, tool, mode, width) for mode, width in MODES]
        rows.append(events(node))
        print(rows[-1], flush=True)
    assert rows[-1]["seen"], "the observer has read nothing"
    save("observability", "python -m bench observability", rows)
