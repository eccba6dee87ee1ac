"""Harvests against a naive account of every connection."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.connections import Harvest, Ledger, Sums

FLAG = st.booleans()


class World:
    """Connections as a kernel holds them, and what a naive observer would know."""

    def __init__(self) -> None:
        self.live: dict[int, list[int]] = {}
        self.closed: set[int] = set()
        self.expired: set[int] = set()
        self.ended: dict[int, list[int]] = {}
        self.kept: set[int] = set()
        self.moved = [0, 0, 0, 0]
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1
        self.live[self.begun * 7919 % 1009 * 100_000 + self.begun] = [0, 0, 0, 0]

    def count(self, which: int, amounts: list[int]) -> None:
        open_ones = sorted(self.live.keys() - self.expired)
        if open_ones:
            row = self.live[open_ones[which % len(open_ones)]]
            for at, amount in enumerate(amounts):
                row[at] += amount
                self.moved[at] += amount

    def pick(self, which: int) -> int | None:
        return sorted(self.live)[which % len(self.live)] if self.live else None

    def keep(self, which: int) -> None:
        """An agent that dies before it removes what it has kept already."""
        number = self.pick(which)
        if number is not None:
            self.ended[number] = list(self.live[number])
            self.kept.add(number)

    def remove(self, which: int) -> None:
        number = self.pick(which)
        if number is not None:
            self.ended[number] = self.live.pop(number)


STEPS = st.lists(
    st.one_of(
        st.just(("begin",)),
        st.tuples(
            st.just("count"),
            st.integers(0, 99),
            st.lists(st.integers(0, 9), min_size=4, max_size=4),
        ),
        st.tuples(st.sampled_from(["close", "expire", "keep", "remove"]), st.integers(0, 99)),
        st.tuples(st.just("harvest"), FLAG, FLAG),
    ),
    max_size=60,
)


def arrays(rows: dict[int, list[int]]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array(list(rows), np.uint64),
        np.array(list(rows.values()), np.uint64).reshape(len(rows), 4),
    )


class Observer:
    """Harvests a world, and remembers what it was told."""

    def __init__(self) -> None:
        self.ledger, self.sums = Ledger(), Sums()
        self.told: list[int] = []
        self.moved = np.zeros(4, np.uint64)

    def look(self, world: World, *, forgets: bool, fails: bool = False) -> None:
        """`forgets`: dies before what has ended is removed, so that it comes again;
        `fails`: stops after the first connections.
        """
        harvest = Harvest(self.ledger, self.sums)
        ids, counters = arrays(world.live)
        for part in (slice(0, 3), slice(3, None)):
            of = ids[part].tolist()
            moves = harvest.live(
                ids[part], counters[part],
                np.array([n in world.closed for n in of], bool),
                np.array([n in world.expired for n in of], bool),
            )  # fmt: skip
            self.note(of, moves)
            if fails:
                self.ledger, self.sums = harvest.abandon()
                return
        ids, counters = arrays(world.ended)
        self.note(ids.tolist(), harvest.gone(ids, counters))
        self.ledger, self.sums = harvest.finish()
        if not forgets:
            world.ended.clear()

    def note(self, ids, moves) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
        self.moved += moves.moved.sum(axis=0, dtype=np.uint64)
        self.told += [n for n, ends in zip(ids, moves.ends, strict=True) if ends]


@given(STEPS)
def test_every_packet_is_harvested_once_and_every_end_told_once(steps) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    world, observer = World(), Observer()
    for name, *values in steps:
        if name == "begin":
            world.begin()
        elif name == "count":
            world.count(*values)
        elif name == "harvest":
            observer.look(world, forgets=values[0], fails=values[1])
        elif name == "remove":
            world.remove(*values)
        elif name == "keep":
            world.keep(*values)
        elif (number := world.pick(*values)) is not None:
            (world.closed if name == "close" else world.expired).add(number)
    observer.look(world, forgets=False)
    observer.look(world, forgets=False)
    assert observer.moved.tolist() == world.moved
    assert observer.sums.packets == sum(world.moved[:2])
    assert observer.sums.bytes == sum(world.moved[2:])
    assert observer.sums.begun == world.begun
    assert len(observer.told) == len(set(observer.told)) == observer.sums.ended
    done = {n for n in world.live if n in world.closed | world.expired | world.kept}
    assert {n for n in observer.told if n in world.live} == done
    assert observer.sums.vanished == 0
    assert len(observer.ledger) == len(world.live)


def test_what_goes_without_a_trace_is_counted() -> None:
    world, observer = World(), Observer()
    for _ in range(5):
        world.begin()
    world.expired.add(world.pick(0) or 0)
    observer.look(world, forgets=False)
    world.live.clear()
    observer.look(world, forgets=False)
    assert observer.sums.vanished == 4, "the end of the fifth had been told"
    assert len(observer.ledger) == 0


def test_a_closed_connection_ends_when_it_stands_still() -> None:
    world, observer = World(), Observer()
    world.begin()
    world.count(0, [1, 1, 1, 1])
    world.closed.add(world.pick(0) or 0)
    observer.look(world, forgets=False)
    assert observer.told == []
    observer.look(world, forgets=False)
    assert len(observer.told) == 1
