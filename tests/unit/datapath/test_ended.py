"""Ends of connections are kept while there is room, and when there is none that is said once."""

from typing import Any, cast

import numpy as np
import pytest

from cilia.datapath.maps.ended import EndedMap
from cilia.kernel.errors import MapFullError
from cilia.kernel.maps import Map

KEY = np.dtype([("key", "V40"), ("first_seen", "<u8")])
VALUE = np.dtype([("first_seen", "<u8")])


class Bounded:
    """A map that takes so many rows."""

    key = KEY

    def __init__(self, room: int) -> None:
        self.room = room

    def put(self, keys: Any, values: Any) -> int:
        if len(keys) > self.room:
            raise MapFullError("ended", self.room, self.room, len(keys))
        self.room -= len(keys)
        return len(keys)


def test_a_map_that_stays_full_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    rows = Bounded(3)
    ended = EndedMap({"ended": cast(Map, rows)})

    def keep(count: int) -> int:
        return ended.keep(np.zeros(count, "V40"), np.zeros(count, VALUE))

    assert [keep(2), keep(2), keep(2)] == [2, 1, 1]
    assert len(caplog.records) == 1
    rows.room = 2
    assert keep(2) == 2
    assert len(caplog.records) == 1
    assert keep(1) == 0
    assert len(caplog.records) == 2, "it was not full meanwhile"
