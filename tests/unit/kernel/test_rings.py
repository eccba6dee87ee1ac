"""Merging what several rings gave."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.kernel.rings import merge

LAYOUT = np.dtype([("time", "<u8"), ("port", ">u2"), ("ring", "u1"), ("pad", "V5")])
BATCHES = st.lists(st.lists(st.integers(0, 20), max_size=6), min_size=1, max_size=4)


@given(BATCHES)
def test_rows_come_in_order_of_time_and_stay_whole(batches: list[list[int]]) -> None:
    arrays = [
        np.array([(time, time * 256, ring, bytes(5)) for time in times], LAYOUT)
        for ring, times in enumerate(batches)
    ]
    merged = merge(arrays, by="time")
    assert merged.dtype == LAYOUT
    wanted = sorted((t, n) for n, times in enumerate(batches) for t in times)
    assert sorted(zip(merged["time"].tolist(), merged["ring"].tolist(), strict=True)) == wanted
    assert merged["time"].tolist() == [t for t, _ in wanted]
    assert (merged["port"] == merged["time"] * 256).all()
