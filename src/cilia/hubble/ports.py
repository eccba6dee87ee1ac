"""What hubble asks of others: names for the numbers in a record."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class EndpointName(msgspec.Struct, frozen=True):
    """Whom an endpoint number stands for."""

    pod: str
    """`namespace/name`; empty for an endpoint that is no pod."""
    addresses: tuple[str, ...] = ()
    """By which a number that was given anew is told apart."""


class PolicyRef(msgspec.Struct, frozen=True):
    """One rule that decided, or that closed the direction."""

    kind: str
    namespace: str
    name: str
    rule: int | None = None
    """Index of the entry within its direction's list."""
    direction: str = ""
    path: str = ""
    """Field path of the entry, as `spec.ingress[0]`."""
    verdict: str = ""
    """allow, deny or default-deny."""
    log: str = ""
    """The text that the policy wants on its events."""
    place: str = ""
    """Where it is written: `file:line`, or `cnp/namespace/name:line` as kubectl shows it."""


class Names(Protocol):
    """Look-ups from memory; what is not known yet comes back empty."""

    def endpoint(self, number: int) -> EndpointName | None:
        """The endpoint of this node with that number."""

    def pod_at(self, address: str, identity: int) -> str:
        """`namespace/name` of a pod anywhere; empty where none has both of these."""

    def workloads(self, pod: str) -> Sequence[tuple[str, str]]:
        """Name and kind of what a pod, `namespace/name`, belongs to."""

    def service(self, address: str, port: int, protocol: int) -> str:
        """`namespace/name` of the service with that frontend."""

    def labels(self, identity: int) -> Sequence[str]:
        """The labels behind an identity, sorted."""

    def policies(self, provenance: int) -> Sequence[PolicyRef]:
        """The rules behind a provenance id."""
