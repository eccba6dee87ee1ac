"""What must change in the kernel, as steps in an order that never opens a hole.

First the rows that nobody looks at yet, then the members and prefixes that move to
new classes, then each endpoint's switch to its new rows, and only then what is dead.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.model.prefixes import PREFIX_KEY, PrefixKeys

Rows = NDArray[np.void]

ROW = np.dtype(
    [
        ("policy", "<u4"),
        ("class", "<u4"),
        ("direction", "u1"),
        ("protocol", "u1"),
        ("port", "<u2"),
        ("prefixlen", "u1"),
        ("verdict", "u1"),
        ("precedence", "<u4"),
        ("provenance", "<u4"),
        ("generation", "<u4"),
    ]
)
"""One row of the policy map; ports in host order, `prefixlen` in the kernel key's bits."""

MEMBER = np.dtype([("identity", "<u4"), ("class", "<u4")])
PREFIX = np.dtype([("key", PREFIX_KEY), ("identity", "<u4"), ("class", "<u4")])
ALLOW = 1
"""The verdict of rows that let through."""
CLOSED = 0
"""The policy number that never has rows: an endpoint that enforces it lets nothing through."""


class Assignment(msgspec.Struct, frozen=True):
    """What one endpoint's row says of policy."""

    policy: int
    generation: int
    ingress_enforced: bool
    egress_enforced: bool
    audit: bool = False


class WriteRows(msgspec.Struct, frozen=True):
    """Adds policy rows: dtype ROW."""

    rows: Rows


class DeleteRows(msgspec.Struct, frozen=True):
    """Deletes policy rows that nothing leads to any more: dtype ROW."""

    rows: Rows


class MoveMembers(msgspec.Struct, frozen=True):
    """Puts identities into classes: dtype MEMBER."""

    members: Rows


class ForgetMembers(msgspec.Struct, frozen=True):
    """Identities that are gone: uint32."""

    identities: NDArray[np.uint32]


class WritePrefixes(msgspec.Struct, frozen=True):
    """Puts prefixes that only CIDR rules know into the ipcache: dtype PREFIX."""

    prefixes: Rows


class RemovePrefixes(msgspec.Struct, frozen=True):
    """Prefixes that no rule names any more: dtype PREFIX_KEY."""

    keys: PrefixKeys


class ClassifyAddresses(msgspec.Struct, frozen=True):
    """Gives addresses of known identities classes of their own in the ipcache."""

    rows: Rows
    """dtype PREFIX: a class holds while the address has this identity."""
    gone: PrefixKeys
    """Addresses that follow their identity again."""
    whole: bool = False
    """These are all that there are."""


class Assign(msgspec.Struct, frozen=True):
    """Switches endpoints to their rows."""

    assignments: Mapping[int, Assignment]


Step = (
    WriteRows
    | DeleteRows
    | MoveMembers
    | ForgetMembers
    | WritePrefixes
    | RemovePrefixes
    | ClassifyAddresses
    | Assign
)


class Delta(msgspec.Struct, frozen=True):
    """Steps to do in order."""

    revision: int
    steps: tuple[Step, ...]


def has_work(step: Step) -> bool:
    """True if a step changes anything."""
    match step:
        case WriteRows(rows) | DeleteRows(rows):
            return len(rows) > 0
        case MoveMembers(members):
            return len(members) > 0
        case ForgetMembers(identities):
            return len(identities) > 0
        case WritePrefixes(prefixes):
            return len(prefixes) > 0
        case RemovePrefixes(keys):
            return len(keys) > 0
        case ClassifyAddresses(rows, gone, whole):
            return whole or len(rows) + len(gone) > 0
        case Assign(assignments):
            return len(assignments) > 0


def joined(parts: Iterable[Rows]) -> Rows:
    """Rows of many arrays as one: dtype ROW."""
    return np.concatenate([np.zeros(0, dtype=ROW), *parts])


def rows_of(delta: Delta) -> Rows:
    """All rows that a delta writes: dtype ROW."""
    return joined(step.rows for step in delta.steps if isinstance(step, WriteRows))


def members_of(delta: Delta) -> Rows:
    """All members that a delta moves: dtype MEMBER."""
    parts = [step.members for step in delta.steps if isinstance(step, MoveMembers)]
    return np.concatenate([np.zeros(0, dtype=MEMBER), *parts])


def prefixes_of(delta: Delta) -> Rows:
    """All prefixes that a delta writes: dtype PREFIX."""
    parts = [step.prefixes for step in delta.steps if isinstance(step, WritePrefixes)]
    return np.concatenate([np.zeros(0, dtype=PREFIX), *parts])
