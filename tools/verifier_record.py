"""Writes bpf/verified.json: how many instructions the verifier walks in each program.

`python tools/verifier_record.py` adds this kernel's numbers; `--check` compares, and fails
when a program needs more than a tenth more than recorded. A kernel without numbers of its
own is held to the largest recorded ones. Needs root: programs are loaded.
"""

import json
import platform
import sys
from pathlib import Path

from cilia.kernel.objects import BpfObject

ROOT = Path(__file__).parents[1]
OBJECTS = ROOT / "src/cilia/datapath/objects"
RECORD = ROOT / "bpf/verified.json"
ALLOWANCE = 1.1

Counts = dict[str, int]


def kernel_name() -> str:
    """Major and minor version: "6.18"."""
    return ".".join(platform.release().split(".")[:2])


def counts() -> Counts:
    """Verified instructions of every program, by name."""
    found: Counts = {}
    for path in sorted(OBJECTS.glob("*.bpf.o")):
        if path.name == "layout.bpf.o":
            continue
        with BpfObject(path) as opened:
            _switch_everything_on(opened)
            opened.load()
            for name, program in opened.programs.items():
                found[name] = program.facts().verified_instructions
                program.close()
    return dict(sorted(found.items()))


def _switch_everything_on(opened: BpfObject) -> None:
    """Sets every byte of the configuration: the verifier skips what is switched off."""
    if "config" in opened.btf.variables(".rodata"):
        size = opened.btf.variable(".rodata", "config")[1]
        opened.set_global("config", b"\x01" * size)


def risen(now: Counts, recorded: dict[str, Counts], kernel: str) -> list[str]:
    """One line for each program that is new or beyond the allowance.

    >>> risen({"a": 120, "b": 5}, {"6.1": {"a": 100, "b": 5}}, "6.1")
    ['a: 120 verified instructions, 100 recorded']
    >>> risen({"a": 120}, {"6.1": {"a": 100}, "6.6": {"a": 115}}, "6.18")
    []
    """
    lines = []
    for name, count in now.items():
        known = [recorded[kernel]] if kernel in recorded else list(recorded.values())
        limit = max((one.get(name, 0) for one in known), default=0)
        if count > limit * ALLOWANCE:
            lines.append(f"{name}: {count} verified instructions, {limit} recorded")
    return lines


def main() -> int:
    """Writes this kernel's numbers, or with `--check` compares; 1 when one has risen."""
    recorded: dict[str, Counts] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    now, kernel = counts(), kernel_name()
    if "--check" not in sys.argv:
        RECORD.write_text(json.dumps(recorded | {kernel: now}, indent=2) + "\n")
        return 0
    lines = risen(now, recorded, kernel)
    if lines:
        lines.append("if that is meant: run `python tools/verifier_record.py` as root")
        print("\n".join(lines), file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
