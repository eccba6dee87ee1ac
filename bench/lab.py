"""From nothing to a lab with the demo ready; and the memory of its programs, idle."""

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.report import save, summary

ROUNDS = 3
CILIA = str(Path(sys.executable).with_name("cilia"))
NAME = f"bench{os.getpid() % 100000}"
PROGRAMS = ("agent", "observer", "lab kubelet", "lab apiserver", "lab controllers", "lab run")


def resident_mib(word: str) -> float:
    """Resident memory of the program of this lab whose command line has `word`, in MiB."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text().replace("\0", " ")
            status = (process / "status").read_text()
        except OSError:
            continue
        if f"cilia {word} " in command and NAME in command:
            kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS"))
            return int(kilobytes.split()[1]) / 1024
    return 0.0


def seconds(*words: str) -> float:
    """How long a command took."""
    began = time.perf_counter()
    subprocess.run([CILIA, "lab", *words, "--name", NAME], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Up, up again (nothing to do), down."""
    found: dict[str, list[float]] = {"up with the demo": [], "up again": [], "down": []}
    memory: dict[str, list[float]] = {program: [] for program in PROGRAMS}
    for _ in range(ROUNDS):
        try:
            found["up with the demo"].append(seconds("up", "--demo", "starwars"))
            found["up again"].append(seconds("up", "--demo", "starwars"))
            for program in PROGRAMS:
                memory[program].append(resident_mib(program))
        finally:
            found["down"].append(seconds("down"))
    rows: list[dict[str, object]] = []
    for name, values in found.items():
        rows.append({"what": name, "seconds": summary(values)})
        print(f"lab {name:<20} {summary(values)['median']:6.2f} s")
    for program, sizes in memory.items():
        rows.append({"what": program, "mib": summary(sizes)})
        print(f"{program:<24} {summary(sizes)['median']:6.1f} MiB resident")
    save("lab", "python -m bench lab", rows)
