"""The account of events across readers, and what is told again."""

from pathlib import Path

from cilia.datapath.maps.metric import EventStats
from cilia.observer.account import EventAccount


class Kernel:
    """Counters and rings of two CPUs."""

    def __init__(self) -> None:
        self.stats = EventStats((10, 5), (3, 0))
        self.rings = {0: Place(4, 3), 1: Place(5, 0)}

    def account(self, folder: Path, generation: int = 7) -> EventAccount:
        return EventAccount(folder / "lost", lambda: self.stats, generation, self.rings)


class Place:
    """A ring's position."""

    def __init__(self, consumed: int, waiting: int) -> None:
        self.consumed, self.waiting = consumed, waiting


def test_sent_is_seen_and_lost_and_what_waits(tmp_path: Path) -> None:
    account = Kernel().account(tmp_path)
    counts = account.counts()
    account.close()
    assert (counts.sent, counts.seen) == ((10, 5), (4, 5))
    assert (counts.waiting, counts.lost) == ((3, 0), (3, 0))
    assert counts.missing == 0


def test_a_first_reader_tells_all_that_was_lost(tmp_path: Path) -> None:
    account = Kernel().account(tmp_path)
    assert account.fresh() == [(0, 3)]
    account.close()


def test_a_successor_tells_what_was_lost_since_and_nothing_twice(tmp_path: Path) -> None:
    kernel = Kernel()
    dead = kernel.account(tmp_path)
    dead.tell(dead.fresh())
    dead.close()
    kernel.stats = EventStats((20, 9), (5, 1))
    heir = kernel.account(tmp_path)
    assert heir.fresh() == [(0, 2), (1, 1)]
    heir.tell(heir.fresh())
    assert heir.fresh() == []
    heir.close()


def test_what_was_told_and_not_noted_is_told_again(tmp_path: Path) -> None:
    dead = Kernel().account(tmp_path)
    assert dead.fresh() == [(0, 3)]
    dead.close()
    heir = Kernel().account(tmp_path)
    assert heir.fresh() == [(0, 3)]
    heir.close()


def test_other_counters_begin_anew(tmp_path: Path) -> None:
    kernel = Kernel()
    old = kernel.account(tmp_path, generation=7)
    old.tell([(0, 3)])
    old.close()
    new = kernel.account(tmp_path, generation=8)
    assert new.fresh() == [(0, 3)]
    new.close()


def test_a_file_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    kernel = Kernel()
    old = kernel.account(tmp_path)
    old.tell([(0, 3)])
    old.close()
    (tmp_path / "lost").write_bytes((tmp_path / "lost").read_bytes()[:-1])
    new = kernel.account(tmp_path)
    assert new.fresh() == [(0, 3)]
    new.close()
