"""How long the policy engine takes: `python -m bench policy_engine`.

Prints one line a case: median of the rounds, spread, the budget where the design names one,
and how many times as long the plain way takes in the same run: to try every rule on every
identity, to look at every prefix by itself, or to compute all from nothing. What would take
minutes is tried on a part and multiplied. "In the kernel" is until the kernel's maps hold it;
all else is the engine alone.
"""

import gc
import ipaddress
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.report import Table, save, summary
from cilia.datapath import layout
from cilia.datapath.maps.ipcache import IpcacheMap
from cilia.ipcache import KernelIpcache
from cilia.kernel.maps import Map, MapKind
from cilia.model.cidrs import plain_cidr_set
from cilia.model.labels import LabelSet
from cilia.model.ports import PortRange
from cilia.model.rules import Direction, Entry, Peers, Policy, PolicyKey, Spec
from cilia.model.selectors import match_labels
from cilia.policy.delta import Assignment, Delta, WriteRows
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.sources import parse_policy
from cilia.policy.sync import PolicySync
from cilia.state.tables import Tables

ROUNDS = 5
SUBJECT = 1000
OWN = ("k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.kubernetes.pod.namespace=default")
PART = 50
"""The plain way is tried on this part of a case."""


def policy(name: str, peers: Peers, *, port: int = 80, app: str = "web") -> Policy:
    """One policy with one ingress entry."""
    key = PolicyKey("CiliumNetworkPolicy", "default", name)
    ports = (PortRange(6, port, port),)
    entry = Entry(Direction.INGRESS, False, "spec.ingress[0]", 0, peers, ports)
    subject = match_labels({"app": app}, default_source="k8s")
    spec = Spec(key, "spec", subject, (True, False), (True, False), (entry,))
    return Policy(key, (spec,))


def engine_with(identities: int, keys: int = 1000) -> PolicyEngine:
    """An engine with one endpoint and so many identities, of `keys` apps."""
    engine = PolicyEngine()
    engine.set_identity(SUBJECT, ("k8s:app=web", *OWN))
    engine.set_endpoint(1, Endpoint(SUBJECT))
    for number in range(identities):
        engine.set_identity(2000 + number, labels_of(number, keys))
    return engine


def labels_of(number: int, keys: int) -> LabelSet:
    """What an identity carries."""
    return (
        f"k8s:app=app-{number % keys}",
        "k8s:io.cilium.k8s.policy.cluster=default",
        f"k8s:io.kubernetes.pod.namespace=ns-{number % 100}",
        f"k8s:rev={number}",
    )


def app_peers(number: int) -> Peers:
    """The peers `app=app-<number>`."""
    return Peers((match_labels({"app": f"app-{number}"}, default_source="k8s"),))


def from_nothing() -> Iterator[float]:
    """1,000 rules x 10,000 identities."""
    for _ in range(ROUNDS):
        engine = engine_with(10_000)
        start = time.perf_counter()
        for number in range(1000):
            engine.set_policy(policy(f"p{number}", app_peers(number), port=number + 1))
        delta = engine.commit()
        yield time.perf_counter() - start
        assert rows_in(delta) >= 1000


