"""From and to: whom an entry is about, as CiliumNetworkPolicy writes it."""

import re

import msgspec

from cilia.model.cidrs import CidrSet, cidr_set, plain_cidr_set, require_inside
from cilia.model.errors import InvalidValue, NotSupported
from cilia.model.labels import CLUSTER
from cilia.model.prefixes import parse_prefixes
from cilia.model.rules import CidrGroupReference, Peers, ServiceReference
from cilia.model.selectors import (
    LabelSelector,
    Operator,
    Requirement,
    label_selector,
    reserved_selector,
)
from cilia.policy.syntax.fields import Field, require_one
from cilia.policy.syntax.l7 import check_fqdns
from cilia.policy.syntax.selectors import node_selector, parse_selector, peer_selector

ENTITIES = (
    "all",
    "world",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
)
WORLDS = ("world", "world-ipv4", "world-ipv6")
CLUSTER_ENTITIES = (
    "host",
    "remote-node",
    "init",
    "ingress",
    "health",
    "unmanaged",
    "kube-apiserver",
)
_GROUP_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CIDR_FORMS = ("cidr", "cidrGroupRef", "cidrGroupSelector")
_INDEX = re.compile(r"(\d+): (.*)", re.DOTALL)


class PeerScope(msgspec.Struct, frozen=True):
    """What peers of a policy may reach."""

    namespace: str
    """The policy's; empty for a cluster-wide one."""
    cluster: str
    """This cluster's name."""
    local_only: bool
    """Selectors that name no cluster reach this one only."""
    by_node: bool
    """Rules may select nodes by label."""
    of_init: bool = False
    """The subject selects endpoints without an identity yet."""


class PeerSyntax:
    """Reads the peers of one entry, and notes what is valid and not supported yet."""

    def __init__(self, scope: PeerScope) -> None:
        self.unsupported: list[NotSupported] = []
        self._scope = scope

    def peers(self, kind: str, field: Field) -> Peers | None:
        """The peers of one list; None: anyone.

        Args:
            kind: The field's name without from or to: Endpoints, CIDR, Entities …
            field: The list.
        """
        match kind:
            case "Endpoints":
                return Peers(tuple(self._endpoint(item) for item in field.items()))
            case "Entities":
                return self._entities(field)
            case "CIDR":
                return Peers(cidrs=_cidrs(field))
            case "CIDRSet":
                return _cidr_rules(field)
            case "Nodes":
                return self._nodes(field)
            case "Services":
                return Peers(services=tuple(_service(item) for item in field.items()))
            case _:
                return self._later(kind, field)

    def _endpoint(self, item: Field) -> LabelSelector:
        scope = self._scope
        cluster = scope.cluster if scope.local_only else ""
        return peer_selector(item, scope.namespace, cluster, of_init=scope.of_init)

    def _entities(self, field: Field) -> Peers | None:
        found: dict[LabelSelector, None] = {}
        names = [item.choice(ENTITIES) for item in field.items()]
        for name in names:
            found.update(dict.fromkeys(entity_selectors(name, self._scope.cluster)))
        return None if "all" in names else Peers(tuple(found))

    def _nodes(self, field: Field) -> Peers:
        cluster = self._scope.cluster if self._scope.local_only else ""
        found = tuple(node_selector(item, cluster) for item in field.items())
        if not self._scope.by_node:
            field.refuse(
                "selects nodes by label, which is off",
                "set enable-node-selector-labels, or use entity remote-node",
            )
        return Peers(found)

    def _later(self, kind: str, field: Field) -> Peers:
        items = field.items()
        if kind == "Requires":
            if items:
                field.refuse("is no longer part of the language", "use deny rules")
            return Peers()
        if kind == "FQDNs":
            check_fqdns(field)
            what = "DNS names are"
        else:
            for item in items:
                item.mapping(("aws",))
            what = "cloud provider groups are"
        if items:
            self.unsupported.append(field.not_supported(what))
        return Peers()


