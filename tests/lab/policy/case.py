"""A policy and its truth, side by side."""

import msgspec

from lab.policy.truth import Expectation


class Case(msgspec.Struct, frozen=True):
    """Policies, and what they leave reachable."""

    name: str
    text: str
    """YAML."""
    expected: tuple[Expectation, ...]


def network_policy(spec: str, *, space: str = "x", name: str = "case") -> str:
    """A NetworkPolicy with a spec in one line of YAML."""
    return _document(
        "networking.k8s.io/v1", "NetworkPolicy", f"{{name: {name}, namespace: {space}}}", spec
    )


def cilium_policy(spec: str, *, space: str = "x", name: str = "case") -> str:
    """A CiliumNetworkPolicy."""
    return _document(
        "cilium.io/v2", "CiliumNetworkPolicy", f"{{name: {name}, namespace: {space}}}", spec
    )


def clusterwide_policy(spec: str, *, name: str = "case") -> str:
    """A CiliumClusterwideNetworkPolicy."""
    return _document("cilium.io/v2", "CiliumClusterwideNetworkPolicy", f"{{name: {name}}}", spec)


def _document(version: str, kind: str, metadata: str, spec: str) -> str:
    return f"---\napiVersion: {version}\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"
