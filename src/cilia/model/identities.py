"""Security identities: numbers for label sets, and what a number's range says of it.

Source: https://docs.cilium.io/en/stable/gettingstarted/terminology/#identity
"""

import hashlib
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cilia.model.labels import LabelSet, Network, cidr_label, label_set
from cilia.model.reserved import ReservedIdentity as ReservedIdentity

WORLDS = (ReservedIdentity.WORLD, ReservedIdentity.WORLD_IPV4, ReservedIdentity.WORLD_IPV6)


class Scope(StrEnum):
    """Who knows an identity's number."""

    RESERVED = "reserved"
    USER_RESERVED = "user-reserved"
    CLUSTER = "cluster"
    LOCAL = "local"
    REMOTE_NODE = "remote-node"


CLUSTER_FIRST = 256
CLUSTER_LAST = 65535
LOCAL_FIRST = 0x01000001
LOCAL_LAST = 0x01FFFFFF
PREFIX_FIRST = LOCAL_FIRST
"""CIDR prefixes of policies are numbered by the policy engine from here …"""
PREFIX_LAST = 0x017FFFFF
OTHER_LOCAL_FIRST = 0x01800000
"""… and the identity room numbers other local ones (DNS names, an outside API server) here."""
REMOTE_NODE_FIRST = 0x02000001
REMOTE_NODE_LAST = 0x02FFFFFF


def scope_of(number: int) -> Scope:
    """Who knows this number.

    >>> scope_of(4711), scope_of(9), scope_of(0x01000001)
    (<Scope.CLUSTER: 'cluster'>, <Scope.RESERVED: 'reserved'>, <Scope.LOCAL: 'local'>)
    """
    if number < 128:
        return Scope.RESERVED
    if number < CLUSTER_FIRST:
        return Scope.USER_RESERVED
    if LOCAL_FIRST <= number <= LOCAL_LAST:
        return Scope.LOCAL
    if REMOTE_NODE_FIRST <= number <= REMOTE_NODE_LAST:
        return Scope.REMOTE_NODE
    return Scope.CLUSTER


def are_of_rules(identities: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """True for the identities of prefixes that CIDR rules name, and for those of the world."""
    named = (identities >= PREFIX_FIRST) & (identities <= PREFIX_LAST)
    return named | np.isin(identities, [int(world) for world in WORLDS])


def candidate_number(labels: LabelSet) -> int:
    """The number to try first for a label set, so that every node tries the same.

    On conflict try `next_candidate` of it.
    """
    text = "".join(f"{label};" for label in labels).encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    span = CLUSTER_LAST - CLUSTER_FIRST + 1
    return CLUSTER_FIRST + int.from_bytes(digest) % span


def next_candidate(number: int) -> int:
    """The number to try when this one is taken by another label set."""
    return CLUSTER_FIRST if number >= CLUSTER_LAST else number + 1


def reserved_labels() -> dict[int, LabelSet]:
    """The label set of every reserved identity that packets can have."""
    labels = {
        int(identity): label_set([f"reserved:{identity.label_name}"])
        for identity in ReservedIdentity
        if identity not in (ReservedIdentity.UNKNOWN, ReservedIdentity.OVERLAY_TO_ENCRYPT)
    }
    labels[ReservedIdentity.KUBE_APISERVER] = label_set(
        ["reserved:kube-apiserver", "reserved:remote-node"]
    )
    return labels


def world_identity(version: int | None, *, dual_stack: bool) -> ReservedIdentity:
    """The identity of an address that nothing is known about.

    Args:
        version: 4 or 6; None when the family is not known.
        dual_stack: Whether the cluster has both families; a single one has one world.
    """
    if not dual_stack or version is None:
        return ReservedIdentity.WORLD
    return ReservedIdentity.WORLD_IPV4 if version == 4 else ReservedIdentity.WORLD_IPV6


def prefix_labels(prefix: Network, *, dual_stack: bool) -> LabelSet:
    """The label set of a prefix that only CIDR rules know.

    >>> import ipaddress
    >>> prefix_labels(ipaddress.ip_network("10.0.0.0/8"), dual_stack=True)
    ('cidr:10.0.0.0/8', 'reserved:world-ipv4')
    """
    world = world_identity(prefix.version, dual_stack=dual_stack).label_name
    own = cidr_label(prefix)
    return label_set([f"reserved:{world}", *([own] if own else [])])
