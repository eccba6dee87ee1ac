"""Nanoseconds a packet in pod_from, by itself: no device, no scheduler, no receiver.

`python -m bench.program [FOLDER ...]` compares the objects of other builds. The kernel's
test run repeats one frame; the figure is the least of many rounds, which take turns. The
baseline is an empty program, so what the test run itself costs can be taken off.
"""

import itertools
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgspec
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from bench.fabric import CLIENT, PORT, SERVER, V6, Cilia
from bench.report import save, summary
from cilia.datapath import layout
from cilia.kernel import netns
from cilia.kernel.objects import BpfObject, Program
from cilia.kernel.testrun import test_run

ROUNDS = 15
REPEAT = 100_000
REPEAT_NEW = 1_000
"""A new connection makes three events: as many as a ring can hold."""
GATEWAY_MAC = "02:00:63:69:6c:61"
NOTHING = '__attribute__((section("tc"))) int nothing(void *ctx) { return 0; }'
COMPILE = ("clang-19", "-O2", "-g", "-target", "bpf", "-x", "c", "-c", "-")


_numbers = itertools.count()


class Case(msgspec.Struct, frozen=True):
    """A frame to repeat, after one that prepares for it."""

    name: str
    before: bytes
    frame: bytes
    repeat: int = REPEAT


def frame(version: int, flags: str, port: int) -> bytes:
    """A TCP segment from the client to the server."""
    if version == 4:
        network = IP(src=str(CLIENT), dst=str(SERVER))
    else:
        network = IPv6(src=str(V6[CLIENT]), dst=str(V6[SERVER]))
    return bytes(Ether(dst=GATEWAY_MAC) / network / TCP(sport=port, dport=PORT, flags=flags) / b"1")


CASES = (
    Case("established v4", frame(4, "S", 40000), frame(4, "PA", 40000)),
    Case("established v6", frame(6, "S", 40000), frame(6, "PA", 40000)),
    # RST ends the connection that SYN began, so that the next run begins another.
    Case("new connection v4", frame(4, "SR", 40001), frame(4, "SR", 40001), REPEAT_NEW),
)


class Subject:
    """One build of pod_from in a node of its own, with events or without."""

    def __init__(self, name: str, objects: Path, events: bool, stack: ExitStack) -> None:
        self.name = f"{name}, events {'on' if events else 'off'}"
        self._fabric = Cilia(f"p{next(_numbers)}", events=events, objects=objects)
        stack.callback(self._fabric.close)

    def run(self, case: Case) -> int:
        """Nanoseconds a packet."""
        program, device = self._fabric.programs["pod_from"], self._fabric.devices[CLIENT]
        self._fabric.drain()
        with netns.inside(Path(self._fabric.site.netns)):
            test_run(program, case.before, ifindex=device, ingress_ifindex=device)
            done = test_run(
                program, case.frame, repeat=case.repeat, ifindex=device, ingress_ifindex=device
            )
        assert done.verdict == 7, f"pod_from did not forward: {case.name}"
        return done.duration_ns


def empty(stack: ExitStack) -> Program:
    """A program that does nothing."""
    path = Path("/tmp/cilia-bench-program.bpf.o")
    subprocess.run([*COMPILE, "-o", str(path)], input=NOTHING, text=True, check=True)
    loaded = stack.enter_context(BpfObject(path)).load()
    return loaded.programs["nothing"]


def measure(folders: dict[str, Path]) -> list[dict[str, object]]:
    """Least nanoseconds of every build and case, printed as they are known."""
    rows: list[dict[str, object]] = []
    with ExitStack() as stack:
        nothing = empty(stack)
        subjects = [
            Subject(name, objects, events, stack)
            for name, objects in folders.items()
            for events in (False, True)
        ]
        for case in CASES:
            found: dict[str, list[float]] = {"nothing": []} | {one.name: [] for one in subjects}
            for _ in range(ROUNDS):
                done = test_run(nothing, case.frame, repeat=case.repeat)
                found["nothing"].append(done.duration_ns)
                for subject in subjects:
                    found[subject.name].append(subject.run(case))
            for name, times in found.items():
                rows.append({"what": case.name, "program": name, "ns": summary(times)})
                print(f"{case.name:<18} {name:<32} {min(times):>5.0f} ns", flush=True)
    return rows


def main() -> None:
    """This build, and those in the folders given on the command line."""
    folders = {"pod_from": layout.OBJECTS}
    folders |= {str(Path(one)): Path(one) for one in sys.argv[1:] if "/" in one}
    rows = measure(folders)
    if len(folders) == 1:
        save("program", "python -m bench program", rows)


if __name__ == "__main__":
    main()
