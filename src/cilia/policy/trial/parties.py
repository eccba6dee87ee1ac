"""Who a case speaks of: words and label sets as parties of a cluster."""

import ipaddress

import msgspec

from cilia.model.identities import ReservedIdentity
from cilia.model.ports import PROTOCOLS, NamedPorts
from cilia.policy.connection import Party, outside
from cilia.policy.decision import Ports
from cilia.policy.syntax.fields import Field, suggestion
from cilia.policy.syntax.icmp_types import ICMP_TYPES
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.manifests import Name, Service

ENTITIES = {
    identity.label_name: int(identity)
    for identity in ReservedIdentity
    if identity not in (ReservedIdentity.UNKNOWN, ReservedIdentity.OVERLAY_TO_ENCRYPT)
}
_FORMS = ("pod", "labels", "service", "node", "ip", "entity")
_ICMP_FAMILIES = {1: "IPv4", 58: "IPv6"}


class Target(msgspec.Struct, frozen=True):
    """One destination, and the service that leads to it."""

    party: Party
    service: Service | None = None


def targets(field: Field, cluster: Cluster) -> list[Target]:
    """Everyone that a `from` or `to` means; a list means each of its items.

    Raises:
        PolicyError: There is no such party, or it is written wrongly.
    """
    if isinstance(field.found, list):
        return [target for item in field.items() for target in targets(item, cluster)]
    if isinstance(field.found, str):
        return _word(field, cluster)
    members = field.mapping((*_FORMS, "namespace", "serviceAccount", "ports"))
    forms = [name for name in _FORMS if name in members]
    if not forms and "namespace" in members:
        forms = ["labels"]
    if len(forms) != 1:
        field.refuse("says not who it is", f"write one of {', '.join(_FORMS)}")
    match forms[0]:
        case "labels":
            return [Target(_imagined(members, cluster))]
        case "service":
            return _service(members["service"], cluster)
        case "pod":
            return [Target(_pod(members["pod"], cluster))]
        case "node":
            name = members["node"].text()
            if name not in cluster.nodes:
                _missing(members["node"], "node", list(cluster.nodes))
            return [Target(cluster.nodes[name])]
        case "ip":
            return [Target(_address(members["ip"], cluster))]
        case _:
            return [Target(p) for p in _entity(members["entity"])]


def _word(field: Field, cluster: Cluster) -> list[Target]:
    text = field.text()
    if text in ENTITIES or text in ("all", "cluster"):
        return [Target(party) for party in _entity(field)]
    if is_prefix(text):
        return [Target(_address(field, cluster))]
    return [Target(_pod(field, cluster))]


