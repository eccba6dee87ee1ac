"""Whose call it was, and for which service: told by the packets of the same socket."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cilia.hubble.filters import Scene, compile_filters
from cilia.hubble.flows import FlowMaker
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.sockets import Callers
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import DEATHSTAR, RECORD, TIE, V4, XWING, KnownNames, records

FRONT = V4 + bytes((10, 96, 0, 7))
OTHER = V4 + bytes((10, 96, 0, 8))
PODS = {XWING: (300, 7), TIE: (302, 9)}
PRE, POST, ANSWER, TOLD = 1, 2, 3, 4


def call(point: int, cookie: int, cgroup: int, to: bytes, port: int = 80) -> NDArray[np.void]:
    """What a program at the socket writes: of the caller it knows the cgroup alone."""
    return records(
        1,
        type=7,
        subtype=point,
        verdict=7 if point in (POST, TOLD) else 6,
        source=np.void(bytes(16)),
        source_port=0,
        source_identity=0,
        source_endpoint=0,
        destination=np.void(to),
        destination_port=port,
        destination_identity=0,
        destination_endpoint=0,
        tcp_flags=0,
        ifindex=0,
        cookie=cookie,
        cgroup=cgroup,
    )


def packet(cookie: int, source: bytes = XWING, port: int = 8080) -> NDArray[np.void]:
    identity, endpoint = PODS[source]
    return records(
        1,
        source=np.void(source),
        source_identity=identity,
        source_endpoint=endpoint,
        destination_port=port,
        cookie=cookie,
    )


def connection(cookie: int, cgroup: int, source: bytes = XWING) -> list[NDArray[np.void]]:
    return [
        call(PRE, cookie, cgroup, FRONT),
        call(POST, cookie, cgroup, DEATHSTAR, 8080),
        packet(cookie, source),
    ]


def kept(batches: Sequence[Sequence[NDArray[np.void]]]) -> FlowStore:
    store, callers = FlowStore(RECORD, 1024), Callers()
    for batch in batches:
        store.add(callers.complete(np.concatenate(batch)), 0)
    names = KnownNames()
    store.parties.join(names)
    store.services.join(names)
    store.show(store.total)
    return store


def flows(store: FlowStore) -> list[flow_pb2.Flow]:
    maker = FlowMaker(store, KnownNames(), "default/node-1", "1")
    return [maker.flow(number) for number in range(store.total)]


def said(flow: flow_pb2.Flow) -> tuple[str, str, str, str]:
    return (
        flow.source.pod_name,
        flow.IP.source,
        flow.destination.pod_name,
        flow.destination_service.name,
    )


def test_a_call_its_backend_and_its_packets_have_caller_and_service() -> None:
    asked, given, sent = flows(kept([connection(5, 77)]))
    assert said(asked) == ("xwing", "10.0.1.5", "", "deathstar")
    assert said(given) == said(sent) == ("xwing", "10.0.1.5", "deathstar-1", "deathstar")
    assert (asked.Type, asked.verdict) == (flow_pb2.SOCK, flow_pb2.TRACED)
    assert (given.verdict, given.Summary) == (flow_pb2.TRANSLATED, "TCP")
    assert asked.sock_xlate_point == flow_pb2.SOCK_XLATE_POINT_PRE_DIRECTION_FWD
    assert (asked.socket_cookie, asked.cgroup_id) == (5, 77)
    assert asked.destination.identity == 2
    assert not asked.HasField("is_reply")
    assert asked.traffic_direction == flow_pb2.TRAFFIC_DIRECTION_UNKNOWN
    assert [one.name for one in given.destination.workloads] == ["deathstar"]


def test_frontends_are_of_the_world_of_their_family() -> None:
    six = b"\xfd\x00" + bytes(13) + b"\x07"
    calls = np.concatenate([call(PRE, 5, 77, FRONT), call(PRE, 5, 77, six)])
    for is_dual_stack, worlds in ((True, [9, 10]), (False, [2, 2])):
        found = Callers(lambda both=is_dual_stack: both).complete(calls)
        assert found["destination_identity"].tolist() == worlds


def test_a_cgroup_is_known_from_its_first_packet_on() -> None:
    late = [call(ANSWER, 5, 77, DEATHSTAR, 8080), call(TOLD, 5, 77, FRONT)]
    refused = records(1, type=1, subtype=158, file=3, source=np.void(bytes(16)), cgroup=77,
                      source_identity=0, source_endpoint=0, destination=np.void(FRONT))  # fmt: skip
    seen = flows(kept([connection(5, 77), late, [refused]]))
    assert said(seen[3]) == ("xwing", "10.0.1.5", "deathstar-1", "deathstar")
    assert said(seen[4]) == ("xwing", "10.0.1.5", "", "deathstar")
    assert said(seen[5]) == ("xwing", "10.0.1.5", "", "deathstar")


def test_a_cgroup_of_two_pods_tells_nothing() -> None:
    seen = flows(kept([connection(5, 77), connection(6, 77, TIE), [call(PRE, 7, 77, FRONT)]]))
    assert said(seen[3])[0] == "tiefighter", "its own packet tells"
    assert said(seen[6]) == ("", "", "", "deathstar")


def test_an_unknown_caller_is_nobody() -> None:
    (asked,) = flows(kept([[call(PRE, 5, 77, FRONT)]]))
    assert said(asked) == ("", "", "", "deathstar")
    assert asked.IP.destination == "10.96.0.7"
    assert asked.IP.ipVersion == flow_pb2.IPv4


def test_a_socket_that_asks_two_services_keeps_them_apart() -> None:
    second = [call(PRE, 5, 77, OTHER), call(POST, 5, 77, TIE, 8080)]
    to_tie = records(1, destination=np.void(TIE), destination_identity=302,
                     destination_endpoint=9, destination_port=8080, cookie=5)  # fmt: skip
    seen = flows(kept([[*connection(5, 77), *second, to_tie]]))
    assert seen[2].destination_service.name == "deathstar"
    assert seen[5].destination_service.name == "", "nobody knows that service"
    assert seen[5].destination.pod_name == "tiefighter"


def test_batches_may_end_anywhere() -> None:
    whole = [said(one) for one in flows(kept([connection(5, 77)]))]
    cut = [said(one) for one in flows(kept([[one] for one in connection(5, 77)]))]
    assert [one[3] for one in cut] == [one[3] for one in whole], "services survive"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([XWING, TIE]), st.booleans()), max_size=9)
)
def test_the_filter_by_service_finds_what_flows_say(
    drawn: list[tuple[int, bytes, bool]],
) -> None:
    batches = [
        connection(cookie, 70 + source[-1], source) if asks else [packet(cookie + 100, source)]
        for cookie, source, asks in drawn
    ]
    store = kept(batches)
    wanted = flow_pb2.FlowFilter(destination_service=["death"])
    test = compile_filters([wanted], [], Scene(store, "default/node-1"))
    found = [bool(one) for rows in store.pieces(0, store.total) for one in test(rows)]
    assert found == [flow.destination_service.name == "deathstar" for flow in flows(store)]


@pytest.mark.parametrize("name", ["default/other", ""])
def test_a_service_with_anothers_address_is_another(name: str) -> None:
    class Later(KnownNames):
        def service(self, address: str, port: int, protocol: int) -> str:
            return name

    store = kept([connection(5, 77)])
    store.services.join(Later())
    store.add(np.concatenate(connection(6, 77)), 0)
    seen = flows(store)
    assert seen[0].destination_service.name == "deathstar", "an old flow keeps its name"
    assert seen[3].destination_service.name == (name.rpartition("/")[2] or "deathstar")
