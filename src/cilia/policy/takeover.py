"""From what the kernel holds to what it shall hold: a start as one change without a hole.

What an agent finds was written by another one, that numbered classes in its own way and
knew other policies. The kernel alone is believed. Each member was in an old class O, or
none, and will be in a new class N, or none. Before the switch members go to a class T for
their pair (O, N), whose rows are those of O under every policy number found and those of
N under every new one. So each endpoint, whichever number it looks at, decides as before
or as after. Then the endpoints switch, the old numbers go, and the classes merge.

Policy numbers found and new ones are never the same; class numbers may well be.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from cilia.model.identities import ReservedIdentity
from cilia.model.prefixes import PREFIX_KEY, PrefixKeys, are_among, are_v4, longest_matches
from cilia.policy.delta import (
    MEMBER,
    PREFIX,
    ROW,
    Assign,
    DeleteRows,
    Delta,
    ForgetMembers,
    MoveMembers,
    RemovePrefixes,
    Rows,
    Step,
    WritePrefixes,
    WriteRows,
    joined,
    members_of,
    prefixes_of,
    rows_of,
)
from cilia.policy.verdicts import BASE_BITS, DEFAULT_DENY, DENY_PRECEDENCE, allows_first

Classes = NDArray[np.uint32]
NO_CLASS = 0


class Held(msgspec.Struct, frozen=True):
    """What the kernel's maps hold."""

    rows: Rows
    """dtype ROW"""
    members: Rows
    """dtype MEMBER"""
    prefixes: Rows
    """dtype PREFIX, the whole ipcache; class 0 where the identity decides."""

    @property
    def greatest_class(self) -> int:
        """The greatest class number that is used for anything; 0 for none."""
        return int(self._classes().max(initial=0))

    @property
    def of_rules(self) -> Rows:
        """The prefixes that CIDR rules named, dtype PREFIX, sorted by key."""
        found = self.prefixes[self.prefixes["class"] != NO_CLASS]
        ordered: Rows = found[np.argsort(found["key"])]
        return ordered

    def classes(self) -> set[int]:
        """Every class number that is used for anything."""
        return set(self._classes().tolist())

    def _classes(self) -> Classes:
        parts = (self.rows["class"], self.members["class"], self.prefixes["class"])
        return np.unique(np.concatenate(parts))


def take_over(held: Held, state: Delta, first: int) -> Delta:
    """The steps from what the kernel holds to a whole state.

    Args:
        held: What it holds.
        state: What it shall hold; its policy numbers are none that `held` has.
        first: Class numbers from here on are used for nothing.
    """
    members, prefixes = _members(held, state), _prefixes(held, state)
    pairs = _Pairs(members, prefixes, held.classes(), first)
    rows = rows_of(state)
    old = pairs.rows(held.rows, pairs.before)
    new = pairs.rows(rows, pairs.after)
    named = prefixes_of(state)
    gone = prefixes["key"][~are_among(prefixes["key"], named["key"])]
    leaving = members["after"] == NO_CLASS
    assignments = [step for step in state.steps if isinstance(step, Assign)]
    steps: list[Step] = [
        WriteRows(joined([rows, old, new])),
        MoveMembers(_columns(members, pairs.of(members), MEMBER)),
        WritePrefixes(_columns(prefixes, pairs.of(prefixes), PREFIX)),
        *assignments,
        # An endpoint that the state does not know may look at old rows: it closes.
        DeleteRows(allows_first(joined([held.rows, old]))),
        MoveMembers(_columns(members, members["after"], MEMBER)[~leaving]),
        WritePrefixes(named),
        RemovePrefixes(gone),
        ForgetMembers(members["identity"][leaving]),
        DeleteRows(new),
    ]
    return Delta(state.revision, tuple(steps))


_MOVE = [("before", "<u4"), ("after", "<u4")]
_MEMBER_MOVE = np.dtype([("identity", "<u4"), *_MOVE])
_PREFIX_MOVE = np.dtype([("key", PREFIX_KEY), ("identity", "<u4"), *_MOVE])


