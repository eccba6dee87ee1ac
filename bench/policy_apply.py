"""A policy applied with the API -> in force on each of 100 endpoints, read from the kernel.

The baseline is one rule of labels in a cluster that has no other policy.
"""

import time
from pathlib import Path

import numpy as np

from bench.cluster import LABEL_SETS, Cluster, cluster, wait_for
from bench.report import percentile, save
from cilia.datapath import layout, loader
from cilia.policy.delta import ALLOW
from cilia.wire.kubernetes import KubernetesClient

PODS, ROUNDS, POLICIES = 100, 20, 5000
IDLE_TICKS = 10
"""Hundredths of a second that an agent with nothing to do may use in one."""
NAMESPACE = "/api/v1/namespaces/default"
PATH = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"
Row = dict[str, object]


def policy(
    name: str, peers: dict[str, object], subject: dict[str, str] | None = None, port: int = 80
) -> dict[str, object]:
    """Lets somebody in to a port of some pods, or of all."""
    ports = [{"ports": [{"port": str(port), "protocol": "TCP"}]}]
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "endpointSelector": {"matchLabels": subject or {"bench": "yes"}},
            "ingress": [{**peers, "toPorts": ports}],
        },
    }


def labels(app: int = 0) -> dict[str, object]:
    """Pods of one app."""
    return {"fromEndpoints": [{"matchLabels": {"app": f"app-{app}"}}]}


def prefixes(count: int, first: int = 20 << 24) -> dict[str, object]:
    """So many prefixes of /24."""
    numbers = [first + (index << 8) for index in range(count)]
    return {"fromCIDR": [f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.0/24" for n in numbers]}


class Kernel:
    """What the node's maps say of policy."""

    def __init__(self, one: Cluster) -> None:
        self._map = loader.open_map(one.node, "endpoint")
        self._rows = loader.open_map(one.node, "policy")
        self._flag = layout.constant("ENDPOINT_INGRESS_ENFORCED")

    def numbers(self) -> dict[int, int]:
        """The policy number of each endpoint that a policy closes."""
        values = self._map.entries()[1]
        closed = values[(values["flags"] & self._flag) != 0]
        return dict(zip(closed["id"].tolist(), closed["policy"].tolist(), strict=True))

    def allowed(self) -> int:
        """How many rows let through, under the numbers of these endpoints."""
        keys, values = self._rows.entries()
        used = np.isin(keys["policy"], list(self.numbers().values()))
        return int((used & (values["verdict"] == ALLOW)).sum())


def measure(one: Cluster, kernel: Kernel, written: dict[str, object]) -> float:
    """Milliseconds from the request to the last endpoint's switch; removes the policy again."""
    name = written["metadata"]["name"]  # type: ignore[index]  # it was made here, with a name
    before = kernel.numbers()

    async def create(client: KubernetesClient) -> float:
        await client.get(NAMESPACE)
        began = time.perf_counter()
        await client.create(PATH, written)
        return began

    async def delete(client: KubernetesClient) -> None:
        await client.delete(f"{PATH}/{name}")

    def enforced() -> bool:
        now = kernel.numbers()
        return len(now) == PODS and not now.items() & before.items()

    def gone() -> bool:
        now = kernel.numbers()
        return len(now) == len(before) and not now.items() & held.items()

    began: float = one.api(create)
    wait_for(enforced, f"{name} in force on {PODS} endpoints")
    took = (time.perf_counter() - began) * 1000
    held = kernel.numbers()
    one.api(delete)
    wait_for(gone, f"{name} gone")
    return took


def apply_all(one: Cluster, kernel: Kernel) -> tuple[float, float]:
    """Thousands of policies: seconds until the API has taken them, and until all are in force."""

    async def create(client: KubernetesClient) -> float:
        await client.get(NAMESPACE)
        began = time.perf_counter()
        for index in range(POLICIES):
            app = index // 2 % LABEL_SETS
            peers = prefixes(1, (40 << 24) + (index << 8)) if index % 2 else labels(app)
            subject = {"app": f"app-{app}"}
            await client.create(PATH, policy(f"many-{index}", peers, subject, 1000 + index))
        return began

    began: float = one.api(create)
    created = time.perf_counter() - began
    wait_for(lambda: kernel.allowed() >= POLICIES, f"{POLICIES} policies in force")
    return created, time.perf_counter() - began


def settle(one: Cluster) -> None:
    """Waits until the agent has nothing to do: it tells the API of each policy afterwards."""
    stat = Path(f"/proc/{one.agent_pid()}/stat")

    def busy() -> int:
        words = stat.read_text().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])

    def is_idle() -> bool:
        before = busy()
        time.sleep(1.0)
        return busy() - before <= IDLE_TICKS

    wait_for(is_idle, "the agent is idle")


def report(rows: list[Row], what: str, others: int, times: list[float]) -> None:
    """One more row: percentiles, and the ratio to the first row."""
    p50, p99 = percentile(times, 50), percentile(times, 99)
    baseline = rows[0]["p50 ms"] if rows else p50
    assert isinstance(baseline, float)
    row: Row = {"rule": what, "other policies": others, "endpoints": PODS}
    rows.append({**row, "p50 ms": p50, "p99 ms": p99, "ratio": p50 / baseline})
    print(
        f"{what:<16} {others:5} others {p50:7.1f} ms p50  {p99:7.1f} ms p99  "
        f"{p50 / baseline:5.2f} x",
        flush=True,
    )


def main() -> None:
    """One rule of labels, then of 1,000 and of 5,000 prefixes; then beside 5,000 policies."""
    rows: list[Row] = []
    with cluster(PODS) as one:
        kernel = Kernel(one)
        kinds = {"labels": labels()}
        kinds |= {f"{count} prefixes": prefixes(count) for count in (1, 1000, 5000)}
        for what, peers in kinds.items():
            times = [measure(one, kernel, policy(f"one-{i}", peers)) for i in range(ROUNDS)]
            report(rows, what, 0, times)
        created, enforced = apply_all(one, kernel)
        settle(one)
        for what in ("labels", "1 prefixes"):
            times = [measure(one, kernel, policy(f"more-{i}", kinds[what])) for i in range(ROUNDS)]
            report(rows, what, POLICIES, times)
    ratio = enforced / created
    whole: Row = {"policies": POLICIES, "API s": created, "in force s": enforced, "ratio": ratio}
    print(f"{POLICIES} at once: API {created:.1f} s, in force {enforced:.1f} s  {ratio:.2f} x")
    save("policy_apply", "python -m bench policy_apply", [*rows, whole])
