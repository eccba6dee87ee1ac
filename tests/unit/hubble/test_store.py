"""The ring of columns keeps the newest flows, and a flow keeps the names it had."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.ports import EndpointName
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import DEATHSTAR, PARTIES, RECORD, KnownNames, records, side_of

SMALL = 8


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 20), max_size=8))
def test_the_newest_flows_are_there_in_order(sizes: list[int]) -> None:
    store = FlowStore(RECORD, SMALL)
    total = 0
    for size in sizes:
        store.add(records(size, source_port=np.arange(total, total + size)), 100)
        total += size
    ports = [int(port) for rows in store.pieces(0, total) for port in rows["source_port"]]
    assert ports == list(range(total))[-SMALL:]
    assert (store.total, len(store)) == (total, min(total, SMALL))
    firsts = [rows.first for rows in store.pieces_back(0, total)]
    assert firsts == sorted(firsts, reverse=True)
    if total:
        assert store.row(total - 1)["source_port"][0] == total - 1
    with pytest.raises(LookupError):
        store.row(total)
    with pytest.raises(LookupError):
        store.row(store.oldest - 1)


def test_time_is_unix_time() -> None:
    store = FlowStore(RECORD, SMALL)
    store.add(records(1, time=7), 1_000)
    assert store.row(0)["time"][0] == 1_007


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(st.sampled_from(PARTIES), st.sampled_from(PARTIES)), max_size=30))
def test_every_flow_has_its_own_parties(
    pairs: list[tuple[tuple[bytes, int, int], tuple[bytes, int, int]]],
) -> None:
    store = FlowStore(RECORD, 64)
    batch = [records(1, **side_of("source", a), **side_of("destination", b)) for a, b in pairs]
    store.add(np.concatenate(batch) if batch else records(0), 0)
    for number, (source, destination) in enumerate(pairs):
        row = store.row(number)
        for side, (_, identity, endpoint) in (("source", source), ("destination", destination)):
            party = store.parties.rows[row[f"{side}_party"][0]]
            assert (party.identity, party.endpoint) == (identity, endpoint)
    assert len(store.parties.rows) <= len(PARTIES)


def pod_of(store: FlowStore, number: int) -> str:
    party = store.parties.rows[store.row(number)["source_party"][0]]
    return f"{party.namespace}/{party.pod}"


def test_a_flow_of_a_deleted_pod_keeps_its_name() -> None:
    store, names = FlowStore(RECORD, SMALL), KnownNames()
    store.add(records(1), 0)
    assert pod_of(store, 0) == "/"
    store.parties.join(names)
    assert pod_of(store, 0) == "default/xwing"
    del names.pods[7]
    store.parties.join(names)
    assert pod_of(store, 0) == "default/xwing"


def test_an_address_with_a_new_owner_leaves_old_flows_alone() -> None:
    store, names = FlowStore(RECORD, SMALL), KnownNames()
    store.add(records(1), 0)
    store.parties.join(names)
    names.pods[7] = "default/ywing"
    store.parties.join(names)
    store.add(records(1), 0)
    assert [pod_of(store, 0), pod_of(store, 1)] == ["default/xwing", "default/ywing"]


def test_an_endpoint_number_given_anew_names_nobody_of_before() -> None:
    class Moved(KnownNames):
        def endpoint(self, number: int) -> EndpointName | None:
            return EndpointName("default/other", ("10.9.9.9",))

    store = FlowStore(RECORD, SMALL)
    store.add(records(1), 0)
    store.parties.join(Moved())
    assert pod_of(store, 0) == "/"


def test_strangers_of_one_identity_are_one_party() -> None:
    store = FlowStore(RECORD, 1_000)
    batch = records(1_000, source_identity=2, source_endpoint=0)
    batch["source"] = np.frombuffer(np.random.default_rng(1).bytes(16_000), "V16")
    store.add(batch, 0)
    assert len(store.parties.rows) == 2
    assert bytes(store.row(999)["destination"][0]) == DEATHSTAR


def test_what_was_lost_is_counted() -> None:
    store = FlowStore(RECORD, SMALL)
    store.add(records(3), 0)
    store.report_lost(50, 1, 7)
    store.report_lost(60, 0, 2)
    assert store.lost == 9
    assert [(loss.position, loss.cpu, loss.count) for loss in store.losses] == [
        (3, 1, 7),
        (3, 0, 2),
    ]