class _Pairs:
    """The (old class, new class) pairs that members have, and the class of each meanwhile."""

    def __init__(self, members: Rows, prefixes: Rows, used: set[int], first: int) -> None:
        codes = np.concatenate([_codes(members), _codes(prefixes)])
        self._codes = np.unique(codes)
        self.before = (self._codes >> np.uint64(32)).astype(np.uint32)
        self.after = (self._codes & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        self.between = np.zeros(len(self._codes), dtype=np.uint32)
        taken = used | {NO_CLASS}
        for place, (old, new) in enumerate(zip(self.before, self.after, strict=True)):
            if old == new != NO_CLASS:
                chosen = int(new)
            elif int(new) not in taken:
                chosen = int(new)
                taken.add(chosen)
            else:
                chosen, first = first, first + 1
            self.between[place] = chosen

    def of(self, moves: Rows) -> Classes:
        """The class of each member between the two states."""
        found: Classes = self.between[np.searchsorted(self._codes, _codes(moves))]
        return found

    def rows(self, rows: Rows, ends: Classes) -> Rows:
        """Rows for the classes in between, so that each decides as its end does.

        Args:
            rows: Those of one side, all its policy numbers.
            ends: The class of each pair on that side; NO_CLASS lets nothing through.
        """
        there = (ends != self.between) & (ends != NO_CLASS)
        copied = _copies(rows, ends[there], self.between[there])
        closed = _closed(np.unique(rows["policy"]), self.between[ends == NO_CLASS])
        return joined([copied, closed])


def _codes(moves: Rows) -> NDArray[np.uint64]:
    high: NDArray[np.uint64] = moves["before"].astype(np.uint64) << np.uint64(32)
    codes: NDArray[np.uint64] = high | moves["after"].astype(np.uint64)
    return codes


def _copies(rows: Rows, sources: Classes, targets: Classes) -> Rows:
    """The rows of some classes as rows of others."""
    ordered = rows[np.argsort(rows["class"], kind="stable")]
    low = np.searchsorted(ordered["class"], sources)
    sizes = np.searchsorted(ordered["class"], sources, side="right") - low
    offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    copied: Rows = ordered[np.repeat(low, sizes) + offset]
    copied["class"] = np.repeat(targets, sizes)
    return copied


def _closed(policies: NDArray[np.uint32], classes: Classes) -> Rows:
    """Rows that let nothing of these classes through, whatever anyone may do."""
    rows = np.zeros((len(policies), len(classes), 2), dtype=ROW)
    rows["policy"] = policies[:, None, None]
    rows["class"] = classes[None, :, None]
    rows["direction"] = np.arange(2)
    rows["prefixlen"] = BASE_BITS
    rows["verdict"] = DEFAULT_DENY
    rows["precedence"] = DENY_PRECEDENCE
    return rows.reshape(-1)


def _members(held: Held, state: Delta) -> Rows:
    """Every identity of either side and its classes: dtype _MEMBER_MOVE."""
    wanted = members_of(state)
    identities = np.union1d(held.members["identity"], wanted["identity"])
    moves = np.zeros(len(identities), dtype=_MEMBER_MOVE)
    moves["identity"] = identities
    moves["before"] = _classes_of(held.members, identities)
    moves["after"] = _classes_of(wanted, identities)
    return moves


def _prefixes(held: Held, state: Delta) -> Rows:
    """Every rule's prefix of either side and its classes: dtype _PREFIX_MOVE, sorted by key.

    A class is that of the addresses which no longer prefix covers, so one that a side
    does not name has the class of what that side says of them otherwise.
    """
    named, found = prefixes_of(state), held.of_rules
    fresh = ~are_among(named["key"], found["key"])
    both = _joined_prefixes(found, named[fresh])
    moves = np.zeros(len(both), dtype=_PREFIX_MOVE)
    moves["key"], moves["identity"] = both["key"], both["identity"]
    others = held.prefixes[held.prefixes["class"] == NO_CLASS]
    others = others[~np.isin(others["key"], named["key"])]
    moves["before"] = _covering(held.prefixes, held.members, both["key"])
    moves["after"] = _covering(_joined_prefixes(named, others), members_of(state), both["key"])
    return moves


def _joined_prefixes(one: Rows, other: Rows) -> Rows:
    """Prefixes of two arrays as one, sorted by key."""
    both = np.concatenate([one, other])
    return both[np.argsort(both["key"], kind="stable")]


def _covering(entries: Rows, members: Rows, keys: PrefixKeys) -> Classes:
    """The class that an ipcache gives to what is right under each key."""
    ordered = entries[np.argsort(entries["key"], kind="stable")]
    place = longest_matches(ordered["key"], keys)
    world = np.where(are_v4(keys), ReservedIdentity.WORLD_IPV4, ReservedIdentity.WORLD_IPV6)
    identities = world.astype(np.uint32)
    classes = np.zeros(len(keys), dtype=np.uint32)
    inside = place >= 0
    identities[inside] = ordered["identity"][place[inside]]
    classes[inside] = ordered["class"][place[inside]]
    by_identity = classes == NO_CLASS
    classes[by_identity] = _classes_of(members, identities[by_identity])
    return classes


def _classes_of(members: Rows, identities: NDArray[np.uint32]) -> Classes:
    """The class of each identity; NO_CLASS for one that has none."""
    result = np.zeros(len(identities), dtype=np.uint32)
    if len(members):
        ordered = members[np.argsort(members["identity"])]
        place = np.searchsorted(ordered["identity"], identities)
        place = np.minimum(place, len(ordered) - 1)
        known = ordered["identity"][place] == identities
        result[known] = ordered["class"][place[known]]
    return result


def _columns(moves: Rows, classes: Classes, dtype: "np.dtype[np.void]") -> Rows:
    result = np.zeros(len(moves), dtype=dtype)
    for field in dtype.names or ():
        result[field] = classes if field == "class" else moves[field]
    return result
