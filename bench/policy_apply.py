"""A policy applied with the API -> in force on each of 100 endpoints, read from the kernel."""

import time

from bench.cluster import Cluster, cluster, wait_for
from bench.report import percentile, save
from cilia.datapath import layout, loader
from cilia.wire.kubernetes import KubernetesClient

PODS, ROUNDS = 100, 20
PATH = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"


def policy(name: str, cidrs: int = 0) -> dict[str, object]:
    """Lets pods of app-0 in, or that many prefixes."""
    peers: dict[str, object] = {"fromEndpoints": [{"matchLabels": {"app": "app-0"}}]}
    if cidrs:
        peers = {"fromCIDR": [f"20.{i >> 8}.{i & 255}.0/24" for i in range(cidrs)]}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "endpointSelector": {"matchLabels": {"bench": "yes"}},
            "ingress": [{**peers, "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}],
        },
    }


def measure(one: Cluster, name: str, cidrs: int) -> float:
    """Milliseconds from the request to the last endpoint's switch; removes the policy again."""
    rows = loader.open_map(one.node, "endpoint")
    flag = layout.constant("ENDPOINT_INGRESS_ENFORCED")

    def enforced() -> int:
        values = rows.entries()[1]
        return int(((values["flags"] & flag) != 0).sum())

    async def create(client: KubernetesClient) -> float:
        await client.get(PATH)
        began = time.perf_counter()
        await client.create(PATH, policy(name, cidrs))
        return began

    async def delete(client: KubernetesClient) -> None:
        await client.delete(f"{PATH}/{name}")

    began: float = one.api(create)
    wait_for(lambda: enforced() == PODS, f"{name} in force on {PODS} endpoints")
    took = (time.perf_counter() - began) * 1000
    one.api(delete)
    wait_for(lambda: enforced() == 0, f"{name} gone")
    return took


def main() -> None:
    """One rule of labels, then of 1,000 and of 5,000 prefixes."""
    rows: list[dict[str, object]] = []
    with cluster(PODS) as one:
        for cidrs in (0, 1000, 5000):
            times = [measure(one, f"bench-{cidrs}-{i}", cidrs) for i in range(ROUNDS)]
            row = {
                "rule": f"{cidrs} prefixes" if cidrs else "labels",
                "endpoints": PODS,
                "p50 ms": percentile(times, 50),
                "p99 ms": percentile(times, 99),
            }
            rows.append(row)
            print(f"{row['rule']:<16} {row['p50 ms']:7.1f} ms p50  {row['p99 ms']:7.1f} ms p99")
    save("policy_apply", "python -m bench policy_apply", rows)
