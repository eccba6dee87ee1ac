"""Who says what about a prefix, and who is believed."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton

from cilia.model.errors import InvalidValue
from cilia.model.identities import ReservedIdentity, prefix_labels, world_identity
from cilia.model.labels import LabelSet, Network, label_set
from cilia.model.prefixes import prefix_key
from cilia.state.endpoint_slices import EndpointSlice
from cilia.state.endpoints import EndpointRow
from cilia.state.ipcache import IpcacheRow
from cilia.state.nodes import Node
from cilia.state.remote_endpoints import RemoteEndpoint

_V4_HEAD = bytes(10) + b"\xff\xff"
_WHOLE = b"\x80"

API_SERVICE = ("default", "kubernetes")
"""The service behind which the API server's addresses stand."""


class Source(IntEnum):
    """Who can claim a prefix; the lower, the stronger."""

    NODE = 0
    LOCAL = 1
    KUBE_APISERVER = 2
    CUSTOM_RESOURCE = 3
    WORLD = 4

    @property
    def word(self) -> str:
        """The name that the API shows."""
        return _WORDS[self]


_WORDS = {source: source.name.lower().replace("_", "-") for source in Source}
_REMOTE, _WORLD = _WORDS[Source.CUSTOM_RESOURCE], _WORDS[Source.WORLD]


def address_key(text: str) -> bytes:
    """Returns the prefix key of one whole address.

    Raises:
        InvalidValue: it is not an address.

    >>> address_key("10.0.0.1").hex()
    '00000000000000000000ffff0a00000180'
    """
    try:
        if ":" in text:
            return inet_pton(AF_INET6, text) + _WHOLE
        return _V4_HEAD + inet_pton(AF_INET, text) + _WHOLE
    except (OSError, ValueError) as error:
        raise InvalidValue(f"{text!r} is not an address") from error


class Claims:
    """What each source claims, and the winner of each prefix.

    Claims have owners (a pod, a node), so that a late farewell of an old owner
    does not take away what a new one has claimed meanwhile.
    """

    def __init__(self) -> None:
        self._by_source: tuple[dict[bytes, IpcacheRow], ...] = tuple({} for _ in Source)

    def claim(self, source: Source, old: Sequence[IpcacheRow], new: Sequence[IpcacheRow]) -> None:
        """Replaces what one owner claimed by what it claims now."""
        held = self._by_source[source]
        kept = {row.key for row in new}
        for row in old:
            if row.key not in kept and held.get(row.key) == row:
                del held[row.key]
        for row in new:
            held[row.key] = row

    def winner(self, key: bytes) -> IpcacheRow | None:
        """Returns what is believed about a prefix; None when nobody claims it."""
        for held in self._by_source:
            if (row := held.get(key)) is not None:
                return row
        return None


def endpoint_claims(row: EndpointRow | None) -> list[IpcacheRow]:
    """Returns what a pod of this node claims: its addresses, once it has an identity."""
    if row is None or row.identity is None:
        return []
    return [
        IpcacheRow(
            address_key(address),
            row.identity,
            source=Source.LOCAL.word,
            namespace=row.namespace,
            name=row.pod,
        )
        for address in (row.v4, row.v6)
        if address
    ]


def remote_claims(row: RemoteEndpoint | None) -> list[IpcacheRow]:
    """Returns what a pod of another node claims."""
    if row is None:
        return []
    return [
        IpcacheRow(
            address_key(address),
            row.identity,
            node=row.node,
            source=_REMOTE,
            namespace=row.namespace,
            name=row.name,
        )
        for address in row.addresses
    ]


def node_claims(
    row: Node | None, own: str, api_addresses: Iterable[str], by_label: int | None = None
) -> list[IpcacheRow]:
    """Returns what a node claims: its addresses and its routers' addresses.

    Args:
        row: The node.
        own: Name of the node that we run on, whose addresses are the host's.
        api_addresses: Where API servers listen; a node with one of them is one.
        by_label: The identity that its labels give it, where rules may select those.
    """
    if row is None:
        return []
    serves = set(api_addresses) & set(row.addresses)
    remote = ReservedIdentity.KUBE_APISERVER if serves else ReservedIdentity.REMOTE_NODE
    other = remote if by_label is None else by_label
    identity = ReservedIdentity.HOST if row.name == own else other
    host = "" if row.name == own or not row.addresses else row.addresses[0]
    return [
        IpcacheRow(
            address_key(address), int(identity), node=host, source=Source.NODE.word, name=row.name
        )
        for address in dict.fromkeys((*row.addresses, *row.internal))
    ]


def world_claims(*, dual_stack: bool) -> list[IpcacheRow]:
    """Returns the rows of everything that nobody else claims."""
    return [
        IpcacheRow(
            prefix_key(prefix),
            int(world_identity(prefix.version, dual_stack=dual_stack)),
            source=Source.WORLD.word,
        )
        for prefix in (ip_network("0.0.0.0/0"), ip_network("::/0"))
    ]


def pod_network_claims(networks: Sequence[Network]) -> list[IpcacheRow]:
    """Returns the rows of pod addresses that nobody claims: such a pod is not of the world.

    Without them, a pod whose own row found no room would be let in by a rule for the world.
    """
    unmanaged = int(ReservedIdentity.UNMANAGED)
    return [
        IpcacheRow(prefix_key(network), unmanaged, source=Source.NODE.word) for network in networks
    ]


def api_addresses(slices: Iterable[EndpointSlice]) -> set[str]:
    """Returns where the API servers listen."""
    return {
        address
        for each in slices
        if (each.namespace, each.service) == API_SERVICE
        for backend in each.backends
        for address in backend.addresses
    }


def api_labels(address: str, *, dual_stack: bool) -> LabelSet:
    """Returns the labels of an API server outside the cluster's nodes."""
    return label_set(
        ["reserved:kube-apiserver", *prefix_labels(ip_network(address), dual_stack=dual_stack)]
    )