def is_prefix(text: str) -> bool:
    """True if a text writes an address or a prefix."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _entity(field: Field) -> list[Party]:
    name = field.text()
    if name in ("all", "cluster"):
        field.refuse("is many parties", "name one of them: a pod, host, remote-node or world")
    if name not in ENTITIES:
        field.refuse("is not an entity", suggestion(name, list(ENTITIES)))
    # Dual stack has a world a family, and no packet comes from the one without.
    names = ["world-ipv4", "world-ipv6"] if name == "world" else [name]
    return [Party(each, ENTITIES[each]) for each in names]


def _pod(field: Field, cluster: Cluster) -> Party:
    key = _name(field)
    if key not in cluster.pods:
        _missing(field, "pod or workload", ["/".join(known) for known in cluster.pods])
    return cluster.pods[key]


def _service(field: Field, cluster: Cluster) -> list[Target]:
    key = _name(field)
    services = cluster.manifests.services
    if key not in services:
        _missing(field, "service", ["/".join(known) for known in services])
    found = [Target(cluster.pods[pod], services[key]) for pod in cluster.backends(key)]
    if not services[key].rules.selector:
        addresses = cluster.manifests.backends.get(key, ())
        found = [Target(cluster.addresses.get(a) or outside(a), services[key]) for a in addresses]
    if not found:
        field.refuse("has no backends", "add a pod that its selector selects")
    return found


def _name(field: Field) -> Name:
    namespace, slash, name = field.text().partition("/")
    return (namespace, name) if slash else ("default", namespace)


def _missing(field: Field, what: str, known: list[str]) -> None:
    hint = suggestion(str(field.found), known) if known else "the manifests have none"
    field.refuse(f"is no {what} of the manifests", hint)


def _address(field: Field, cluster: Cluster) -> Party:
    text = field.text()
    if not is_prefix(text):
        field.refuse("is not an address", "write 192.0.2.1 or 2001:db8::1")
    return cluster.addresses.get(text) or outside(text)


def _imagined(members: dict[str, Field], cluster: Cluster) -> Party:
    labels = (
        {k: v.text() for k, v in members["labels"].mapping().items()}
        if ("labels" in members)
        else {}
    )
    namespace = members["namespace"].text() if "namespace" in members else "default"
    account = members["serviceAccount"].text() if "serviceAccount" in members else "default"
    ports: NamedPorts = frozenset()
    if "ports" in members:
        found = members["ports"].mapping().items()
        ports = frozenset((name.lower(), *_number(value)) for name, value in found)
    return cluster.imagine(labels, namespace, account, ports)


def _number(field: Field) -> tuple[int, int]:
    number, protocol = _split(field)
    if not number.isdecimal():
        field.refuse("is not a port number", "write 8080 or 8080/UDP")
    return protocol, int(number)


def target_ports(field: Field, target: Target) -> Ports:
    """The port of a case, at this destination.

    Args:
        field: A number or name, a slash and a protocol where it is not TCP.
        target: Resolves names, and ports of services.

    Raises:
        PolicyError: It is not a port, or the destination has none of that name.
    """
    text, protocol = _split(field)
    if target.service is not None:
        return _service_ports(field, text, protocol, target)
    family = _ICMP_FAMILIES.get(protocol)
    if text.isdecimal():
        return Ports(protocol, Field(field.where, field.path, int(text)).number(0, 65535))
    if family is not None:
        if text not in ICMP_TYPES[family]:
            hint = suggestion(text, list(ICMP_TYPES[family]))
            field.refuse(f"is not an ICMP type of {family}", hint)
        return Ports(protocol, ICMP_TYPES[family][text])
    return _named(field, text, protocol, target.party)


def _named(field: Field, text: str, protocol: int, party: Party) -> Ports:
    named = [p for name, proto, p in party.ports if (name, proto) == (text.lower(), protocol)]
    if not named:
        known = [name for name, _, _ in sorted(party.ports)]
        hint = suggestion(text, known) if known else "give the container's port that name"
        field.refuse(f"is no port of {party.title}", hint)
    return Ports(protocol, named[0])


def _service_ports(field: Field, text: str, protocol: int, target: Target) -> Ports:
    assert target.service is not None, "the caller has a service"
    rules, ports = target.service.rules, target.service.ports
    found = [p for p in ports if p.protocol == protocol and text in (p.name, str(p.port))]
    if not found:
        known = ", ".join(f"{p.port} {p.name}".strip() for p in ports) or "none"
        field.refuse(f"is no port of service {rules.namespace}/{rules.name}", f"it has {known}")
    aim = found[0].target
    if isinstance(aim, int):
        return Ports(protocol, aim)
    return _named(field, aim, protocol, target.party)


def _split(field: Field) -> tuple[str, int]:
    if isinstance(field.found, int) and not isinstance(field.found, bool):
        return str(field.found), PROTOCOLS["TCP"]
    text, slash, name = field.text().partition("/")
    known = {word.upper(): number for word, number in PROTOCOLS.items()}
    if slash and name.upper() not in known:
        field.refuse("has no such protocol", suggestion(name, list(PROTOCOLS)))
    return text, known[name.upper()] if slash else PROTOCOLS["TCP"]
