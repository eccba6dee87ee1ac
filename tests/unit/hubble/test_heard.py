"""DNS names as they were known to a pod when a flow was seen."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble import heard as heard_module
from cilia.hubble.filters import Scene, compile_filters
from cilia.hubble.flows import FlowMaker
from cilia.hubble.heard import HeardNames
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, WORLD, KnownNames, records

ADDRESS = "1.1.1.1"
NAMES = st.lists(st.sampled_from(["a.example", "b.example"]), max_size=2, unique=True).map(tuple)


def stored(times: list[int]) -> FlowStore:
    """Flows of endpoint 7 to the world, and one of endpoint 8, at these times."""
    store = FlowStore(RECORD, 64)
    for time in times:
        for endpoint in (7, 8):
            store.add(
                records(
                    1,
                    time=time,
                    source_endpoint=endpoint,
                    destination=np.void(WORLD),
                    destination_identity=2,
                    destination_endpoint=0,
                ),
                0,
            )
    store.show(store.total)
    return store


def names_of(store: FlowStore) -> list[list[str]]:
    maker = FlowMaker(store, KnownNames(), "default/node-1", "1")
    return [list(maker.flow(number).destination_names) for number in range(store.total)]


def test_a_flow_has_the_names_of_its_time_and_of_its_own_pod() -> None:
    store = stored([5, 15, 25])
    store.heard.learn(7, ADDRESS, ("a.example",), 10)
    store.heard.learn(7, ADDRESS, (), 20)
    assert names_of(store) == [[], [], ["a.example"], [], [], []]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), NAMES), max_size=8), st.integers(0, 9))
def test_the_last_that_was_learned_until_then_holds(
    learned: list[tuple[int, tuple[str, ...]]], time: int
) -> None:
    heard, learned = HeardNames(), sorted(learned, key=lambda pair: pair[0])
    for when, names in learned:
        heard.learn(7, ADDRESS, names, when)
    known = [names for when, names in learned if when <= time]
    assert heard.at(7, ADDRESS, time) == (known[-1] if known else ())


def test_filters_find_what_flows_say() -> None:
    store = stored([5, 15])
    store.heard.learn(7, ADDRESS, ("www.a.example",), 10)
    store.heard.learn(8, ADDRESS, ("other.example",), 0)
    scene = Scene(store, "default/node-1")
    for pattern, expected in (
        ("*.a.example", [False, False, True, False]),
        ("other.example", [False, True, False, True]),
        ("b.example", [False] * 4),
    ):
        test = compile_filters([flow_pb2.FlowFilter(destination_fqdn=[pattern])], [], scene)
        found = [bool(one) for rows in store.pieces(0, store.total) for one in test(rows)]
        assert found == expected


def test_memory_is_bounded() -> None:
    heard = HeardNames()
    for number in range(heard_module.LIMIT + 5):
        heard.learn(number, ADDRESS, ("a",), 0)
    for time in range(2 * heard_module.CHANGES):
        heard.learn(10**6, ADDRESS, (str(time),), time)
    assert len(heard) == heard_module.LIMIT
    assert heard.at(0, ADDRESS, 1) == ()
    assert heard.at(10**6, ADDRESS, 0) == ()
    assert heard.at(10**6, ADDRESS, 10**9) == (str(2 * heard_module.CHANGES - 1),)
