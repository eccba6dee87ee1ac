"""Rings: order, wrapping around, discarded records, exact account of what was lost."""

from collections.abc import Iterator

import numpy as np
import pytest

from cilia.kernel.objects import BpfObject
from cilia.kernel.rings import Ring
from cilia.kernel.testrun import test_run as run

FRAME = bytes(60)
STRIDE = 56  # 8 of header, 48 of record: no divisor of the ring, so records wrap in the middle


@pytest.fixture
def ring(probe: BpfObject) -> Iterator[Ring]:
    probe.load("emit")
    one = Ring(probe.maps["ring"], probe.btf.struct("record"))
    yield one
    one.close()


def emit(probe: BpfObject, count: int, *, discard: bool = False) -> None:
    run(probe.programs["emit"], FRAME, repeat=count, mark=int(discard))


def test_an_empty_ring_gives_an_empty_array(ring: Ring) -> None:
    assert ring.read().tolist() == []
    assert ring.pending() == 0


def test_records_come_in_order_across_many_laps(probe: BpfObject, ring: Ring) -> None:
    numbers = np.zeros(0, "<u8")
    for round_ in range(40):
        emit(probe, 50 + round_ % 20)
        records = ring.read()
        assert records.dtype == probe.btf.struct("record")
        assert (records["address"] == records["number"]).all()
        assert (records["length"] == 60).all()
        numbers = np.append(numbers, records["number"])
    assert numbers.tolist() == list(range(len(numbers)))
    assert len(numbers) * STRIDE > 20 * ring.size


def test_a_full_ring_loses_and_counts_exactly(probe: BpfObject, ring: Ring) -> None:
    emit(probe, 500)
    records = ring.read()
    sent, lost = (int(probe.maps["counter"].lookup(index)) for index in (0, 1))
    assert len(records) == sent < 500
    assert sent + lost == 500


def test_discarded_records_are_left_out(probe: BpfObject, ring: Ring) -> None:
    emit(probe, 3)
    emit(probe, 4, discard=True)
    emit(probe, 2)
    assert ring.read()["number"].tolist() == [0, 1, 2, 7, 8]
    assert ring.discarded == 4
    assert ring.pending() == 0


def test_a_limit_leaves_the_rest(probe: BpfObject, ring: Ring) -> None:
    emit(probe, 10)
    assert ring.read(4)["number"].tolist() == [0, 1, 2, 3]
    assert ring.pending() == 6 * STRIDE
    assert ring.read()["number"].tolist() == [4, 5, 6, 7, 8, 9]


def test_an_unfinished_record_holds_back_what_follows(probe: BpfObject, ring: Ring) -> None:
    emit(probe, 5)
    lengths = np.array([48, 48, 48 | 1 << 31, 48, 48], "<u4")
    frames = np.zeros(5, np.dtype([("length", "<u4"), ("record", "V48")]))
    kept, records = ring._sift(frames, lengths)
    assert (len(kept), len(records)) == (2, 2)


def test_a_record_of_another_size_is_an_error(probe: BpfObject, ring: Ring) -> None:
    emit(probe, 2)
    other = Ring(probe.maps["ring"], np.dtype("V64"))
    try:
        with pytest.raises(ValueError, match="a record of 48 bytes, expected 64"):
            other.read()
    finally:
        other.close()
    assert len(ring.read()) == 2


def test_records_read_stay_when_the_ring_is_reused(probe: BpfObject, ring: Ring) -> None:
    emit(probe, 60)
    before = ring.read()
    emit(probe, 60)
    ring.read()
    assert before["number"].tolist() == list(range(60))
