"""Pod to pod against the same namespaces on plain veth + bridge, and with iptables.

Client and server share one core, so the scheduler's choice does not decide the
result; rounds are interleaved; the figure is the median of the rounds' ratios.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.fabric import PORT, SERVER, Bridge, Cilia, Fabric
from bench.report import bars, save, summary

ROUNDS = 5
SECONDS = 1.0
CORE = "0"
DRAIN_S = 0.005
MODES = (("stream", 1), ("stream", 8), ("rr", 1), ("crr", 1))
FABRICS: tuple[Callable[[], Fabric], ...] = (
    Bridge,
    lambda: Bridge("iptables-1", rules=1),
    lambda: Bridge("iptables-100", rules=100),
    lambda: Bridge("iptables-10000", rules=10_000),
    lambda: Cilia("cilia-1-quiet", rows=1, events=False),
    lambda: Cilia("cilia-1", rows=1),
    lambda: Cilia("cilia-100", rows=100),
    lambda: Cilia("cilia-10000", rows=10_000),
)
SOURCE = Path(__file__).with_name("netload.c")


@contextmanager
def served(fabric: Fabric, tool: Path) -> Iterator[None]:
    """The server runs in the fabric's server namespace."""
    command = ["ip", "netns", "exec", fabric.server, "taskset", "-c", CORE, str(tool)]
    with subprocess.Popen([*command, "serve", str(PORT)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield
        finally:
            server.kill()


@contextmanager
def drained(fabric: Fabric) -> Iterator[None]:
    """Somebody reads the events meanwhile, on the other core, as the observer does."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(DRAIN_S):
            fabric.drain()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def rate(fabric: Fabric, tool: Path, mode: str, width: int, seconds: float = SECONDS) -> float:
    """Transactions, or bytes, a second."""
    command = ["ip", "netns", "exec", fabric.client, "taskset", "-c", CORE, str(tool), mode]
    with drained(fabric):
        done = subprocess.run(
            [*command, str(SERVER), str(PORT), str(seconds), str(width)],
            capture_output=True,
            text=True,
            check=True,
        )
    result = json.loads(done.stdout)
    return float(result["count"]) / float(result["seconds"])


def compare(fabrics: list[Fabric], tool: Path, mode: str, width: int) -> list[dict[str, object]]:
    """Interleaved rounds; the first fabric is the baseline."""
    rounds = [[rate(fabric, tool, mode, width) for fabric in fabrics] for _ in range(ROUNDS)]
    rows = []
    for index, fabric in enumerate(fabrics):
        ratios = summary([found[index] / found[0] for found in rounds])
        rates = summary([found[index] for found in rounds])
        rows.append(
            {"what": f"{mode} x{width}", "fabric": fabric.name, "rate": rates, "ratio": ratios}
        )
        print(
            f"{mode:>7} x{width}  {fabric.name:<22} {rates['median']:>16,.0f}/s   "
            f"{ratios['median']:.2f} × bridge   [{ratios['low']:.2f} to {ratios['high']:.2f}]",
            flush=True,
        )
    return rows


def main() -> None:
    """Builds the fabrics side by side and compares them."""
    tool = Path("/tmp/cilia-netload")
    subprocess.run(["gcc", "-O2", "-o", str(tool), str(SOURCE)], check=True)
    with ExitStack() as stack:
        fabrics = []
        for build in FABRICS:
            fabric = build()
            stack.callback(fabric.close)
            stack.enter_context(served(fabric, tool))
            fabrics.append(fabric)
        rows = [row for mode, width in MODES for row in compare(fabrics, tool, mode, width)]
    save("datapath", "python -m bench datapath", rows)
    bars(
        "datapath",
        "Pod to pod, both policies enforced: rate against plain veth + bridge",
        [(f"{row['what']} {row['fabric']}", row["ratio"]["median"]) for row in rows],  # type: ignore[index]  # rows of a report
    )
