"""Small changes of policy objects that may turn a decision round, as one would write them.

Each is only proposed here; whoever asks tries it in an engine first.
"""

import copy
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from cilia.model.errors import InvalidValue
from cilia.model.labels import NAMESPACE, NAMESPACE_NAME, LabelSet, label_value
from cilia.model.ports import PROTOCOL_NAMES
from cilia.model.rules import Direction, Policy, PolicyKey
from cilia.policy.connection import Party
from cilia.policy.decision import Ports
from cilia.policy.sources import Context, parse_policy
from cilia.policy.syntax.cilium import CLUSTERWIDE, NAMESPACED
from cilia.policy.syntax.kubernetes import KIND as KUBERNETES

Json = dict[str, Any]
WIDENED = 24
"""So many entries of a list are looked at for one to widen."""
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_WORLDS = ("world", "world-ipv4", "world-ipv6")


class Change(msgspec.Struct, frozen=True):
    """One change of one object."""

    action: str
    """add (an item to a list), remove (an item), delete (the object) or apply (a new one)."""
    policy: PolicyKey
    path: str = ""
    """Of the list, or of the item; empty for whole objects."""
    value: Any = None
    """What to add or apply."""


class Wanted(msgspec.Struct, frozen=True):
    """The peer and port that a rule shall speak of."""

    direction: Direction
    subject: Party
    peer: Party
    ports: Ports | None
    """None: every port."""

    @property
    def list_name(self) -> str:
        """`ingress` or `egress`."""
        return self.direction.name.lower()

    @property
    def head(self) -> str:
        """What names of peer lists begin with."""
        return "from" if self.direction is Direction.INGRESS else "to"


def changed(document: object, change: Change) -> Any:
    """A copy of an object with a change in it; None when the object is deleted."""
    if change.action == "apply":
        return change.value
    if change.action == "delete":
        return None
    result = copy.deepcopy(document)
    steps = [name or int(index) for name, index in _STEP.findall(change.path)]
    target: Any = result
    for step in steps[:-1]:
        target = target[step]
    if change.action == "remove":
        del target[steps[-1]]
        return result
    if target.get(steps[-1]) is None:
        target[steps[-1]] = []
    target[steps[-1]].append(change.value)
    return result


def parsed(document: object, context: Context, source: str) -> Policy | None:
    """The policy of an object from a source; None if it is not valid."""
    try:
        return parse_policy(document, context, source)
    except InvalidValue:
        return None


def allowing(policy: Policy, document: Any, wanted: Wanted) -> Iterator[Change]:
    """Additions to a policy that may let a connection be, the smallest first."""
    entries = list(_lists(policy, document, wanted, wanted.list_name))
    for path, items in entries:
        for index, item in enumerate(islice(items or (), WIDENED)):
            yield from _widening(policy.key, f"{path}[{index}]", item, wanted)
    for path, _ in entries:
        entry = entry_for(policy.key, wanted)
        if entry is not None:
            yield Change("add", policy.key, path, entry)


def denying(policy: Policy, document: Any, wanted: Wanted) -> Iterator[Change]:
    """Additions to a policy that deny a connection."""
    if policy.key.kind == KUBERNETES:
        return
    entry = entry_for(policy.key, wanted)
    for path, _ in _lists(policy, document, wanted, wanted.list_name + "Deny"):
        if entry is not None:
            yield Change("add", policy.key, path, entry)


def new_policy(wanted: Wanted, *, deny: bool) -> Change | None:
    """An object that says nothing but this, and closes nothing; None if it cannot be written."""
    namespace = label_value(wanted.subject.labels, f"k8s:{NAMESPACE}") or ""
    labels = own_labels(wanted.subject.labels)
    kind = NAMESPACED if namespace else CLUSTERWIDE
    key = PolicyKey(kind, namespace, "deny-one" if deny else "allow-one")
    entry = entry_for(key, wanted)
    if entry is None:
        return None
    metadata = {"name": key.name} | ({"namespace": namespace} if namespace else {})
    spec: Json = {"endpointSelector": {"matchLabels": labels} if labels else {}}
    spec["enableDefaultDeny"] = {wanted.list_name: False}
    spec[wanted.list_name + ("Deny" if deny else "")] = [entry]
    document = {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}
    return Change("apply", key, "", document)


def _lists(
    policy: Policy, document: Any, wanted: Wanted, name: str
) -> Iterator[tuple[str, list[Any] | None]]:
    """The path of each rule list of the specs that select the subject, and its items."""
    for spec in policy.specs:
        if spec.touches[wanted.direction] and spec.subject.matches(wanted.subject.labels):
            found = document
            for step, index in _STEP.findall(spec.path):
                found = found[step] if step else found[int(index)]
            yield f"{spec.path}.{name}", found.get(name)


