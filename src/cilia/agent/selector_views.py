"""What the REST API says of the selectors in use."""

from typing import Any

from cilia.model.rules import PolicyKey
from cilia.policy.engine import PolicyEngine

Json = dict[str, Any]

_SOURCE = "k8s"
_PREFIX = "io.cilium.k8s.policy"


def selectors_json(engine: PolicyEngine) -> list[Json]:
    """Returns the model SelectorCache: each selector, by its text."""
    return [
        {
            "selector": use.selector,
            "labels": [label for key in use.policies for label in policy_labels(key)],
            "identities": list(use.identities),
            "users": use.users,
        }
        for use in sorted(engine.selectors(), key=lambda use: use.selector)
    ]


def policy_labels(key: PolicyKey) -> list[str]:
    """Returns the labels by which a policy is known.

    >>> policy_labels(PolicyKey("CiliumNetworkPolicy", "default", "rule1"))[0]
    'k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy'
    """
    facts = {"derived-from": key.kind, "name": key.name, "namespace": key.namespace}
    return [f"{_SOURCE}:{_PREFIX}.{name}={value}" for name, value in facts.items() if value]
