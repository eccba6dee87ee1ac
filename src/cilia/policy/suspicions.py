"""What is legal in a policy and probably not meant.

Source: https://docs.cilium.io/en/stable/security/policy/language/ and
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import difflib
import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from cilia.model.labels import (
    CLUSTER,
    NAMESPACE,
    NAMESPACE_LABELS,
    NAMESPACE_NAME,
    SERVICE_ACCOUNT,
    SOURCES,
)
from cilia.model.rules import Policy
from cilia.model.selectors import LabelSelector, Operator
from cilia.policy.syntax.kubernetes import KIND as KUBERNETES

WELL_KNOWN = (NAMESPACE, CLUSTER, SERVICE_ACCOUNT, NAMESPACE_LABELS + NAMESPACE_NAME)
_LISTS = ("ingress", "egress", "ingressDeny", "egressDeny")
_PEER_LISTS = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes", "Services")
_CLOSE = 0.85
Node = tuple[str, Any]
"""A field path and what is there."""


class Suspicion(msgspec.Struct, frozen=True, order=True):
    """One oddity."""

    path: str
    """Of the field, as `spec.ingress[0].fromEndpoints[0]`."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} {self.problem}; {self.remedy}"


def suspicions_of(document: Any, policy: Policy) -> list[Suspicion]:
    """What is suspicious about a valid policy.

    Args:
        document: The object as JSON or YAML gives it.
        policy: The same, as parsed.
    """
    nodes = list(_walk("", {k: document[k] for k in ("spec", "specs") if document.get(k)}))
    kubernetes = policy.key.kind == KUBERNETES
    found = [*_keys(nodes, kubernetes), *_holes(nodes), *_contradictions(policy)]
    if kubernetes:
        found += _ignored_rules(document["spec"])
    else:
        found += [*_entries(nodes), *_ports(nodes), *_subjects(nodes, policy.key.namespace)]
    return sorted(set(found))


def _walk(path: str, value: Any) -> Iterator[Node]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _walk(f"{path}.{name}" if path else str(name), member)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(f"{path}[{index}]", item)


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _entries(nodes: Iterable[Node]) -> Iterator[Suspicion]:
    """Entries and lists that select nobody, where that is not the way to close a direction."""
    for path, value in nodes:
        name = _name(path)
        if name in _LISTS and isinstance(value, list):
            for index, item in enumerate(value):
                if not item and (len(value) > 1 or name.endswith("Deny")):
                    yield Suspicion(
                        f"{path}[{index}]",
                        "is empty, so it matches nothing",
                        "leave it out, or name peers: `fromEndpoints: [{}]` is every endpoint",
                    )
        if value == [] and any(name == head + k for head in ("from", "to") for k in _PEER_LISTS):
            yield Suspicion(
                path, "is empty, so it selects nobody", "leave the field out to mean everyone"
            )


def _ports(nodes: Iterable[Node]) -> Iterator[Suspicion]:
    for path, value in nodes:
        if not (isinstance(value, dict) and _name(path).startswith("ports[")):
            continue
        if value.get("port") == "0" and not value.get("endPort"):
            yield Suspicion(f"{path}.port", "0 means every port", "name the port if one is meant")
        first, last = str(value.get("port")), value.get("endPort") or 0
        if first.isdecimal() and 0 < int(last) < int(first):
            yield Suspicion(
                f"{path}.endPort",
                f"{last} is below port {first}, so only {first} is meant",
                "write the lower number in port",
            )
        if not value.get("protocol"):
            yield Suspicion(
                path, "has no protocol, so it is TCP, UDP and SCTP", "write protocol: TCP or ANY"
            )


def _holes(nodes: Iterable[Node]) -> Iterator[Suspicion]:
    """Exceptions that leave nothing."""
    for path, value in nodes:
        if not isinstance(value, dict) or not value.get("except") or "cidr" not in value:
            continue
        outer = ipaddress.ip_network(value["cidr"], strict=False)
        holes = [ipaddress.ip_network(hole, strict=False) for hole in value["except"]]
        merged = ipaddress.collapse_addresses([h for h in holes if h.version == outer.version])  # type: ignore[type-var]  # both of one family
        if any(outer.subnet_of(hole) for hole in merged):  # type: ignore[arg-type]  # both of one family
            yield Suspicion(
                f"{path}.except", f"covers all of {value['cidr']}", "narrow the exceptions"
            )


