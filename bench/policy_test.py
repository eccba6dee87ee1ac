"""How long `cilia policy test` takes: `python -m bench policy_test`.

500 policies in one file, 1,000 cases, 100 pods; from a fresh process to its exit, so start-up
and reading YAML are in it. Budget: 5 s.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import save, summary

POLICIES = 500
CASES = 1000
PODS = 100
ROUNDS = 5
BUDGET_S = 5.0


def pod(number: int) -> str:
    """One pod."""
    labels = f"{{app: app-{number}, tier: t{number % 7}}}"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: pod-{number}, labels: {labels}}}\n"


def policy(number: int) -> str:
    """One policy: some pod may be reached by a tier on one port, and not by one app."""
    kind = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
    return (
        f"{kind}metadata: {{name: p{number}}}\nspec:\n"
        f"  endpointSelector: {{matchLabels: {{app: app-{number % PODS}}}}}\n"
        "  ingress:\n"
        f"  - fromEndpoints: [{{matchLabels: {{tier: t{number % 7}}}}}]\n"
        f"    toPorts: [{{ports: [{{port: '{1000 + number}', protocol: TCP}}]}}]\n"
        "  ingressDeny:\n"
        f"  - fromEndpoints: [{{matchLabels: {{app: app-{(number + 7) % PODS}}}}}]\n"
    )


def case(number: int) -> str:
    """One case, whatever comes of it."""
    source, destination, port = number * 13 % PODS, number % PODS, 1000 + number % POLICIES
    return f"- {{from: pod-{source}, to: pod-{destination}, port: {port}, expect: deny}}\n"


def run(folder: Path, *words: str) -> float:
    """Seconds that one run takes; some cases fail, which is as well."""
    start = time.perf_counter()
    command = [sys.executable, "-P", "-m", "cilia", "policy", "test", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert f"{CASES} cases" in done.stdout, done.stdout[-200:]
    return time.perf_counter() - start


def main() -> None:
    """Prints and keeps the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pods.yaml").write_text("---\n".join(map(pod, range(PODS))))
        (folder / "policies.yaml").write_text("---\n".join(map(policy, range(POLICIES))))
        (folder / "cases.yaml").write_text("".join(map(case, range(CASES))))
        times = [run(folder) for _ in range(ROUNDS)]
        mutated = [run(folder, "--mutate")]
    rows: list[dict[str, object]] = []
    for title, values in (("policy test", times), ("policy test --mutate", mutated)):
        found = summary(values)
        rows.append({"case": title, "cases": CASES, "policies": POLICIES, **found, "unit": "s"})
        spread = f"({found['low']:.2f} to {found['high']:.2f})"
        print(f"{title}, {CASES} cases x {POLICIES} policies: {found['median']:.2f} s  {spread}")
    print(f"budget: {BUDGET_S:g} s without --mutate")
    save("policy_test", "python -m bench policy_test", rows)


if __name__ == "__main__":
    main()
