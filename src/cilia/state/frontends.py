"""frontends: addresses that load balancing answers for, and the backends behind each.

Key: (address, port, protocol). Written by service; read by the API.
"""

import msgspec

from cilia.runtime.table import Table


class Backend(msgspec.Struct, frozen=True, gc=False, order=True):
    """One place that can serve."""

    address: str
    port: int
    protocol: str
    state: str = "active"
    """active or terminating (used only when nothing is active)."""
    node: str = ""
    zone: str = ""


class Frontend(msgspec.Struct, frozen=True):
    """One address and port that is balanced."""

    address: str
    port: int
    protocol: str
    namespace: str
    name: str
    type: str
    backends: tuple[Backend, ...]
    """Sorted; only those that take new connections now."""
    affinity_s: int = 0

    @property
    def key(self) -> tuple[str, int, str]:
        """The primary key."""
        return (self.address, self.port, self.protocol)


def table() -> Table[Frontend]:
    """Returns an empty table with an index over services."""
    return Table(
        "frontends",
        lambda row: row.key,
        indexes={"service": lambda row: ((row.namespace, row.name),)},
        writer="service",
    )
