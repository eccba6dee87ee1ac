"""NetworkPolicy of networking.k8s.io/v1.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/ and
https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/
"""

from cilia.model.cidrs import cidr_set
from cilia.model.labels import NAMESPACE, NAMESPACE_LABELS
from cilia.model.ports import PORT_LAST, PROTOCOLS, PortMatch, PortRange
from cilia.model.rules import Direction, Entry, Peers, Policy, PolicyKey, Spec
from cilia.model.selectors import LabelSelector, Operator, Requirement, label_selector
from cilia.policy.syntax.context import Context
from cilia.policy.syntax.fields import Field
from cilia.policy.syntax.peers import cidr_item
from cilia.policy.syntax.ports import port_matches
from cilia.policy.syntax.selectors import in_cluster, parse_selector

KIND = "NetworkPolicy"
_TYPES = ("Ingress", "Egress")
_LISTS = (("ingress", "from", Direction.INGRESS), ("egress", "to", Direction.EGRESS))


def parse_kubernetes(document: Field, key: PolicyKey, context: Context) -> Policy:
    """The policy that an object writes.

    Raises:
        PolicyError: It is not valid.
    """
    members = document.mapping(("apiVersion", "kind", "metadata", "spec", "status"))
    if "spec" not in members:
        document.refuse("has no spec")
    field = members["spec"]
    parts = field.mapping(("podSelector", "policyTypes", "ingress", "egress"))
    own = Requirement(f"k8s:{NAMESPACE}", Operator.IN, (key.namespace,))
    pods = parse_selector(parts["podSelector"], source="k8s") if "podSelector" in parts else None
    subject = pods.adding(own) if pods else label_selector([own])
    closes = _types(parts)
    cluster = context.cluster if context.default_local_cluster else ""
    entries = tuple(
        _entry(item, word, direction, index, (key.namespace, cluster))
        for name, word, direction in _LISTS
        if name in parts and closes[direction]
        for index, item in enumerate(parts[name].items())
    )
    return Policy(key, (Spec(key, field.path, subject, closes, closes, entries),))


def _types(parts: dict[str, Field]) -> tuple[bool, bool]:
    """Which directions the policy closes: ingress always unless it says otherwise."""
    if "policyTypes" not in parts or not (items := parts["policyTypes"].items()):
        return True, "egress" in parts and bool(parts["egress"].items())
    named = {item.choice(_TYPES) for item in items}
    return "Ingress" in named, "Egress" in named


def _entry(
    item: Field, word: str, direction: Direction, index: int, scope: tuple[str, str]
) -> Entry:
    """One rule: no list of peers, or an empty one, means anyone; likewise for ports."""
    members = item.mapping((word, "ports"))
    peers = None
    if word in members and (listed := members[word].items()):
        found = [_peer(each, *scope) for each in listed]
        selectors = tuple(s for s, _ in found if s is not None)
        blocks = [block for _, block in found if block is not None]
        peers = Peers(selectors, cidr_set(blocks) if blocks else None)
    ports = None
    if "ports" in members and (listed := members["ports"].items()):
        ports = tuple(dict.fromkeys(match for each in listed for match in _port(each)))
    return Entry(direction, False, item.path, index, peers, ports)


def _peer(
    item: Field, namespace: str, cluster: str
) -> tuple[LabelSelector | None, tuple[str, list[str]] | None]:
    members = item.mapping(("podSelector", "namespaceSelector", "ipBlock"))
    if not members:
        item.refuse("names no peer", "write podSelector, namespaceSelector or ipBlock")
    if "ipBlock" in members:
        if len(members) > 1:
            item.refuse("has ipBlock beside a selector", "write an item for each")
        return None, _block(members["ipBlock"])
    found = label_selector([])
    if "podSelector" in members:
        found = parse_selector(members["podSelector"], source="k8s")
    if "namespaceSelector" in members:
        spaces = parse_selector(
            members["namespaceSelector"], source="k8s", key_head=NAMESPACE_LABELS
        )
        exists = Requirement(f"k8s:{NAMESPACE}", Operator.EXISTS)
        found = found.adding(*spaces.requirements, exists)
    else:
        found = found.adding(Requirement(f"k8s:{NAMESPACE}", Operator.IN, (namespace,)))
    return in_cluster(found, cluster), None


def _block(field: Field) -> tuple[str, list[str]]:
    members = field.mapping(("cidr", "except"))
    if "cidr" not in members:
        field.refuse("has no cidr")
    return cidr_item(members["cidr"], members.get("except"))


def _port(item: Field) -> tuple[PortMatch, ...]:
    members = item.mapping(("port", "endPort", "protocol"))
    names = ("TCP", "UDP", "SCTP")
    name = members["protocol"].choice(names) if "protocol" in members else "TCP"
    protocol = PROTOCOLS[name]
    if "port" not in members:
        if "endPort" in members:
            members["endPort"].refuse("has no port before it")
        return (PortRange(protocol),)
    port, end = members["port"], members.get("endPort")
    if isinstance(port.found, int):
        first = port.number(1, PORT_LAST)
        last = end.number(1, PORT_LAST) if end else first
        if end and last < first:
            end.refuse(f"is less than port {first}", "write the range's last port")
        return (PortRange(protocol, first, last),)
    if port.text().isdigit():
        port.refuse("is a number in quotes", f"write {port.text()} without them")
    return port_matches(port, end, (protocol,))