def entity_selectors(name: str, cluster: str) -> list[LabelSelector]:
    """What an entity stands for; `all` is left to the caller."""
    if name == "world":
        return [reserved_selector(world) for world in WORLDS]
    if name == "cluster":
        own = Requirement(f"k8s:{CLUSTER}", Operator.IN, (cluster,))
        return [*map(reserved_selector, CLUSTER_ENTITIES), label_selector([own])]
    return [] if name in ("all", "none") else [reserved_selector(name)]


def _cidrs(field: Field) -> CidrSet:
    items = field.found if isinstance(field.found, list) else None
    if items is None or not all(isinstance(item, str) for item in items):
        items = [item.text() for item in field.items()]
    return _parsed(field, items, "")


def _parsed(field: Field, texts: list[str], member: str) -> CidrSet:
    try:
        return plain_cidr_set(texts)
    except InvalidValue as error:
        match = _INDEX.match(str(error))
        index, problem = (match[1], match[2]) if match else ("0", str(error))
        Field(field.where, f"{field.path}[{index}]{member}", None).refuse(problem)


def _cidr_rules(field: Field) -> Peers:
    """CIDRSet: prefixes with exceptions, and references to groups."""
    found = field.found
    if isinstance(found, list) and all(
        isinstance(item, dict)
        and len(item) == 1
        and isinstance(item.get("cidr"), str)
        and "/" in item["cidr"]
        for item in found
    ):
        return Peers(cidrs=_parsed(field, [item["cidr"] for item in found], ".cidr"))
    plain: list[tuple[str, list[str]]] = []
    groups: list[CidrGroupReference] = []
    for item in field.items():
        members = item.mapping((*_CIDR_FORMS, "except"))
        form = require_one(item, members, _CIDR_FORMS)
        if form == "cidr":
            plain.append(cidr_item(members["cidr"], members.get("except")))
        else:
            holes = members["except"].items() if "except" in members else []
            excluded = tuple(sorted(_prefix(hole) for hole in holes))
            groups.append(_group(form, members[form], excluded))
    return Peers(cidrs=cidr_set(plain) if plain else None, groups=tuple(groups))


def cidr_item(cidr: Field, excluded: Field | None) -> tuple[str, list[str]]:
    """A prefix and its exceptions, which must lie in it."""
    prefix = _prefix(cidr)
    holes = [(hole, _prefix(hole)) for hole in (excluded.items() if excluded else [])]
    for hole, text in holes:
        _inside(prefix, hole, text)
    return prefix, [text for _, text in holes]


def _inside(cidr: str, field: Field, excluded: str) -> None:
    try:
        require_inside(cidr, excluded)
    except InvalidValue as error:
        field.refuse(str(error))


def _prefix(field: Field) -> str:
    text = field.text()
    if "/" not in text:
        field.refuse("is not a prefix", f"write {text}/{128 if ':' in text else 32}")
    try:
        parse_prefixes([text])
    except InvalidValue as error:
        field.refuse(str(error).partition(": ")[2] or str(error))
    return text


def _group(form: str, field: Field, excluded: tuple[str, ...]) -> CidrGroupReference:
    if form == "cidrGroupSelector":
        return CidrGroupReference(selector=parse_selector(field), excluded=excluded)
    name = field.text()
    if len(name) > 253 or not _GROUP_NAME.fullmatch(name):
        field.refuse("is not the name of a group", "write lower-case letters, digits, - and dots")
    return CidrGroupReference(name, excluded=excluded)


def _service(item: Field) -> ServiceReference:
    members = item.mapping(("k8sService", "k8sServiceSelector"))
    form = require_one(item, members, ("k8sService", "k8sServiceSelector"))
    if form == "k8sService":
        parts = members[form].mapping(("serviceName", "namespace"))
        if "serviceName" not in parts or not (name := parts["serviceName"].text()):
            members[form].refuse("has no serviceName")
        namespace = parts["namespace"].text() if "namespace" in parts else ""
        return ServiceReference(name, namespace)
    parts = members[form].mapping(("selector", "namespace"))
    if "selector" not in parts:
        members[form].refuse("has no selector")
    namespace = parts["namespace"].text() if "namespace" in parts else ""
    return ServiceReference("", namespace, parse_selector(parts["selector"]))
