"""The CIDR prefixes of all rules, and which rules cover each: two searches and a sum.

Sorted prefix keys are a tree in pre-order: what a prefix contains follows it without
a gap. So a CIDR set covers runs of the table, a run adds the set's secret number at
its start and takes it away at its end, and a running sum gives every prefix a number
that equal coverage shares. No step looks at one prefix.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from cilia.model.cidrs import CidrSet
from cilia.model.prefixes import (
    PREFIX_KEY,
    PrefixKeys,
    are_among,
    are_v4,
    as_bytes,
    distinct,
    last_keys,
)
from cilia.policy.cidr_table import CidrTable

Indices = NDArray[np.int64]


class Coverage:
    """Prefixes of one family and their groups; equal coverage is one group.

    Attributes:
        keys: Shape `(n,)`, sorted, each once.
        named: Shape `(n,)`, whether a set names the prefix.
        group: Shape `(n,)`, the number of each prefix's group, counted from 0.
        first: Shape `(g,)`, for each group the place of its first prefix.
        sets: For each group the CIDR sets that cover it, by the caller's numbers.
    """

    def __init__(self, sets: CidrTable, extra: PrefixKeys, *, v4: bool) -> None:
        """Computes the coverage.

        Args:
            sets: The CIDR sets in use.
            extra: Prefixes that no set names and that shall have a group as well.
            v4: Which family; what is of the other one is left out.
        """
        ordered = distinct(_of_family(sets.named(), v4))
        self.keys = distinct(np.concatenate([ordered, _of_family(extra, v4)]))
        self.named = are_among(self.keys, ordered)
        numbers = sets.numbers()
        starts, ends, owner = self._runs(sets, numbers, v4)
        secrets = np.random.default_rng().integers(
            1, 2**63, size=(2, len(numbers)), dtype=np.uint64
        )
        sums = np.zeros((2, len(self.keys) + 1), dtype=np.uint64)
        for row, secret in zip(sums, secrets, strict=True):
            np.add.at(row, starts, secret[owner])
            np.subtract.at(row, ends, secret[owner])
        marks = np.cumsum(sums, axis=1)[:, :-1]
        # Two 63-bit sums: equal sums of different coverage do not happen.
        pairs = np.ascontiguousarray(marks.T).view("V16").reshape(-1)
        _, self.first, self.group = np.unique(pairs, return_index=True, return_inverse=True)
        self.sets = self._stab(starts, ends, numbers[owner])

    def _runs(
        self, sets: CidrTable, numbers: Indices, v4: bool
    ) -> tuple[Indices, Indices, Indices]:
        """The maximal runs that each set covers: starts, ends, place of the set."""
        keys, owner = sets.plain()
        runs = [self._plain_runs(keys, np.searchsorted(numbers, owner), v4)]
        for number, cidrs in sets.holed():
            starts, ends = self._runs_with_holes(cidrs, v4)
            place = int(np.searchsorted(numbers, number))
            runs.append((starts, ends, np.full(len(starts), place, dtype=np.int64)))
        starts, ends, owner = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        return starts, ends, owner

    def _plain_runs(
        self, keys: PrefixKeys, owner: Indices, v4: bool
    ) -> tuple[Indices, Indices, Indices]:
        mine = _family_mask(keys, v4)
        owner = owner[mine]
        starts, ends = self._bounds(keys[mine])
        # Within one set the runs nest: one that starts before an earlier one has ended is in it.
        # Adding a set's own stretch keeps the running maximum from crossing into the next set.
        stretch = owner * (len(self.keys) + 1)
        order = np.argsort(starts + stretch, kind="stable")
        starts, ends, owner = starts[order], ends[order], owner[order]
        reach = np.maximum.accumulate(ends + stretch[order])
        outer = np.ones(len(starts), dtype=np.bool_)
        outer[1:] = starts[1:] + stretch[order][1:] >= reach[:-1]
        return starts[outer], ends[outer], owner[outer]

    def _runs_with_holes(self, cidrs: CidrSet, v4: bool) -> tuple[Indices, Indices]:
        """A prefix is covered where more items than holes of theirs contain it."""
        mine = _family_mask(cidrs.keys, v4)
        starts, ends = self._bounds(cidrs.keys[mine])
        place = np.cumsum(mine) - 1
        owned = mine[cidrs.owner] & _family_mask(cidrs.excluded, v4)
        owner = place[cidrs.owner[owned]]
        from_, to = self._bounds(cidrs.excluded[owned])
        from_, to = np.maximum(from_, starts[owner]), np.minimum(to, ends[owner])
        # Holes of one item nest; count each stretch of it once.
        stretch = owner * (len(self.keys) + 1)
        order = np.argsort(from_ + stretch, kind="stable")
        from_, to, stretch = from_[order], to[order], stretch[order]
        keep = from_ < to
        from_, to, stretch = from_[keep], to[keep], stretch[keep]
        reach = np.maximum.accumulate(to + stretch) if len(to) else to
        outer = np.ones(len(from_), dtype=np.bool_)
        outer[1:] = from_[1:] + stretch[1:] >= reach[:-1]
        depth = np.zeros(len(self.keys) + 1, dtype=np.int64)
        np.add.at(depth, starts, 1)
        np.subtract.at(depth, ends, 1)
        np.subtract.at(depth, from_[outer], 1)
        np.add.at(depth, to[outer], 1)
        covered = np.concatenate([[False], np.cumsum(depth)[:-1] > 0, [False]])
        edges = np.flatnonzero(covered[1:] != covered[:-1])
        return edges[::2], edges[1::2]

    def _bounds(self, keys: PrefixKeys) -> tuple[Indices, Indices]:
        return (
            np.searchsorted(self.keys, keys).astype(np.int64),
            np.searchsorted(self.keys, last_keys(keys), side="right").astype(np.int64),
        )

    def _stab(self, starts: Indices, ends: Indices, number: Indices) -> list[frozenset[int]]:
        """For each group the sets whose runs its first prefix lies in."""
        order = np.argsort(self.first, kind="stable")
        places = self.first[order]
        low, high = np.searchsorted(places, starts), np.searchsorted(places, ends)
        sizes = high - low
        which = np.repeat(number, sizes)
        offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        group = order[np.repeat(low, sizes) + offset]
        by_group = np.argsort(group, kind="stable")
        cuts = np.searchsorted(group[by_group], np.arange(1, len(places)))
        found = which[by_group].tolist()
        bounds = [0, *cuts.tolist(), len(found)]
        return [frozenset(found[a:b]) for a, b in itertools.pairwise(bounds[: len(places) + 1])]


_NONE = np.zeros(0, dtype=PREFIX_KEY)


def _family_mask(keys: PrefixKeys, v4: bool) -> NDArray[np.bool_]:
    return are_v4(keys) if v4 else ~are_v4(keys)


def _of_family(keys: PrefixKeys, v4: bool) -> PrefixKeys:
    if len(keys) == 0:
        return _NONE
    return keys[_family_mask(keys, v4)]


def has_no_bits(keys: PrefixKeys, *, v4: bool) -> NDArray[np.bool_]:
    """Which keys are the whole family, 0.0.0.0/0 or ::/0."""
    result: NDArray[np.bool_] = as_bytes(keys)[:, 16] == (96 if v4 else 0)
    return result
