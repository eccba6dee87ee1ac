"""What shall be reachable: a matrix of flows, written down by the test, not computed from rules."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import product

import msgspec

TCP, UDP, PING = "TCP", "UDP", "ping"
FAMILIES = (4, 6)


class Flow(msgspec.Struct, frozen=True, order=True):
    """One probe: who asks whom, and how."""

    source: str
    target: str
    protocol: str
    port: int
    """0 for ping."""
    family: int

    def __str__(self) -> str:
        how = f"{self.protocol} {self.port}" if self.port else self.protocol
        return f"{self.source} -> {self.target} {how} v{self.family}"


class Expectation(msgspec.Struct, frozen=True):
    """Flows by pattern, and whether they pass. Later ones overrule earlier ones."""

    source: str
    target: str
    allowed: bool
    port: int | None = None
    protocol: str | None = None
    family: int | None = None

    def is_about(self, flow: Flow) -> bool:
        """True if the flow is one of those."""
        return (
            fnmatchcase(flow.source, self.source)
            and fnmatchcase(flow.target, self.target)
            and self.port in (None, flow.port)
            and self.protocol in (None, flow.protocol)
            and self.family in (None, flow.family)
        )


def deny(
    source: str,
    target: str,
    *,
    port: int | None = None,
    protocol: str | None = None,
    family: int | None = None,
) -> Expectation:
    """Such flows are stopped. Patterns are those of file names: `x/*`, `*`, `[yz]/a`."""
    return Expectation(source, target, False, port, protocol, family)


def allow(
    source: str,
    target: str,
    *,
    port: int | None = None,
    protocol: str | None = None,
    family: int | None = None,
) -> Expectation:
    """Such flows pass."""
    return Expectation(source, target, True, port, protocol, family)


def flows(
    sources: Iterable[str],
    targets: Iterable[str],
    ports: Iterable[int],
    protocols: Iterable[str] = (TCP, UDP),
    families: Iterable[int] = FAMILIES,
) -> list[Flow]:
    """Everybody to everybody else, every way."""
    every = product(sources, targets, protocols, ports, families)
    return [Flow(*each) for each in every if each[0] != each[1]]


def truth(asked: Iterable[Flow], expectations: Iterable[Expectation]) -> dict[Flow, bool]:
    """Whether each flow passes: as the last expectation about it says; by default it does."""
    ordered = tuple(expectations)[::-1]
    return {flow: next((e.allowed for e in ordered if e.is_about(flow)), True) for flow in asked}
