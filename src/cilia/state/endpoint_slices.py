"""endpoint_slices: who stands behind a service.

Key: (namespace, name). Written by the agent's Kubernetes source; read by service,
policy (toServices) and ipcache (the API server's addresses).
"""

import msgspec

from cilia.runtime.table import Table


class SlicePort(msgspec.Struct, frozen=True, gc=False):
    """A port that every backend of a slice has."""

    name: str
    protocol: str
    port: int


class SliceBackend(msgspec.Struct, frozen=True):
    """One backend of a slice."""

    addresses: tuple[str, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    zone: str = ""


class EndpointSlice(msgspec.Struct, frozen=True):
    """One slice of a service's backends."""

    namespace: str
    name: str
    service: str
    ports: tuple[SlicePort, ...]
    backends: tuple[SliceBackend, ...]


def table() -> Table[EndpointSlice]:
    """Returns an empty table with an index over services."""
    return Table(
        "endpoint slices",
        lambda row: (row.namespace, row.name),
        indexes={"service": lambda row: ((row.namespace, row.service),)},
        writer="agent",
    )
