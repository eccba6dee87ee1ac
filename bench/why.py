"""How long the answer to `cilia why` takes inside the agent: `python -m bench why`.

Budget: 200 ms. The pod that is asked about is selected by ten of the policies. The plain way
is to take every policy into account, not those alone that select one of the two.
"""

import time

import msgspec

from bench.report import save, summary
from cilia.model.rules import PolicyKey
from cilia.policy.connection import Party
from cilia.policy.decision import Ports
from cilia.policy.engine import PolicyEngine
from cilia.policy.explanation import explain
from cilia.policy.sources import parse_policy
from cilia.policy.whatif import DESTINATION, SOURCE, Facts, Question

ROUNDS = 9
CLUSTER = "k8s:io.cilium.k8s.policy.cluster=default"
NAMESPACE = "k8s:io.kubernetes.pod.namespace=default"


def document(number: int, apps: int) -> dict[str, object]:
    """One policy: its app may be reached by the next one."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": f"p{number}"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": f"app-{number % apps}"}},
            "ingress": [
                {
                    "fromEndpoints": [{"matchLabels": {"app": f"app-{number + 1}"}}],
                    "toPorts": [{"ports": [{"port": str(number + 1), "protocol": "TCP"}]}],
                }
            ],
        },
    }


class World:
    """What an agent knows with so many policies."""

    def __init__(self, policies: int) -> None:
        self.engine = PolicyEngine()
        self.texts: dict[PolicyKey, bytes] = {}
        for number in range(policies):
            written = document(number, policies // 10)
            policy = parse_policy(written)
            self.engine.set_policy(policy)
            self.texts[policy.key] = msgspec.json.encode(written)

    def everything(self) -> Facts:
        """All policies, whomever they select."""
        return Facts(dict(self.engine.subjects.policies), self.texts)

    def facts(self, question: Question) -> Facts:
        """As the agent chooses them for a question."""
        subjects = self.engine.subjects
        found = subjects.policies_on(question.source.labels)
        found |= subjects.policies_on(question.destination.labels)
        return Facts(found, {key: self.texts[key] for key in found})


def pod(app: int, place: int) -> Party:
    """A pod's party."""
    labels = (f"k8s:app=app-{app}", CLUSTER, NAMESPACE)
    return Party(f"default/app-{app}", 1000 + place, place, labels)


def seconds(world: World, question: Question, *, plain: bool = False) -> float:
    """How long one answer takes."""
    start = time.perf_counter()
    found = explain(world.everything() if plain else world.facts(question), question)
    assert found.changes
    return time.perf_counter() - start


def main() -> None:
    """Prints and keeps the figures."""
    rows: list[dict[str, object]] = []
    for policies in (100, 1000, 5000):
        world = World(policies)
        refused = Question(pod(9999, SOURCE), pod(5, DESTINATION), Ports(6, 80))
        allowed = Question(pod(6, SOURCE), pod(5, DESTINATION), Ports(6, 6))
        for word, question in (("refused", refused), ("allowed", allowed)):
            found = summary([1e3 * seconds(world, question) for _ in range(ROUNDS)])
            ratio = seconds(world, question, plain=True) * 1e3 / found["median"]
            rows.append({"case": word, "policies": policies, "ms": found, "plain": ratio})
            took = f"{found['median']:7.1f} ms  (budget 200 ms)  plain {ratio:.0f} x"
            print(f"{policies:6} policies, {word}: {took}")
    save("why", "python -m bench why", rows)


if __name__ == "__main__":
    main()
