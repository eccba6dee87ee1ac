"""CNI ADD as a runtime sees it, the plugin's Python included, at 20 pods a second.

Baseline of the same run: the plugin's interpreter started and doing nothing.
"""

import subprocess
import time

from bench.cluster import Cluster, cluster
from bench.report import percentile, save

RATE = 20
FEW, MANY, ROUNDS = 1, 100, 60


def interpreter_s(one: Cluster) -> float:
    """Starting the plugin's interpreter alone, in seconds."""
    line = (one.node.run / "cni/bin/cilia-cni").open().readline()
    command = line.removeprefix("#!").split()
    began = time.perf_counter()
    subprocess.run([*command, "-c", "pass"], check=True)
    return time.perf_counter() - began


def paced(one: Cluster, first: int, count: int) -> tuple[list[float], list[float]]:
    """ADD of `count` pods at RATE a second, and as many bare interpreters between them."""
    adds, bare = [], []
    began = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, began + index / RATE - time.monotonic()))
        adds.append(one.add(first + index) * 1000)
        bare.append(interpreter_s(one) * 1000)
    return adds, bare


def main() -> None:
    """At 1 endpoint and at 100."""
    rows: list[dict[str, object]] = []
    with cluster(FEW) as one:
        one.create_pods(MANY + 2 * ROUNDS, FEW)
        done = FEW
        for there in (FEW, MANY):
            for index in range(done, there):
                one.add(index)
            done = max(done, there)
            adds, bare = paced(one, done, ROUNDS)
            done += ROUNDS
            row = {
                "endpoints there": there,
                "add p50 ms": percentile(adds, 50),
                "add p99 ms": percentile(adds, 99),
                "interpreter p50 ms": percentile(bare, 50),
            }
            rows.append(row)
            print(
                "   ".join(
                    f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
                )
            )
    save("cni", "python -m bench cni", rows)
