"""Agent cold start with 20 endpoints (killed with -9 before), and its memory."""

import time
from pathlib import Path

from bench.cluster import NODE, Cluster, cluster, wait_for
from bench.report import save, summary
from cilia.wire.kubernetes import KubernetesClient

PODS, ROUNDS, SERVICES = 20, 5, 10_000


def resident_mib(pid: int) -> float:
    """Resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def settled(one: Cluster) -> bool:
    """The agent answers, is healthy, and every endpoint is ready."""
    try:
        health = one.agent("/v1/healthz")
        endpoints = one.agent("/v1/endpoint")
    except (OSError, ValueError):
        return False
    ready = [e for e in endpoints if e["status"]["state"] == "ready"]
    healthy: bool = health["cilium"]["state"] == "Ok" and health["kubernetes"]["state"] == "Ok"
    return healthy and len(ready) >= PODS


def restart(one: Cluster) -> float:
    """Seconds from the start of a new agent to settled."""
    pid = one.agent_pid()
    one.lab("stop", f"{NODE}/agent")
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the agent ends")
    began = time.perf_counter()
    one.lab("start", f"{NODE}/agent")
    wait_for(lambda: settled(one), "the agent settles")
    return time.perf_counter() - began


def main() -> None:
    """Cold start, idle memory, memory after many services."""
    rows: list[dict[str, object]] = []
    with cluster(PODS) as one:
        times = summary([restart(one) for _ in range(ROUNDS)])
        idle = resident_mib(one.agent_pid())
        began = time.perf_counter()
        one.api(create_services)
        created = time.perf_counter() - began
        wait_for(lambda: len(one.agent("/v1/service")) >= SERVICES, "services are known")
        full = resident_mib(one.agent_pid())
    rows.append({"cold start s": times, "idle MiB": idle, f"{SERVICES} services MiB": full})
    print(f"cold start with {PODS} endpoints {times['median']:.2f} s")
    print(f"idle {idle:.1f} MiB; with {SERVICES} services {full:.1f} MiB ({created:.0f} s to make)")
    save("agent", "python -m bench agent", rows)


async def create_services(client: KubernetesClient) -> None:
    """Services without backends of their own."""
    for index in range(SERVICES):
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"service-{index}"},
            "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]},
        }
        await client.create("/api/v1/namespaces/default/services", service)
