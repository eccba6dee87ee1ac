"""What pods pay for being observed: their rates without events against with all of it.

With: the programs send events, `cilia observer` reads them with metrics on, and a client follows
with a filter. Client, server and the rounds are those of `bench.provenance`: interleaved, the
median of paired ratios, and its 95 % confidence interval. The observer has the rest of the
machine: what it costs there is in `bench.observer`.
"""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import grpc

from bench.datapath import MODES, SOURCE, served
from bench.fabric import Cilia, Fabric
from bench.observer import METRICS
from bench.provenance import compare
from bench.report import save
from cilia.wire.http10 import decode_answer, encode_request

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


def judged(fabrics: list[Fabric], tool: Path, mode: str, width: int) -> Row:
    """One mode, held against the budget of this benchmark."""
    with redirect_stdout(io.StringIO()):  # it says there whether another budget holds
        row: Row = compare(fabrics, tool, mode, width)
    ratio = row["ratio"]
    holds = "holds" if ratio["low"] >= BUDGET else "fails" if ratio["high"] < BUDGET else "open"
    rates = "   ".join(f"{name} {row[name]['median']:>14,.0f}/s" for name in ("without", "with"))
    print(
        f"{row['what']:>9}  {rates}   {ratio['median']:.4f} x "
        f"[95 %: {ratio['low']:.4f} to {ratio['high']:.4f}]  budget {BUDGET}: {holds}",
        flush=True,
    )
    return row | {"budget": holds}


def main() -> None:
    """Builds both, side by side, and compares them."""
    tool = Path("/tmp/cilia-netload")
    subprocess.run(["gcc", "-O2", "-o", str(tool), str(SOURCE)], check=True)
    with ExitStack() as stack:
        quiet, node = (
            stack.enter_context(closing(Node(name, events=with_events)))
            for name, with_events in (("without", False), ("with", True))
        )
        fabrics: list[Fabric] = [quiet, node]
        for one in fabrics:
            stack.enter_context(served(one, tool))
        stack.enter_context(observed(node))
        rows = [judged(fabrics, tool, mode, width) for mode, width in MODES]
        rows.append(events(node))
        print(rows[-1], flush=True)
    assert rows[-1]["seen"], "the observer has read nothing"
    save("observability", "python -m bench observability", rows)
