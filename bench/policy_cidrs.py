"""One rule with 1,000,000 CIDRs against one with 10: loading them, and what a verdict costs.

`python -m bench policy_cidrs`. The same programs in two nodes of their own, rounds by turns.
A packet is the first of a connection from a pod to an address that the rule names, so that
the ipcache and the policy are looked up; addresses change with every run of a few, for one
address alone would stay in the processor's cache.
"""

import itertools
import time
from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from random import Random

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from bench.fabric import CLIENT, IDENTITIES, Cilia
from bench.report import Table, median_interval, save, summary
from cilia.datapath.maps.endpoints import EndpointMap, EndpointVerdict
from cilia.datapath.maps.ipcache import IpcacheMap
from cilia.ipcache import KernelIpcache
from cilia.kernel import netns
from cilia.kernel.testrun import test_run
from cilia.policy.delta import Assignment
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.hints import Hints
from cilia.policy.sources import parse_policy
from cilia.policy.sync import PolicySync
from cilia.state.tables import Tables

FEW, MANY = 10, 1_000_000
ROUNDS, ADDRESSES, REPEAT = 15, 200, 20
FIRST = 20 << 24
GATEWAY_MAC = "02:00:63:69:6c:61"
DROPPED = 2
"""TC_ACT_SHOT."""


class Node:
    """A node whose client may go to so many prefixes and nowhere else.

    Attributes:
        took: Seconds to load the rule, by part.
    """

    def __init__(self, cidrs: int, stack: ExitStack) -> None:
        self._cidrs = cidrs
        self.fabric = Cilia(
            f"c{cidrs}", events=False, capacities={"ipcache": 1_200_000, "conntrack": 524_288}
        )
        stack.callback(self.fabric.close)
        self.took = self._load()

    def assign(self, assignments: Mapping[int, Assignment]) -> None:
        """Switches the client's row."""
        one = assignments[1]
        EndpointMap(self.fabric.maps).open(
            [
                EndpointVerdict(
                    self.fabric.devices[CLIENT],
                    IDENTITIES[CLIENT],
                    one.policy,
                    one.generation,
                    one.ingress_enforced,
                    one.egress_enforced,
                    one.audit,
                )
            ]
        )

    def policy_numbers(self) -> set[int]:
        """Those of the fabric's own rows."""
        return {1, 2}

    def _load(self) -> dict[str, float]:
        maps = self.fabric.maps
        ipcache = KernelIpcache(IpcacheMap(maps), Tables().ipcache)
        sync = PolicySync(maps["policy"], maps["policy_class"], ipcache, self)
        engine = PolicyEngine(hints=sync.observed(Hints()))
        engine.set_identity(IDENTITIES[CLIENT], ("k8s:app=web",))
        engine.set_endpoint(1, Endpoint(IDENTITIES[CLIENT]))
        texts = [f"{IPv4Address(prefix(n))}/28" for n in range(self._cidrs)]
        document = {
            "kind": "CiliumClusterwideNetworkPolicy",
            "metadata": {"name": "cidrs"},
            "spec": {
                "endpointSelector": {"matchLabels": {"app": "web"}},
                "egress": [{"toCIDR": texts}],
            },
        }
        moments = [time.perf_counter()]
        policy = parse_policy(document)
        moments.append(time.perf_counter())
        engine.set_policy(policy)
        delta = engine.commit()
        moments.append(time.perf_counter())
        assert sync.apply(delta), sync.error
        moments.append(time.perf_counter())
        parts = [after - before for before, after in itertools.pairwise(moments)]
        return dict(zip(("parse", "engine", "kernel"), parts, strict=True))

    def frames(self, random: Random) -> list[bytes]:
        """First packets to addresses that the rule names. RST ends what SYN began, so that
        the next run begins another."""
        found = []
        for index in range(ADDRESSES):
            address = IPv4Address(prefix(random.randrange(self._cidrs)) + random.randrange(16))
            found.append(frame(address, 10_000 + index))
        return found

    def verdict(self, packet: bytes, repeat: int = 1) -> tuple[int, int]:
        """What pod_from returns, and nanoseconds a packet."""
        program, device = self.fabric.programs["pod_from"], self.fabric.devices[CLIENT]
        with netns.inside(Path(self.fabric.site.netns or "")):
            done = test_run(program, packet, repeat=repeat, ifindex=device, ingress_ifindex=device)
        return done.verdict, done.duration_ns

    def nanoseconds(self, random: Random) -> float:
        """Mean of a packet to many addresses."""
        found = [self.verdict(packet, REPEAT) for packet in self.frames(random)]
        assert DROPPED not in {verdict for verdict, _ in found}
        return sum(took for _, took in found) / len(found)


def prefix(number: int) -> int:
    """The address of the rule's prefix of this number: every second /28 from 20.0.0.0."""
    return FIRST + (number << 5)


def frame(address: IPv4Address, port: int) -> bytes:
    """A TCP segment of the client that both begins and ends a connection."""
    ether, ip = Ether(dst=GATEWAY_MAC), IP(src=str(CLIENT), dst=str(address))
    return bytes(ether / ip / TCP(sport=port, dport=443, flags="SR"))


def main() -> None:
    """Prints and keeps the figures."""
    rows: Table = []
    with ExitStack() as stack:
        nodes = {cidrs: Node(cidrs, stack) for cidrs in (FEW, MANY)}
        for cidrs, node in nodes.items():
            assert node.verdict(frame(IPv4Address(prefix(0) + 16), 9))[0] == DROPPED
            whole = sum(node.took.values())
            ratio = whole / cidrs / (sum(nodes[FEW].took.values()) / FEW)
            rows.append(
                {"rule": f"{cidrs:,} CIDRs", **node.took, "seconds": whole, "a CIDR": ratio}
            )
            parts = ", ".join(f"{name} {took:.3f}" for name, took in node.took.items())
            print(f"load {cidrs:>9,} CIDRs  {whole:7.3f} s ({parts})", flush=True)
        times: dict[int, list[float]] = {cidrs: [] for cidrs in nodes}
        for index in range(ROUNDS):
            for cidrs in list(nodes)[:: -1 if index % 2 else 1]:
                times[cidrs].append(nodes[cidrs].nanoseconds(Random(index)))
    against = median_interval([many / few for few, many in zip(*times.values(), strict=True)])
    for cidrs, found in times.items():
        rows.append({"verdict among": f"{cidrs:,} CIDRs", "ns": summary(found)})
    rows.append({"verdict": f"{MANY:,} against {FEW} CIDRs", "ratio": against})
    print(
        "verdict "
        + ", ".join(
            f"{cidrs:,} CIDRs {summary(found)['median']:.0f} ns" for cidrs, found in times.items()
        )
        + f"  {against['median']:.2f} x [{against['low']:.2f} to {against['high']:.2f}]"
    )
    save("policy_cidrs", "python -m bench policy_cidrs", rows)


if __name__ == "__main__":
    main()
