"""What the rules that select an endpoint come to: grants, and what happens to all else."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
import numpy as np

from cilia.model.ports import NamedPort, NamedPorts
from cilia.model.rules import Direction, PolicyKey, Spec
from cilia.policy.delta import ALLOW, ROW
from cilia.policy.numbers import Content
from cilia.policy.provenance import NO_PROVENANCE, Provenance, ProvenanceRule
from cilia.policy.resolution import Claim
from cilia.policy.verdicts import (
    ALLOW_PRECEDENCE,
    BASE_BITS,
    DEFAULT_DENY,
    DEFAULT_DENY_PRECEDENCE,
    Grant,
)


class Enforcement(StrEnum):
    """When a direction of an endpoint is enforced."""

    DEFAULT = "default"
    """When a rule selects the endpoint."""
    ALWAYS = "always"
    """Even when none does."""
    NEVER = "never"
    """Not even then."""


ALWAYS_MODE = PolicyKey("EnforcementMode", "", Enforcement.ALWAYS.value)
"""Stands for the policy that closes what no policy closes."""


class Rulebook(msgspec.Struct, frozen=True):
    """Everything that selects an endpoint."""

    specs: tuple[Spec, ...]
    grants: tuple[Grant, ...]
    """What their claims come to, for the endpoint's own named ports."""
    closers: tuple[tuple[ProvenanceRule, ...], tuple[ProvenanceRule, ...]]
    """For each Direction, how a default deny names the specs that close it."""
    enforcement: Enforcement


def used_ports(claims: Iterable[Claim], ports: NamedPorts) -> NamedPorts:
    """Those of an endpoint's named ports that a rule asks for."""
    if not ports:
        return ports
    names = {p.name for claim in claims for p in claim.ports or () if isinstance(p, NamedPort)}
    return frozenset(port for port in ports if port[0] in names)


def content_of(rulebook: Rulebook, provenance: Provenance) -> Content:
    """The content of a policy number."""
    closed = [_is_closed(rulebook, direction) for direction in Direction]
    enforced = [
        rulebook.enforcement is not Enforcement.NEVER
        and (closed[direction] or any(spec.touches[direction] for spec in rulebook.specs))
        for direction in Direction
    ]
    grants = rulebook.grants
    if not all(enforced):
        grants = tuple([grant for grant in grants if enforced[grant.direction]])
    base = [
        _base_row(rulebook, direction, provenance, closed=closed[direction])
        for direction in Direction
        if enforced[direction]
    ]
    return Content(grants, np.array(base, dtype=ROW), (enforced[0], enforced[1]))


def _is_closed(rulebook: Rulebook, direction: Direction) -> bool:
    if rulebook.enforcement is Enforcement.ALWAYS:
        return True
    return bool(rulebook.closers[direction])


def _base_row(
    rulebook: Rulebook, direction: Direction, provenance: Provenance, *, closed: bool
) -> tuple[int, ...]:
    key = (0, 0, int(direction), 0, 0, BASE_BITS)
    if not closed:
        return (*key, ALLOW, ALLOW_PRECEDENCE, NO_PROVENANCE, 0)
    number = provenance.number(rulebook.closers[direction] or (mode_closer(direction),))
    return (*key, DEFAULT_DENY, DEFAULT_DENY_PRECEDENCE, number, 0)


def mode_closer(direction: Direction) -> ProvenanceRule:
    """How a default deny names the enforcement mode that closes a direction."""
    return ProvenanceRule(ALWAYS_MODE, "", -1, direction, "default-deny")


def closer(spec: Spec, direction: Direction) -> ProvenanceRule:
    """How a default deny names a spec that closes a direction."""
    return ProvenanceRule(spec.policy, spec.path, -1, direction, "default-deny", spec.log)
