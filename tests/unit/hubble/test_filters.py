"""Every field of FlowFilter against a plain reference over generated flows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.filters import InvalidFilterError, Scene, compile_filters
from cilia.hubble.filters.compiling import COMPILERS
from cilia.hubble.flows import FlowMaker
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import PARTIES, RECORD, KnownNames, records, side_of
from unit.hubble.naive_filter import passes

NODE = "default/node-1"
FLOWS = 1_000


def generated() -> tuple[FlowStore, list[flow_pb2.Flow]]:
    """A thousand flows of every kind, the same ones each time."""
    dice = np.random.default_rng(4)
    rows = records(FLOWS)
    for side in ("source", "destination"):
        for number, party in enumerate(PARTIES):
            here = dice.integers(0, len(PARTIES), FLOWS) == number
            for name, value in side_of(side, party).items():
                rows[name][here] = value
    choices: dict[str, list[int]] = {
        "type": [1, 4, 5],
        "subtype": [0, 1, 2, 5, 11],
        "verdict": [1, 2, 4, 5],
        "protocol": [0, 1, 6, 6, 17, 58, 132],
        "source_port": [0, 53, 80, 40000],
        "destination_port": [0, 53, 80, 40000],
        "tcp_flags": list(range(256)),
        "icmp_type": [0, 3, 8, 128],
        "icmp_code": [0, 1, 3],
        "ifindex": [0, 12, 13, 14],
        "reason": [0, 1, 2, 3, 5],
        "match": [0, 1, 2, 4],
        "direction": [0, 1],
        "provenance": [0, 5, 6, 7],
    }
    for name, values in choices.items():
        rows[name] = dice.choice(values, FLOWS)
    drops = rows["type"] == 1
    rows["subtype"][drops] = dice.choice([132, 133, 181, 159, 205], drops.sum())
    store = FlowStore(RECORD, FLOWS, lambda index: {12: "eth0", 13: "lxc1"}.get(index, ""))
    store.add(rows[:300], 0)
    store.add(rows[300:], 0)
    names = KnownNames()
    store.parties.join(names)
    maker = FlowMaker(store, names, NODE, "0")
    return store, [maker.flow(number) for number in range(FLOWS)]


STORE, FLOW = generated()
SCENE = Scene(STORE, NODE, ("zone=a",))
for each in FLOW:
    each.node_labels.extend(SCENE.node_labels)

TEXTS: dict[str, list[Any]] = {
    "ip": ["10.0.1.5", "10.0.1.0/24", "10.0.0.0/30", "fd00::7", "fd00::/8", "::/0", "0.0.0.0/0"],
    "port": ["0", "53", "80", "40000"],
    "identity": [0, 2, 300, 302],
    "pod": ["xwing", "empire/", "/death", "default/deathstar", "/", "empire/tie", "nobody"],
    "label": [
        "org=empire",
        "k8s:org=empire",
        "any:org",
        "org",
        "!org",
        "class!=xwing",
        "reserved:world",
        "org=empire,class=tiefighter",
    ],
    "cluster_name": ["default", "other"],
    "workload": [flow_pb2.Workload(name="x"), flow_pb2.Workload(kind="Deployment")],
    "fqdn": ["a.com", "*.b.org"],
    "service": ["default/kube", "x"],
}
VALUES: dict[str, list[Any]] = {
    "uuid": [FLOW[3].uuid, FLOW[999].uuid, "nonsense", "00000000-0000-8000-8000-000000000001"],
    "source_ip_xlated": ["10.0.1.5"],
    "verdict": [0, 1, 2, 4, 5],
    "drop_reason_desc": [0, 132, 133, 181, 205],
    "traffic_direction": [0, 1, 2],
    "event_type": [
        flow_pb2.EventTypeFilter(type=1),
        flow_pb2.EventTypeFilter(type=1, match_sub_type=True, sub_type=133),
        flow_pb2.EventTypeFilter(type=4, match_sub_type=True, sub_type=0),
        flow_pb2.EventTypeFilter(type=5),
        flow_pb2.EventTypeFilter(match_sub_type=True, sub_type=5),
        flow_pb2.EventTypeFilter(),
        flow_pb2.EventTypeFilter(type=129),
        flow_pb2.EventTypeFilter(type=-1, match_sub_type=True, sub_type=1 << 30),
    ],
    "protocol": ["tcp", "UDP", "icmp", "icmpv4", "ICMPv6", "sctp", "http", "dns", "vrrp"],
    "ip_version": [0, 1, 2],
    "tcp_flags": [
        flow_pb2.TCPFlags(SYN=True),
        flow_pb2.TCPFlags(SYN=True, ACK=True),
        flow_pb2.TCPFlags(CWR=True, FIN=True),
        flow_pb2.TCPFlags(NS=True),
        flow_pb2.TCPFlags(),
    ],
    "reply": [True, False],
    "encrypted": [True, False],
    "interface": [
        flow_pb2.NetworkInterface(index=12),
        flow_pb2.NetworkInterface(name="lxc1"),
        flow_pb2.NetworkInterface(index=12, name="lxc1"),
        flow_pb2.NetworkInterface(),
    ],
    "node_name": ["node-1", "default/node-*", "other/node-1", "default/", "*-2", "/node-1"],
    "node_labels": ["zone=a", "zone=b", "!zone"],
    "http_status_code": ["200", "40+", "5+"],
    "http_method": ["GET"],
    "http_path": ["/v1/.*"],
    "http_url": ["https?://.*"],
    "http_header": [flow_pb2.HTTPHeader(key="a", value="b")],
    "dns_query": ["a.*"],
    "trace_id": ["abc"],
    "ip_trace_id": [7],
}
for end in ("source", "destination"):
    VALUES |= {f"{end}_{name}": values for name, values in TEXTS.items()}


def test_every_field_of_the_contract_is_compiled_and_tried() -> None:
    fields = set(flow_pb2.FlowFilter.DESCRIPTOR.fields_by_name) - {"experimental"}
    assert fields == set(COMPILERS) == set(VALUES)


def passing(allow: list[flow_pb2.FlowFilter], deny: list[flow_pb2.FlowFilter]) -> list[int]:
    test = compile_filters(allow, deny, SCENE)
    return [
        rows.first + int(at)
        for rows in STORE.pieces(0, STORE.total)
        for at in np.flatnonzero(test(rows))
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in VALUES.items() for value in values],
    ids=lambda value: str(value).replace("\n", " ")[:40],
)
def test_one_value_of_one_field(field: str, value: Any) -> None:
    wanted = flow_pb2.FlowFilter(**{field: [value]})
    expected = [number for number, flow in enumerate(FLOW) if passes(wanted, flow)]
    assert passing([wanted], []) == expected


def test_what_is_tried_finds_something_and_leaves_something() -> None:
    for field in ("verdict", "source_ip", "destination_pod", "source_label", "reply", "protocol"):
        found = [len(passing([flow_pb2.FlowFilter(**{field: [v]})], [])) for v in VALUES[field]]
        assert max(found) > 0, field
        assert min(found) < FLOWS, field


http = {"http_status_code", "http_method", "http_path", "http_url", "http_header"}
filters = st.dictionaries(
    st.sampled_from(sorted(set(VALUES) - http)), st.just(0), min_size=1, max_size=3
).flatmap(
    lambda fields: st.fixed_dictionaries(
        {name: st.lists(st.sampled_from(VALUES[name]), min_size=1, max_size=3) for name in fields}
    )
)


@settings(max_examples=40, deadline=None)
@given(allow=st.lists(filters, max_size=3), deny=st.lists(filters, max_size=2))
def test_lists_of_filters(allow: list[dict[str, Any]], deny: list[dict[str, Any]]) -> None:
    allowed = [flow_pb2.FlowFilter(**one) for one in allow]
    denied = [flow_pb2.FlowFilter(**one) for one in deny]
    expected = [
        number
        for number, flow in enumerate(FLOW)
        if (not allowed or any(passes(one, flow) for one in allowed))
        and not any(passes(one, flow) for one in denied)
    ]
    assert passing(allowed, denied) == expected


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"source_ip": ["10.0.0.300"]}, "source_ip '10.0.0.300'"),
        ({"source_ip": [""]}, "source_ip ''"),
        ({"destination_port": ["http"]}, "destination_port 'http'"),
        ({"source_port": ["65536"]}, "source_port '65536'"),
        ({"source_port": ["²"]}, "source_port"),
        ({"protocol": ["quic"]}, "protocol 'quic'"),
        ({"source_pod": [""]}, "source_pod ''"),
        ({"destination_service": [""]}, "destination_service ''"),
        ({"source_fqdn": ["a b"]}, "source_fqdn 'a b'"),
        ({"destination_label": ["a in b"]}, "destination_label 'a in b'"),
        ({"source_label": [""]}, "source_label ''"),
        ({"node_labels": ["=x"]}, "node_labels '=x'"),
        ({"node_name": [""]}, "node_name ''"),
        ({"node_name": ["a/b/c"]}, "node_name 'a/b'"),
        ({"source_cluster_name": [""]}, "source_cluster_name ''"),
        ({"http_status_code": ["600"]}, "http_status_code '600'"),
        ({"http_path": ["("]}, "http_path '('"),
        ({"dns_query": ["["]}, "dns_query"),
        (
            {"http_method": ["GET"], "event_type": [flow_pb2.EventTypeFilter(type=4)]},
            "event_type must include 129",
        ),
        ({"experimental": {"cel_expression": ["1"]}}, "not BOOL"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidFilterError, match=says.replace("(", r"\(")):
        compile_filters([flow_pb2.FlowFilter(**wrong)], [], SCENE)


@settings(deadline=None)
@given(st.text(max_size=12))
def test_hostile_text_is_understood_or_refused(text: str) -> None:
    for field in ("source_ip", "source_pod", "source_label", "source_fqdn", "node_name", "uuid"):
        try:
            compile_filters([flow_pb2.FlowFilter(**{field: [text]})], [], SCENE)
        except InvalidFilterError:
            continue


def test_labels_of_the_node_are_those_it_has_when_flows_come() -> None:
    store = FlowStore(RECORD, 8)
    store.add(records(2), 0)
    wanted = [flow_pb2.FlowFilter(node_labels=["zone=b"])]
    test = compile_filters(wanted, [], Scene(store, NODE))
    (rows,) = store.pieces(0, 2)
    assert test(rows).tolist() == [False, False], "nothing is known of the node yet"
    store.node_labels = ("zone=b",)
    assert test(rows).tolist() == [True, True]
