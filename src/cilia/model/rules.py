"""A policy as parsed: whom it is about, and what it lets them do, whatever kind it was.

Source: https://docs.cilium.io/en/stable/security/policy/language/ and
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from enum import IntEnum

import msgspec

from cilia.model.cidrs import CidrSet
from cilia.model.ports import PortMatch
from cilia.model.selectors import LabelSelector


class Direction(IntEnum):
    """Which way, seen from the subject; numbered as the kernel does."""

    INGRESS = 0
    EGRESS = 1


FILE = "file"
"""The source of policies that are written in files."""


class PolicyKey(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """Names one policy object."""

    kind: str
    """CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy or NetworkPolicy."""
    namespace: str
    """Empty for what belongs to no namespace."""
    name: str
    source: str = ""
    """FILE: of the watched folder; empty: of the API server. Both may have one of that name."""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}" + (f" ({self.source})" if self.source else "")


class CidrGroupReference(msgspec.Struct, frozen=True):
    """Every prefix of CiliumCIDRGroups, found when the policy is resolved."""

    name: str = ""
    selector: LabelSelector | None = None
    """Over the groups' labels; None: by name."""
    excluded: tuple[str, ...] = ()
    """Prefixes left out."""


class ServiceReference(msgspec.Struct, frozen=True):
    """The backends of services, found when the policy is resolved."""

    name: str = ""
    namespace: str = ""
    """Empty: every namespace."""
    selector: LabelSelector | None = None
    """Over the services' labels; None: by name."""


class Peers(msgspec.Struct, frozen=True):
    """Whom an entry is about: the union of what is listed, so nothing listed is nobody."""

    selectors: tuple[LabelSelector, ...] = ()
    cidrs: CidrSet | None = None
    groups: tuple[CidrGroupReference, ...] = ()
    services: tuple[ServiceReference, ...] = ()


class Entry(msgspec.Struct, frozen=True):
    """One item of ingress, egress, ingressDeny or egressDeny."""

    direction: Direction
    deny: bool
    path: str
    """Field path of the item, as `spec.ingress[0]`."""
    index: int
    """Its place in its list."""
    peers: Peers | None
    """None: anyone."""
    ports: tuple[PortMatch, ...] | None
    """None: every protocol and port."""


class Spec(msgspec.Struct, frozen=True, cache_hash=True):
    """Entries for one set of subjects."""

    policy: PolicyKey
    path: str
    """`spec`, or `specs[0]` …"""
    subject: LabelSelector
    closes: tuple[bool, bool]
    """For each Direction: what no entry allows is denied."""
    touches: tuple[bool, bool]
    """For each Direction: the spec has a say there at all."""
    entries: tuple[Entry, ...]
    log: str = ""
    """Text that events of this spec carry."""


class Policy(msgspec.Struct, frozen=True):
    """One policy object."""

    key: PolicyKey
    specs: tuple[Spec, ...]
    description: str = ""
