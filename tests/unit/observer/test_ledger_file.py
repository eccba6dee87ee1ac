"""The ledger's file: what comes back, and what does not count."""

from pathlib import Path

import numpy as np
import pytest

from cilia.hubble.connections import Ledger, Sums
from cilia.observer.ledger_file import LedgerFile

SUMS = Sums(packets=7, bytes=700, begun=3)


def ledger(count: int) -> Ledger:
    return Ledger(
        np.arange(count, dtype=np.uint64),
        np.arange(4 * count, dtype=np.uint64).reshape(count, 4),
        np.arange(count) % 2 == 0,
    )


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_a_ledger_comes_back(tmp_path: Path, count: int) -> None:
    LedgerFile(tmp_path / "l", 5).write(ledger(count), SUMS)
    found, sums = LedgerFile(tmp_path / "l", 5).read()
    assert sums == SUMS
    for name in ("ids", "counters", "told"):
        assert getattr(found, name).tolist() == getattr(ledger(count), name).tolist()
    found.counters[:] = 0  # its own memory, to be written
    assert (tmp_path / "l").stat().st_mode & 0o777 == 0o600


def test_nothing_comes_of_no_file_or_of_another_map(tmp_path: Path) -> None:
    assert LedgerFile(tmp_path / "l", 5).read()[1] == Sums()
    LedgerFile(tmp_path / "l", 5).write(ledger(3), SUMS)
    found, sums = LedgerFile(tmp_path / "l", 6).read()
    assert (len(found), sums) == (0, Sums())


@pytest.mark.parametrize("cut", [1, 30, 60, 10_000])
def test_a_damaged_file_counts_for_nothing(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    file = LedgerFile(tmp_path / "l", 5)
    file.write(ledger(3), SUMS)
    raw = (tmp_path / "l").read_bytes()
    (tmp_path / "l").write_bytes(raw[:-cut])
    found, sums = file.read()
    assert (len(found), sums) == (0, Sums())
    assert "damaged" in caplog.text


def test_a_write_that_fails_leaves_what_was(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "l", 5)
    file.write(ledger(3), SUMS)
    (tmp_path / "l.new").mkdir()
    with pytest.raises(OSError, match=r"l\.new"):
        file.write(ledger(4), SUMS)
    assert len(file.read()[0]) == 3
