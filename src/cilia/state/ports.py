"""A container's port with a name, as endpoints and policies know it."""

import msgspec


class NamedPort(msgspec.Struct, frozen=True, order=True):
    """One named port of a pod."""

    name: str
    protocol: str
    """TCP, UDP or SCTP."""
    port: int
