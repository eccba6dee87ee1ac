"""Rows of other rooms' tables, as the engine wants them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from cilia.model.labels import Label, label_set
from cilia.model.ports import PROTOCOLS, NamedPorts
from cilia.policy.engine import Endpoint
from cilia.policy.resolution import CidrGroup, PolicyService
from cilia.state import cidr_groups
from cilia.state.endpoint_slices import EndpointSlice
from cilia.state.endpoints import EndpointRow
from cilia.state.ipcache import IpcacheRow
from cilia.state.ports import NamedPort
from cilia.state.services import Service
from cilia.state.tables import Tables

_WHOLE = 128
_KINDS = {"node": "nodes", "local": "pods", "custom-resource": "pods"}
"""What the sources of ipcache rows speak of, as `policy-cidr-match-mode` names it."""


def named_ports(ports: Iterable[NamedPort]) -> NamedPorts:
    """Named ports by protocol number; names compare in lower case."""
    return frozenset(
        (port.name.lower(), PROTOCOLS[port.protocol], port.port)
        for port in ports
        if port.protocol in PROTOCOLS
    )


def endpoint_of(row: EndpointRow, *, audit: bool = False) -> Endpoint | None:
    """The endpoint of a row; None while its identity is not known.

    Args:
        row: The endpoint.
        audit: Every endpoint of this node is in audit mode, whatever was chosen for it.
    """
    if row.identity is None:
        return None
    return Endpoint(row.identity, named_ports(row.named_ports), row.audit_wanted or audit)


def concerns_policy(old: Any, new: Any) -> bool:
    """False if all that has changed about an endpoint is what policy itself has written."""
    if not isinstance(old, EndpointRow) or not isinstance(new, EndpointRow):
        return True
    written = msgspec.structs.replace(
        old,
        state=new.state,
        policy_revision=new.policy_revision,
        ingress_enforced=new.ingress_enforced,
        egress_enforced=new.egress_enforced,
        audit=new.audit,
    )
    return written != new


def identity_ports(tables: Tables, identity: int) -> NamedPorts:
    """The named ports of every pod that has an identity."""
    ports = [row.named_ports for row in tables.endpoints.by("identity", identity)]
    ports += [row.named_ports for row in tables.remote_endpoints.by("identity", identity)]
    return frozenset().union(*map(named_ports, ports))


def is_matched(row: IpcacheRow, kinds: Collection[str]) -> bool:
    """True for an address that CIDR rules match although its identity is known.

    Args:
        row: What the ipcache says.
        kinds: What is to be matched: nodes, pods.
    """
    if row.key[16] != _WHOLE:
        return False
    return _KINDS.get(row.source, "") in kinds


def group_of(row: cidr_groups.CidrGroup) -> CidrGroup:
    """The group of a row."""
    labels = label_set(Label("k8s", key, value) for key, value in row.labels)
    return CidrGroup(row.name, labels, row.cidrs)


def services_of(
    services: Iterable[Service], slices: Iterable[EndpointSlice]
) -> list[PolicyService]:
    """Every service; those without a selector with their backends' addresses."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in slices:
        addresses = [a for backend in each.backends for a in backend.addresses]
        found.setdefault((each.namespace, each.service), []).extend(addresses)
    return [_service_of(row, found.get((row.namespace, row.name), ())) for row in services]


def _service_of(row: Service, addresses: Sequence[str]) -> PolicyService:
    labels = label_set(Label("k8s", key, value) for key, value in row.labels)
    backends = () if row.selector else tuple(sorted(set(addresses)))
    return PolicyService(row.namespace, row.name, labels, dict(row.selector), backends)


def uses_services(text: bytes) -> bool:
    """True if a policy object's text may refer to services."""
    return b"toServices" in text
