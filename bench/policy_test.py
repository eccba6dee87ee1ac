"""How long `cilia policy test` takes: `python -m bench policy_test`.

500 policies in one file, 1,000 cases, 100 pods; from a fresh process to its exit, so start-up
and reading YAML are in it. Budget: 5 s. The plain ways, tried on a part and multiplied: the
oracle of the tests, and every mutant applied; neither has start-up or YAML in it.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from tests.unit.policy import oracle

from bench.report import Table, save, summary
from cilia.policy.connection import Party
from cilia.policy.sources import Context
from cilia.policy.trial.cases import Outcome, read_cases, run_cases
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.documents import read_documents
from cilia.policy.trial.manifests import read_manifests
from cilia.policy.trial.mutation import mutants

POLICIES = 500
CASES = 1000
PODS = 100
ROUNDS = 5
BUDGET_S = 5.0
PART = 50
"""So many cases, or mutants, are tried the plain way."""


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


def loaded(folder: Path) -> tuple[Cluster, list[Outcome]]:
    """The cluster and its outcomes, as a trial has them."""
    context = Context()
    files = [folder / "pods.yaml", folder / "policies.yaml"]
    documents = [document for file in files for document in read_documents(file)]
    cluster = Cluster(read_manifests(documents, context), context)
    cases = read_cases(read_documents(folder / "cases.yaml"), cluster)
    cluster.decider.commit()
    return cluster, run_cases(cluster, cases)


def specification(folder: Path, outcomes: Sequence[Outcome]) -> float:
    """Seconds of the plain way: the tests' oracle reads every policy for every case."""
    documents = list(yaml.safe_load_all((folder / "policies.yaml").read_text()))
    part = outcomes[:: len(outcomes) // PART]
    start = time.perf_counter()
    for outcome in part:
        case = outcome.case
        ends = (
            (case.source, "egress", case.destination),
            (case.destination, "ingress", case.source),
        )
        allowed = all(
            oracle.decide(  # type: ignore[no-untyped-call]  # as the tests have it
                documents,
                oracle.Cluster(),
                party(subject),
                direction,
                party(peer),
                "TCP",
                case.ports.port,
            )
            == "allow"
            for subject, direction, peer in ends
        )
        assert allowed == outcome.judgement.allowed, case.title
    return (time.perf_counter() - start) * len(outcomes) / len(part)


def party(found: Party) -> oracle.Party:
    """A pod as the oracle sees it."""
    labels = (label.partition("=") for label in found.labels)
    split = [(*keyed.split(":", 1), value) for keyed, _, value in labels]
    return oracle.Party(tuple((source, key, value) for source, key, value in split))


def each_applied(cluster: Cluster, outcomes: Sequence[Outcome]) -> float:
    """Seconds of the plain way to mutants: each is applied, and every case decided again."""
    engine, cases = cluster.decider.engine, [o.case for o in outcomes if o.passed]
    policies = list(cluster.manifests.policies.values())
    every = [(policy, mutant) for policy in policies for mutant in mutants(policy)]
    part = every[:: len(every) // PART]
    start = time.perf_counter()
    for before, mutant in part:
        for changed in (mutant.policy, before):
            engine.set_policy(changed)
            cluster.decider.commit()
            if changed is not before:
                run_cases(cluster, cases)
    return (time.perf_counter() - start) * len(every) / len(part)


def main() -> None:
    """Prints and keeps the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pods.yaml").write_text("---\n".join(map(pod, range(PODS))))
        (folder / "policies.yaml").write_text("---\n".join(map(policy, range(POLICIES))))
        (folder / "cases.yaml").write_text("".join(map(case, range(CASES))))
        times = [run(folder) for _ in range(ROUNDS)]
        mutated = [run(folder, "--mutate") for _ in range(ROUNDS)]
        cluster, outcomes = loaded(folder)
        plain = specification(folder, outcomes), each_applied(cluster, outcomes)
    rows: Table = []
    titles = ("policy test", "policy test --mutate")
    for title, values, naive in zip(titles, (times, mutated), plain, strict=True):
        found = summary(values)
        ratio = naive / found["median"]
        row = {"case": title, "cases": CASES, "policies": POLICIES, "seconds": found}
        rows.append({**row, "plain": ratio})
        spread = f"({found['low']:.2f} to {found['high']:.2f})"
        what = f"{title}, {CASES} cases x {POLICIES} policies"
        print(f"{what}: {found['median']:.2f} s  {spread}  plain {ratio:.1f} x")
    print(f"budget: {BUDGET_S:g} s without --mutate")
    save("policy_test", "python -m bench policy_test", rows)


if __name__ == "__main__":
    main()
