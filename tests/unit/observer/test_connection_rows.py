"""Rows of conntrack as connections, against the decoder for people; and who is at their ends."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cilia.datapath import layout
from cilia.datapath.maps import conntrack
from cilia.datapath.maps.ended import ended_keys
from cilia.hubble.ended import CONNECTION, EndedConnections
from cilia.hubble.events import address_text
from cilia.hubble.parties import Parties
from cilia.observer.api import end_word
from cilia.observer.connection_rows import Ends, connections, counters_of, is_closed, picked

KEY, ENTRY = layout.map_types("conntrack")
EVENTS = layout.struct("event_record")
OFFSET_NS = 1_000

ADDRESS = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "1.1.1.1"])
PORT = st.integers(0, 65535)
PAIR = st.tuples(st.integers(0, 2**40), st.integers(0, 2**40))
ROW = st.tuples(
    ADDRESS, PORT, ADDRESS, PORT, st.sampled_from([6, 17]), st.integers(0, 255), PAIR, PAIR
)


def made(rows) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    keys, values = np.zeros(len(rows), KEY), np.zeros(len(rows), ENTRY)
    for at, (low, low_port, high, high_port, protocol, flags, packets, size) in enumerate(rows):
        keys["low"][at], keys["high"][at] = map(layout.encode_address, (low, high))
        keys["low_port"][at], keys["high_port"][at] = low_port, high_port
        keys["protocol"][at], values["flags"][at] = protocol, flags
        values["packets"][at], values["bytes"][at] = packets, size
        values["source_identity"][at], values["destination_identity"][at] = at, at + 1
        values["first_seen"][at], values["last_seen"][at] = 5 + at, (7 + at, 0)
    return keys, values


@given(st.lists(ROW, max_size=6))
def test_connections_are_as_people_are_shown_them(rows) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    keys, values = made(rows)
    found = connections(keys, values, OFFSET_NS)
    for row, key, value in zip(found, keys, values, strict=True):
        shown = conntrack.decode(key, value, 0)
        assert address_text(row["source"].tobytes()) == shown.source
        assert address_text(row["destination"].tobytes()) == shown.destination
        assert (row["source_port"], row["destination_port"]) == (
            shown.source_port, shown.destination_port,
        )  # fmt: skip
        assert tuple(row["packets"]) == shown.packets
        assert tuple(row["bytes"]) == shown.bytes
        assert row["source_identity"] == shown.source_identity
        assert row["first_seen"] == int(value["first_seen"]) + OFFSET_NS
        assert row["last_seen"].tolist() == [int(value["last_seen"][0]) + OFFSET_NS, 0]
    assert counters_of(values).tolist() == [[*row[6], *row[7]] for row in rows]


@given(st.lists(ROW, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_rows_are_picked_as_they_are(rows, chosen: list[bool]) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    keys, _ = made(rows)
    mask = np.array(chosen[: len(rows)], bool)
    wanted = [keys[at : at + 1].tobytes() for at in range(len(rows)) if chosen[at]]
    assert picked(keys, mask).tobytes() == b"".join(wanted)


@given(st.lists(ROW, max_size=6))
def test_a_key_of_what_ended_is_the_connections_and_its_time(rows) -> None:  # type: ignore[no-untyped-def]  # hypothesis and fixtures give the types
    keys, values = made(rows)
    found = ended_keys(keys, values["first_seen"], layout.map_types("ended")[0])
    assert found["key"].tobytes() == keys.tobytes()
    assert found["first_seen"].tolist() == values["first_seen"].tolist()


def event(source: str, identity: int, endpoint: int) -> np.ndarray:
    record = np.zeros(1, EVENTS)
    record["source"], record["source_identity"] = layout.encode_address(source), identity
    record["source_endpoint"] = endpoint
    return record


def test_the_ends_of_a_connection_are_the_parties_of_its_flows() -> None:
    parties = Parties()
    ends = Ends(parties, EVENTS)
    (pod,) = parties.numbers(event("10.0.0.1", 1000, 7), "source")
    (world,) = parties.numbers(event("1.1.1.1", 2, 0), "source")
    rows = np.zeros(2, CONNECTION)
    rows["source"] = [layout.encode_address(one) for one in ("10.0.0.1", "10.0.0.2")]
    rows["destination"] = [layout.encode_address(one) for one in ("1.1.1.1", "10.0.0.1")]
    rows["source_identity"], rows["destination_identity"] = [1000, 3000], [2, 1000]
    ends.resolve(rows)
    assert rows["source_party"][0] == rows["destination_party"][1] == pod
    assert rows["destination_party"][0] == world
    stranger = parties.rows[rows["source_party"][1]]
    assert (stranger.address, stranger.identity, stranger.endpoint) == ("10.0.0.2", 3000, 0)
    assert len(parties.take_fresh()) == 3, "names of strangers are asked for too"


def test_an_address_with_a_new_identity_is_another_party() -> None:
    parties = Parties()
    ends = Ends(parties, EVENTS)
    parties.numbers(event("10.0.0.1", 1000, 7), "source")
    row = np.zeros(1, CONNECTION)
    row["source"], row["source_identity"] = layout.encode_address("10.0.0.1"), 1001
    ends.resolve(row)
    assert parties.rows[row["source_party"][0]].endpoint == 0


def test_both_sides_close_a_connection() -> None:
    _, values = made(
        [("10.0.0.1", 1, "10.0.0.2", 2, 6, flags, (1, 1), (1, 1)) for flags in (8, 16, 24)]
    )
    assert is_closed(values).tolist() == [False, False, True]


def test_ends_in_words() -> None:
    assert end_word(24, [0x13, 0x11]) == "closed"
    assert end_word(24, [0x02, 0x14]) == "reset"
    assert end_word(8, [0x11, 0x10]) == "expired"


@given(st.lists(st.integers(0, 7), max_size=8), st.integers(0, 10))
def test_the_newest_that_ended_stay(batches: list[int], number: int) -> None:
    ended, everything = EndedConnections(5), []
    for size in batches:
        rows = np.zeros(size, CONNECTION)
        rows["source_port"] = np.arange(size) + len(everything)
        everything += rows["source_port"].tolist()
        ended.add(rows)
    assert ended.total == len(everything)
    assert len(ended) == min(5, len(everything))
    kept = everything[-5:]
    assert ended.newest(number)["source_port"].tolist() == kept[max(0, len(kept) - number) :]
