"""What hubble asks of others: names for the numbers in a record."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class EndpointName(msgspec.Struct, frozen=True):
    """Whom an endpoint number stands for."""

    pod: str
    """`namespace/name`; empty for an endpoint that is no pod."""


class PolicyRef(msgspec.Struct, frozen=True):
    """One rule that decided, or that closed the direction."""

    kind: str
    namespace: str
    name: str
    rule: int | None = None
    """Index of the entry within its direction's list."""
    direction: str = ""


class Names(Protocol):
    """Look-ups from memory; what is not known yet comes back empty."""

    def endpoint(self, number: int) -> EndpointName | None:
        """The endpoint of this node with that number."""

    def labels(self, identity: int) -> Sequence[str]:
        """The labels behind an identity, sorted."""

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """The rules behind a provenance id."""