def _widening(key: PolicyKey, path: str, item: Json, wanted: Wanted) -> Iterator[Change]:
    """Additions to one entry: to its peers, to its ports."""
    if key.kind == KUBERNETES:
        listed = item.get(wanted.head)
        like = _keys_of([peer.get("podSelector") or {} for peer in listed or ()])
        for peer in _kubernetes_peers(key, wanted.peer, like) if listed else ():
            yield Change("add", key, f"{path}.{wanted.head}", peer)
        port = _kubernetes_port(wanted.ports)
        if item.get("ports") and port is not None:
            yield Change("add", key, f"{path}.ports", port)
        return
    for kind, value in _cilium_peers(key, wanted.peer, item.get(f"{wanted.head}Endpoints") or ()):
        if item.get(wanted.head + kind):
            yield Change("add", key, f"{path}.{wanted.head}{kind}", value)
    name, value = _cilium_port(wanted.ports)
    if item.get(name):
        inner = "ports" if name == "toPorts" else "fields"
        yield Change("add", key, f"{path}.{name}[0].{inner}", value)


def entry_for(key: PolicyKey, wanted: Wanted) -> Json | None:
    """An entry for exactly this peer and port; None if this kind cannot name the peer."""
    entry: Json = {}
    if key.kind == KUBERNETES:
        peers = list(_kubernetes_peers(key, wanted.peer, frozenset()))
        port = _kubernetes_port(wanted.ports)
        if not peers or (wanted.ports and port is None):
            return None
        entry[wanted.head] = [peers[-1]]
        return entry | ({"ports": [port]} if port else {})
    for kind, value in _cilium_peers(key, wanted.peer, ()):
        entry[wanted.head + kind] = [value]
    if not entry:
        return None
    if wanted.ports is not None:
        name, value = _cilium_port(wanted.ports)
        inner = "ports" if name == "toPorts" else "fields"
        entry[name] = [{inner: [value]}]
    return entry


def own_labels(labels: LabelSet) -> dict[str, str]:
    """What a pod's own manifest gave it, without its namespace's, cluster's and account's."""
    found = {}
    for label in labels:
        name, _, value = label.partition("=")
        source, _, key = name.partition(":")
        if source == "k8s" and key != NAMESPACE and not key.startswith("io.cilium.k8s."):
            found[key] = value
    return found


def _keys_of(selectors: Any) -> frozenset[str]:
    return frozenset(
        key.removeprefix("k8s:").removeprefix("any:")
        for selector in selectors
        for key in selector.get("matchLabels") or ()
    )


def _cilium_peers(key: PolicyKey, peer: Party, like: Any) -> Iterator[tuple[str, Any]]:
    """How a Cilium policy names a peer: the kind of list, and the item; the widest first.

    Args:
        like: Selectors beside which it shall stand; their keys are chosen if they do.
    """
    if not isinstance(peer.peer, int):
        yield "CIDR", str(peer.peer)
        return
    reserved = [label for label in peer.labels if label.startswith("reserved:")]
    if reserved:
        name = reserved[0].removeprefix("reserved:")
        yield "Entities", "world" if name in _WORLDS else name
        return
    for labels in _choices(peer, _keys_of(like)):
        namespace = label_value(peer.labels, f"k8s:{NAMESPACE}")
        if namespace and namespace != key.namespace:
            labels = labels | {f"k8s:{NAMESPACE}": namespace}
        yield "Endpoints", {"matchLabels": labels} if labels else {}


def _choices(peer: Party, keys: frozenset[str]) -> Iterator[dict[str, str]]:
    own = own_labels(peer.labels)
    some = {key: value for key, value in own.items() if key in keys}
    if some and some != own:
        yield some
    yield own


def _kubernetes_peers(key: PolicyKey, peer: Party, like: frozenset[str]) -> Iterator[Json]:
    if not isinstance(peer.peer, int):
        yield {"ipBlock": {"cidr": str(peer.peer)}}
        return
    namespace = label_value(peer.labels, f"k8s:{NAMESPACE}")
    if namespace is None:
        return
    space: Json = {}
    if namespace != key.namespace:
        space = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}}}
    for labels in _choices(peer, like):
        yield {**space, "podSelector": {"matchLabels": labels} if labels else {}}


def _cilium_port(ports: Ports | None) -> tuple[str, Json]:
    if ports is None:
        return "toPorts", {"port": "0"}
    name = PROTOCOL_NAMES.get(ports.protocol, "ANY")
    if name in ("ICMP", "ICMPv6"):
        family = "IPv6" if name == "ICMPv6" else "IPv4"
        return "icmps", {"family": family, "type": ports.port}
    return "toPorts", {"port": str(ports.port), "protocol": name}


def _kubernetes_port(ports: Ports | None) -> Json | None:
    name = PROTOCOL_NAMES.get(ports.protocol, "") if ports else ""
    if ports is None or name not in ("TCP", "UDP", "SCTP") or not ports.port:
        return None
    return {"port": ports.port, "protocol": name}
