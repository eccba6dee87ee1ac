"""How long a command takes to start, against an empty Python and one that imports click."""

import subprocess
import sys
import time
from pathlib import Path

from bench.report import save, summary

ROUNDS = 15
CILIA = str(Path(sys.executable).with_name("cilia"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "cilia version --client": [CILIA, "version", "--client"],
    "cilia endpoint --help": [CILIA, "endpoint", "--help"],
    "cilia lab --help": [CILIA, "lab", "--help"],
}


def main() -> None:
    """Interleaved rounds; milliseconds."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found[name].append((time.perf_counter() - began) * 1000)
    base = summary(found["python -c pass"])["median"]
    rows: list[dict[str, object]] = []
    for name, values in found.items():
        result = summary(values)
        rows.append({"what": name, "ms": result, "ratio": result["median"] / base})
        print(f"{name:<28} {result['median']:6.1f} ms   {result['median'] / base:5.2f} × python")
    save("cli", "python -m bench cli", rows)