def each_rule_on_each_identity(rules: int, identities: int) -> float:
    """Seconds of the plain way: every selector is tried on every label set."""
    selectors = [app_peers(number).selectors[0] for number in range(rules)]
    found = [labels_of(number, 1000) for number in range(identities // PART)]
    start = time.perf_counter()
    count = sum(selector.matches(labels) for selector in selectors for labels in found)
    took = (time.perf_counter() - start) * PART
    assert count
    return took


def each_prefix_alone(count: int) -> float:
    """Seconds of the plain way: each text is read, and put into a tree, by itself."""
    texts = [f"{n >> 8 & 255}.{n & 255}.0.0/16" for n in range(count // PART)]
    start = time.perf_counter()
    tree: dict[tuple[int, int], int] = {}
    for index, text in enumerate(texts):
        prefix = ipaddress.ip_network(text)
        tree[int(prefix.network_address), prefix.prefixlen] = index
    return (time.perf_counter() - start) * PART


def one_identity() -> Iterator[float]:
    """One identity more among them."""
    engine = _ready()
    for number in range(ROUNDS):
        start = time.perf_counter()
        engine.set_identity(50_000 + number, ("k8s:app=app-7", f"k8s:rev={number}-new"))
        engine.commit()
        yield time.perf_counter() - start


def one_pod_relabelled() -> Iterator[float]:
    """A pod that a policy selects becomes one that another selects."""
    engine = _ready()
    for app in ("web", "api"):
        for number in range(500):
            name = f"{app}-{number}"
            engine.set_policy(policy(name, app_peers(number), port=2000 + number, app=app))
    engine.commit()
    for number in range(ROUNDS):
        start = time.perf_counter()
        engine.set_identity(SUBJECT, (f"k8s:app={'web' if number % 2 else 'api'}", *OWN))
        engine.commit()
        yield time.perf_counter() - start


def one_rule() -> Iterator[float]:
    """One rule more among them."""
    engine = _ready()
    for number in range(ROUNDS):
        peers = Peers((match_labels({"rev": str(number)}, default_source="k8s"),))
        start = time.perf_counter()
        engine.set_policy(policy(f"more-{number}", peers))
        engine.commit()
        yield time.perf_counter() - start


def _ready() -> PolicyEngine:
    engine = engine_with(10_000)
    for number in range(1000):
        engine.set_policy(policy(f"p{number}", app_peers(number), port=number + 1))
    engine.commit()
    return engine


def million_cidrs() -> Iterator[float]:
    """1,000,000 CIDRs in one rule, from text."""
    texts = [f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(1 << 16, 1_065_536)]
    for _ in range(3):
        engine = engine_with(100)
        start = time.perf_counter()
        engine.set_policy(policy("cidrs", Peers(cidrs=plain_cidr_set(texts))))
        engine.commit()
        yield time.perf_counter() - start
        assert len(engine.peers.prefixes) == len(texts)
        assert len(engine.peers.classes) == 2


def many_cidr_rules() -> Iterator[float]:
    """5,000 CIDR rules in 5,000 policies at once."""
    for _ in range(3):
        engine = engine_with(100)
        found = [
            policy(f"c{n}", Peers(cidrs=plain_cidr_set([f"10.{n >> 8}.{n & 255}.0/24"])))
            for n in range(5000)
        ]
        start = time.perf_counter()
        for each in found:
            engine.set_policy(each)
        engine.commit()
        yield time.perf_counter() - start


def one_cidr_policy() -> Iterator[float]:
    """One more policy of a CIDR rule among 5,000."""
    engine = engine_with(100)
    for n in range(5000 + ROUNDS):
        written = policy(f"c{n}", Peers(cidrs=plain_cidr_set([f"10.{n >> 8}.{n & 255}.0/24"])))
        start = time.perf_counter()
        engine.set_policy(written)
        if n < 5000:
            continue
        engine.commit()
        if n > 5000:
            yield time.perf_counter() - start


def one_rule_of_thousand() -> Iterator[float]:
    """One policy, one rule of 1,000 CIDRs."""
    return _cidrs_in_kernel([_texts(1000)])


def one_rule_of_five_thousand() -> Iterator[float]:
    """One policy, one rule of 5,000 CIDRs."""
    return _cidrs_in_kernel([_texts(5000)])


def thousand_rules() -> Iterator[float]:
    """One policy of 1,000 rules, each of one CIDR: 1,000 classes."""
    return _cidrs_in_kernel([[text] for text in _texts(1000)])


def five_thousand_rules() -> Iterator[float]:
    """One policy of 5,000 rules, each of one CIDR: 5,000 classes."""
    return _cidrs_in_kernel([[text] for text in _texts(5000)])


def _texts(count: int) -> list[str]:
    return [f"10.{n >> 8}.{n & 255}.0/24" for n in range(count)]


class NoEndpoints:
    """Endpoints whose rows are nowhere: one row a pod is no part of what is measured."""

    def policy_numbers(self) -> set[int]:
        """None."""
        return set()

    def assign(self, assignments: Mapping[int, Assignment]) -> None:
        """Nothing is written."""


def _cidrs_in_kernel(rules: list[list[str]]) -> Iterator[float]:
    """One policy with a rule for each list, parsed, until the kernel's maps hold it."""
    ports = [{"ports": [{"port": "80", "protocol": "TCP"}]}]
    entries = [{"fromCIDR": texts, "toPorts": ports} for texts in rules]
    spec = {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": entries}
    document = {"kind": "CiliumNetworkPolicy", "metadata": {"name": "cidrs"}, "spec": spec}
    parsed = parse_policy(document)
    for _ in range(ROUNDS):
        engine = engine_with(100)
        with ExitStack() as stack:
            sync = _fresh_maps(stack)
            sync.apply(engine.commit())
            gc.collect()
            start = time.perf_counter()
            engine.set_policy(parsed)
            assert sync.apply(engine.commit())
            yield time.perf_counter() - start
            assert len(sync.held().of_rules) == sum(map(len, rules))


def _fresh_maps(stack: ExitStack) -> PolicySync:
    trie, no_preallocation = MapKind.LPM_TRIE, 1
    maps = {
        name: stack.enter_context(
            Map.create(kind, name, *layout.map_types(name), 262_144, no_preallocation)
        )
        for name, kind in (("policy", trie), ("policy_class", MapKind.HASH), ("ipcache", trie))
    }
    ipcache = KernelIpcache(IpcacheMap(maps), Tables().ipcache)
    return PolicySync(maps["policy"], maps["policy_class"], ipcache, NoEndpoints())


def many_label_sets() -> Iterator[float]:
    """200,000 label sets under 50 policies."""
    gc.collect()
    before = resident_mib()
    start = time.perf_counter()
    engine = engine_with(200_000, keys=5000)
    for number in range(50):
        engine.set_policy(policy(f"p{number}", app_peers(number * 7), port=number + 1))
    delta = engine.commit()
    yield time.perf_counter() - start
    SIZES.append(
        {
            "what": many_label_sets.__doc__,
            "classes": len(engine.peers.classes),
            "rows": rows_in(delta),
            "MiB": resident_mib() - before,
        }
    )


def resident_mib() -> float:
    """What this process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def policy_change() -> Iterator[float]:
    """One of 100 policies changes, 100 endpoints of 100 identities."""
    engine = engine_with(1000)
    for number in range(100):
        engine.set_endpoint(10 + number, Endpoint(2000 + number))
        engine.set_policy(policy(f"p{number}", app_peers(number + 1), app=f"app-{number}"))
    engine.commit()
    for number in range(ROUNDS):
        start = time.perf_counter()
        engine.set_policy(policy("p5", app_peers(number + 50), app="app-5"))
        engine.commit()
        yield time.perf_counter() - start


def rows_in(delta: Delta) -> int:
    """How many policy rows a delta writes."""
    return sum(len(step.rows) for step in delta.steps if isinstance(step, WriteRows))


SIZES: Table = []
Case = Callable[[], Iterator[float]]
PLAIN: dict[Case, Callable[[], float]] = {
    from_nothing: lambda: each_rule_on_each_identity(1000, 10_000),
    many_label_sets: lambda: each_rule_on_each_identity(50, 200_000),
    million_cidrs: lambda: each_prefix_alone(1_000_000),
}
"""The plain way to what a case does, in seconds."""
WHOLE: dict[Case, Case] = {
    one_identity: from_nothing,
    one_rule: from_nothing,
    one_pod_relabelled: from_nothing,
    policy_change: from_nothing,
    one_cidr_policy: many_cidr_rules,
}
"""A case that changes a little, and the one that computes all of it from nothing."""
CASES: tuple[tuple[str, Case, float | None], ...] = (
    ("1,000 rules x 10,000 identities from nothing", from_nothing, 2.0),
    ("one identity more", one_identity, None),
    ("one rule more", one_rule, None),
    ("one pod relabelled", one_pod_relabelled, None),
    ("one policy changed, 100 endpoints", policy_change, None),
    ("one rule of 1,000 CIDRs, in the kernel", one_rule_of_thousand, 0.05),
    ("one rule of 5,000 CIDRs, in the kernel", one_rule_of_five_thousand, 0.15),
    ("one policy of 1,000 CIDR rules, in the kernel", thousand_rules, 0.05),
    ("one policy of 5,000 CIDR rules, in the kernel", five_thousand_rules, 0.15),
    ("5,000 policies of a CIDR rule each", many_cidr_rules, None),
    ("one policy of a CIDR rule more among 5,000", one_cidr_policy, 0.05),
    ("1,000,000 CIDRs in one rule", million_cidrs, None),
    ("200,000 label sets under 50 policies", many_label_sets, None),
)


def main() -> None:
    """Runs every case."""
    rows: Table = []
    medians: dict[Case, float] = {}
    for name, case, budget in CASES:
        gc.collect()
        result = summary(list(case()))
        medians[case] = median = result["median"]
        plain = PLAIN[case]() if case in PLAIN else medians.get(WHOLE.get(case, case), median)
        limit = f"  budget {budget * 1e3:.0f} ms" if budget else ""
        spread = f"{result['low'] * 1e3:.1f} to {result['high'] * 1e3:.1f}"
        ratio = f"  plain {plain / median:.1f} x" if plain != median else ""
        print(f"{name:48} {median * 1e3:9.1f} ms  ({spread}){ratio}{limit}", flush=True)
        row = {"what": name, "seconds": result, "budget": budget or "-"}
        rows.append({**row, "plain": plain / median if plain != median else "-"})
    for size in SIZES:
        print(
            f"{size['what']} {size['classes']} classes, {size['rows']} rows, {size['MiB']:.0f} MiB"
        )
    save("policy_engine", "python -m bench policy_engine", [*rows, *SIZES])
