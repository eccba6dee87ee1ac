"""What it costs that every verdict knows its rules: the same programs, with and without.

The programs without are built from the same sources, with each assignment of a provenance
taken out. A round is four short runs, without, with, with, without, or the other way about, so
that a machine that grows faster or slower is even to both. The figure is the median of the
rounds' ratios, with its 95 % confidence interval: it decides only what it does not straddle.
"""

import math
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.datapath import SOURCE, rate, served
from bench.fabric import Cilia, Fabric
from bench.report import median_interval, save, summary
from cilia.datapath import layout

ROUNDS = 40
SECONDS = 0.25
BUDGET = 0.99
"""The rate with provenance must be no less than this of the rate without."""
MODES = (("rr", 1), ("crr", 1))
KERNEL = Path(__file__).parents[1] / "bpf"
HEADERS = {"connection.h": 1, "emit.h": 1, "judge.h": 2, "judged.h": 3}
"""Where provenances are assigned, and how often; any other number is a change to look at."""
_CONNECTION = re.compile(r"\tif \(!pkt->provenance\)\n\t\tpkt->provenance = [^;]+;\n")
_STORE = re.compile(r"^(\t+[\w>.-]*->(?:judged\.)?provenance(?:\[[^\]]+\])? = )[^;]+;$", re.M)


def strip(name: str, text: str) -> str:
    """A header without what it assigns to provenances.

    Raises:
        ValueError: There are more or fewer of those than is known.
    """
    text, found = _CONNECTION.subn("", text)
    # A record lies in memory that the ring does not clear, so zero is written there.
    text, more = _STORE.subn(r"\g<1>0;" if name == "emit.h" else "", text)
    if found + more != HEADERS[name]:
        raise ValueError(
            f"{name}: {found + more} assignments of a provenance, {HEADERS[name]} known"
        )
    return text


def build_without(folder: Path) -> Path:
    """Builds the programs without provenance below a folder; where the objects lie."""
    shutil.copytree(KERNEL, folder / "bpf")
    for name in HEADERS:
        header = folder / "bpf/lib" / name
        header.write_text(strip(name, header.read_text()))
    objects = folder / "objects"
    command = ["make", "-s", "-C", str(folder / "bpf"), f"OBJECTS={objects}"]
    subprocess.run(command, check=True)
    return objects


def compare(fabrics: list[Fabric], tool: Path, mode: str, width: int) -> dict[str, object]:
    """Rounds of four runs: the rate with provenance over that without."""
    rates: dict[str, list[float]] = {fabric.name: [] for fabric in fabrics}
    ratios = []
    for index in range(ROUNDS):
        first, second = fabrics[:: -1 if index % 2 else 1]
        logs = dict.fromkeys(rates, 0.0)
        for fabric in (first, second, second, first):
            found = rate(fabric, tool, mode, width, SECONDS)
            rates[fabric.name].append(found)
            logs[fabric.name] += math.log(found) / 2
        ratios.append(math.exp(logs["with"] - logs["without"]))
    ratio = median_interval(ratios)
    without, with_ = summary(rates["without"]), summary(rates["with"])
    holds = "holds" if ratio["low"] >= BUDGET else "fails" if ratio["high"] < BUDGET else "open"
    print(
        f"{mode:>4} x{width}  without {without['median']:>10,.0f}/s   "
        f"with {with_['median']:>10,.0f}/s   {ratio['median']:.4f} x "
        f"[95 %: {ratio['low']:.4f} to {ratio['high']:.4f}]  budget {BUDGET}: {holds}",
        flush=True,
    )
    what = f"{mode} x{width}"
    return {"what": what, "without": without, "with": with_, "ratio": ratio, "budget": holds}


def main() -> None:
    """Builds both, side by side, and compares them."""
    tool = Path("/tmp/cilia-netload")
    subprocess.run(["gcc", "-O2", "-o", str(tool), str(SOURCE)], check=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="cilia-bench-")))
        fabrics: list[Fabric] = []
        for name, objects in (("without", build_without(folder)), ("with", layout.OBJECTS)):
            fabric = Cilia(name, objects=objects)
            stack.callback(fabric.close)
            stack.enter_context(served(fabric, tool))
            fabrics.append(fabric)
        rows = [compare(fabrics, tool, mode, width) for mode, width in MODES]
    save("provenance", "python -m bench provenance", rows)