def _keys(nodes: Iterable[Node], kubernetes: bool) -> Iterator[Suspicion]:
    """Keys that no pod can have, and keys that are nearly one that every pod has."""
    for path, key in _selector_keys(nodes):
        in_namespace = "namespaceSelector" in path
        source, colon, bare = key.partition(":")
        if colon and source not in SOURCES:
            near = difflib.get_close_matches(source, SOURCES, 1)
            hint = f"did you mean {near[0]}:{bare}?" if near else "label keys have no colon"
            yield Suspicion(path, f"has the key {key}: no label source is called {source}", hint)
            continue
        bare = bare if colon else key
        if bare == NAMESPACE_NAME and not kubernetes:
            yield Suspicion(
                path,
                f"has the key {key}, which namespaces carry and pods do not",
                f"write k8s:{NAMESPACE}, or {NAMESPACE_LABELS}{NAMESPACE_NAME}",
            )
        elif not kubernetes and bare not in WELL_KNOWN and (meant := _near(bare)):
            yield Suspicion(path, f"has the key {key}", f"did you mean {meant}?")
        elif in_namespace and bare != NAMESPACE_NAME and _is_near(bare, NAMESPACE_NAME):
            yield Suspicion(path, f"has the key {key}", f"did you mean {NAMESPACE_NAME}?")


def _selector_keys(nodes: Iterable[Node]) -> Iterator[tuple[str, str]]:
    for path, value in nodes:
        if _name(path) == "matchLabels" and isinstance(value, dict):
            for key in value:
                yield path, key
        elif _name(path) == "key" and "matchExpressions[" in path:
            yield path.rpartition(".")[0], value


def _near(bare: str) -> str:
    """The well-known key that a key is nearly; empty when it is like none."""
    if bare.startswith(NAMESPACE_LABELS):
        return ""
    parts, count = bare.split("."), NAMESPACE_LABELS.count(".")
    if len(parts) > count and _is_near(".".join(parts[:count]) + ".", NAMESPACE_LABELS):
        return NAMESPACE_LABELS + ".".join(parts[count:])
    found = difflib.get_close_matches(bare, WELL_KNOWN, 1, _CLOSE)
    return found[0] if found else ""


def _is_near(key: str, known: str) -> bool:
    return difflib.SequenceMatcher(None, key, known).ratio() >= _CLOSE


def _subjects(nodes: Iterable[Node], namespace: str) -> Iterator[Suspicion]:
    """Subjects of another namespace, which a policy cannot have."""
    for path, value in nodes:
        if not namespace or _name(path) != "endpointSelector" or not isinstance(value, dict):
            continue
        for wanted in _namespaces(value):
            if wanted != namespace:
                yield Suspicion(
                    path,
                    f"names namespace {wanted}, and a policy selects in its own only: {namespace}",
                    f"put the policy into namespace {wanted}",
                )


def _namespaces(selector: dict[str, Any]) -> Iterator[str]:
    """The namespaces that a selector names."""
    keys = (NAMESPACE, f"k8s:{NAMESPACE}", f"any:{NAMESPACE}")
    labels = selector.get("matchLabels") or {}
    yield from (labels[key] for key in keys if key in labels)
    for each in selector.get("matchExpressions") or []:
        if each.get("key") in keys and each.get("operator") == Operator.IN:
            yield from each.get("values") or []


def _contradictions(policy: Policy) -> Iterator[Suspicion]:
    for spec in policy.specs:
        if not is_satisfiable(spec.subject):
            yield Suspicion(
                f"{spec.path}.endpointSelector",
                "contradicts itself, so it selects nobody",
                "drop a requirement",
            )
        for entry in spec.entries:
            for selector in entry.peers.selectors if entry.peers is not None else ():
                if not is_satisfiable(selector):
                    yield Suspicion(
                        entry.path,
                        f"has a peer that contradicts itself: {selector}",
                        "drop a requirement",
                    )


def is_satisfiable(selector: LabelSelector) -> bool:
    """False if no label set at all can satisfy a selector.

    Only requirements on one and the same key are compared; `any:` may be met by several
    labels of different sources, so two values of it are no contradiction.
    """
    for key in {r.key for r in selector.requirements}:
        about = [r for r in selector.requirements if r.key == key]
        words = {r.operator for r in about}
        if Operator.DOES_NOT_EXIST in words and words & {Operator.IN, Operator.EXISTS}:
            return False
        if key.startswith("any:"):
            continue
        wanted = [set(r.values) for r in about if r.operator is Operator.IN]
        barred = {v for r in about if r.operator is Operator.NOT_IN for v in r.values}
        if wanted and not set.intersection(*wanted) - barred:
            return False
    return True


def _ignored_rules(spec: Any) -> Iterator[Suspicion]:
    """NetworkPolicy: rules of a direction that policyTypes leaves out."""
    types = spec.get("policyTypes") or []
    for name, word in (("ingress", "Ingress"), ("egress", "Egress")):
        if types and word not in types and spec.get(name):
            yield Suspicion(
                f"spec.{name}", "has no effect", f"add {word} to policyTypes, or leave it out"
            )
