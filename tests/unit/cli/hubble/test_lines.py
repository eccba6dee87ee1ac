"""Flows as lines, as the contract of the command line has them."""

import io
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from cilia.cli.hubble.lines import Look, Printer, compact_line, shortened
from cilia.cli.hubble.wording import Names
from cilia.hubble.proto.flow.flow_pb2 import Flow
from cilia.hubble.proto.observer.observer_pb2 import (
    GetAgentEventsResponse,
    GetDebugEventsResponse,
    GetFlowsResponse,
)
from unit.cli.hubble.made_flows import CART, CLOSED, RULE, TIME, WEB, answer, dropped, made

WEB_40000 = "shop/web-6d5f7c-abcde:40000 (ID:21001)"
CART_8080 = "shop/cart-7788-fghij:8080 (ID:21002)"
STAMP = "Sep 21 14:13:20.123"


COMPACT = [
    (made(), f"{WEB_40000} -> {CART_8080} to-endpoint FORWARDED (TCP Flags: SYN)"),
    (
        made(
            is_reply=True,
            source=CART,
            destination=WEB,
            l4={"TCP": {"source_port": 8080, "destination_port": 40000}},
            Summary="TCP Flags: SYN, ACK",
        ),
        f"{WEB_40000} <- {CART_8080} to-endpoint FORWARDED (TCP Flags: SYN, ACK)",
    ),
    (dropped(), f"{WEB_40000} <> {CART_8080} Policy denied DROPPED (TCP Flags: SYN)"),
    (
        made(
            event_type={"type": 5},
            traffic_direction="INGRESS",
            verdict="DROPPED",
            is_reply=None,
        ),
        f"{WEB_40000} <> {CART_8080} policy-verdict:none INGRESS DENIED (TCP Flags: SYN)",
    ),
    (
        made(
            event_type={"type": 5},
            policy_match_type=2,
            traffic_direction="EGRESS",
            destination={"identity": 2},
            destination_names=["api.example.org"],
        ),
        (
            f"{WEB_40000} -> api.example.org:8080 (world) policy-verdict:L3-L4 EGRESS ALLOWED "
            "(TCP Flags: SYN)"
        ),
    ),
    (
        made(
            event_type={"type": 129},
            l7={"type": "RESPONSE", "http": {"code": 200}},
            Summary="HTTP/1.1 200 3ms (GET http://cart:8080/items)",
        ),
        (
            f"{WEB_40000} -> {CART_8080} http-response FORWARDED "
            "(HTTP/1.1 200 3ms (GET http://cart:8080/items))"
        ),
    ),
    (
        made(
            event_type={"type": 129},
            l7={"type": "REQUEST", "dns": {"query": "a.", "observation_source": "proxy"}},
            Summary="DNS Query a. A",
        ),
        f"{WEB_40000} -> {CART_8080} dns-request proxy FORWARDED (DNS Query a. A)",
    ),
    (
        made(
            IP=None,
            l4=None,
            source=None,
            destination=None,
            is_reply=None,
            ethernet={"source": "02:00:00:00:00:01", "destination": "ff:ff:ff:ff:ff:ff"},
            event_type={"type": 4, "sub_type": 10},
            Summary="ARP",
        ),
        "02:00:00:00:00:01 (unknown) <> ff:ff:ff:ff:ff:ff (unknown) from-network FORWARDED (ARP)",
    ),
    (
        made(
            IP={"source": "fd00::1", "destination": "fd00::2"},
            source={"identity": 1},
            destination_service={"name": "cart", "namespace": "shop"},
            destination=None,
            event_type={"type": 7, "sub_type": 2},
            verdict="TRANSLATED",
            auth_type="SPIRE",
            ip_trace_id={"trace_id": "7"},
        ),
        (
            "[fd00::1]:40000 (host) -> shop/cart:8080 (unknown) post-xlate-fwd TRANSLATED "
            "(IP Trace ID: 7; TCP Flags: SYN; Auth: SPIRE)"
        ),
    ),
    (
        made(IP={"source": "fd00::1", "destination": "fd00::2"}, source=None, l4={"ICMPv6": {}}),
        (
            "fd00::1 (unknown) -> shop/cart-7788-fghij (ID:21002) to-endpoint FORWARDED "
            "(TCP Flags: SYN)"
        ),
    ),
    (
        made(event_type={"type": 9}, verdict=None),
        f"{WEB_40000} -> {CART_8080} UNKNOWN VERDICT_UNKNOWN (TCP Flags: SYN)",
    ),
]


@pytest.mark.parametrize(("flow", "line"), COMPACT, ids=range(len(COMPACT)))
def test_compact(flow: Flow, line: str) -> None:
    assert compact_line(flow, Look()) == f"{STAMP}: {line}"


def test_names_can_be_left_out() -> None:
    line = compact_line(made(source={"identity": 2}), Look(names=Names(numeric=True)))
    assert "10.0.0.1:40000 (world) -> 10.0.0.2:8080 (ID:21002)" in line
    line = compact_line(made(source={"identity": 2}), Look(names=Names(pods=False)))
    assert "10.0.0.1:40000 (world) -> 10.0.0.2:8080 (ID:21002)" in line


def test_node_and_layout() -> None:
    line = compact_line(made(), Look(nodes=True, layout="RFC3339Milli"))
    assert line.startswith("2026-09-21T14:13:20.123Z [default/node-a]: shop/web")


def test_colours_add_nothing_but_colours() -> None:
    plain, coloured = (compact_line(dropped(), Look(coloured=on)) for on in (False, True))
    assert "\x1b[31mDROPPED\x1b[0m" in coloured
    assert "\x1b" not in plain
    for code in ("31", "33", "35", "36", "0"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


def test_why_names_policy_rule_and_line() -> None:
    shown = Look(why=True)
    closed = compact_line(dropped(ingress_denied_by=[CLOSED, CLOSED]), shown)
    assert closed.endswith(" | closed by CiliumNetworkPolicy shop/rule1 (cnp/shop/rule1:2)")
    denied = dropped(event_type={"type": 1, "sub_type": 181}, egress_denied_by=[RULE])
    assert compact_line(denied, shown).endswith(
        " | denied by CiliumNetworkPolicy shop/rule1 spec.ingress[0] (cnp/shop/rule1:14)"
    )
    allowed = made(event_type={"type": 5}, policy_match_type=2, ingress_allowed_by=[RULE])
    assert "| allowed by CiliumNetworkPolicy shop/rule1 " in compact_line(allowed, shown)
    assert compact_line(made(), shown) == compact_line(made(), Look())
    assert "rule1" not in compact_line(dropped(ingress_denied_by=[CLOSED]), Look())


def test_policy_names_of_the_stock_tool() -> None:
    flow = made(
        event_type={"type": 5}, verdict="DROPPED", traffic_direction="INGRESS",
        is_reply=None, ingress_denied_by=[RULE],
    )  # fmt: skip
    assert " INGRESS DENIED BY rule1 (CiliumNetworkPolicy) (TCP" in compact_line(
        flow, Look(policies=True)
    )


def printed(look: Look, *messages: Any) -> tuple[str, str]:
    out, errors = io.StringIO(), io.StringIO()
    printer = Printer(look, out, errors)
    for message in messages:
        printer.write(message)
    printer.close()
    return out.getvalue(), errors.getvalue()


def test_dict() -> None:
    text, _ = printed(Look(output="dict", nodes=True), answer(made()), answer(dropped()))
    assert text == (
        "  TIMESTAMP: Sep 21 14:13:20.123\n"
        "       NODE: default/node-a\n"
        "     SOURCE: shop/web-6d5f7c-abcde:40000\n"
        "DESTINATION: shop/cart-7788-fghij:8080\n"
        "       TYPE: to-endpoint\n"
        "    VERDICT: FORWARDED\n"
        "    SUMMARY: TCP Flags: SYN\n"
        "------------\n"
        "  TIMESTAMP: Sep 21 14:13:20.123\n"
        "       NODE: default/node-a\n"
        "     SOURCE: shop/web-6d5f7c-abcde:40000\n"
        "DESTINATION: shop/cart-7788-fghij:8080\n"
        "       TYPE: Policy denied\n"
        "    VERDICT: DROPPED\n"
        "    SUMMARY: TCP Flags: SYN\n"
    )


@pytest.mark.parametrize("output", ["table", "tab"])
def test_table(output: str) -> None:
    lost = ParseDict({"lost_events": {"num_events_lost": "7"}, "time": TIME}, GetFlowsResponse())
    text, _ = printed(Look(output=output), answer(made()), lost)
    titles, row, last = text.splitlines()
    assert titles.split() == ["TIMESTAMP", "SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"]
    assert row.split("   ") == [
        STAMP,
        "shop/web-6d5f7c-abcde:40000",
        "shop/cart-7788-fghij:8080",
        "to-endpoint",
        "FORWARDED",
        "TCP Flags: SYN",
    ]
    assert "EVENTS LOST" in last


@pytest.mark.parametrize("output", ["json", "jsonpb"])
def test_json(output: str) -> None:
    text, _ = printed(Look(output=output), answer(made()))
    shown = json.loads(text)
    assert set(shown) == {"flow", "node_name", "time"}
    assert shown["flow"]["IP"]["ipVersion"] == "IPv4"
    assert shown["flow"]["Summary"] == "TCP Flags: SYN"
    bare, _ = printed(Look(output=output, bare=True), answer(made()))
    assert json.loads(bare) == shown["flow"]


def test_lost_events() -> None:
    lost = {
        "lost_events": {
            "source": "HUBBLE_RING_BUFFER",
            "num_events_lost": "7",
            "cpu": 0,
            "first": TIME,
            "last": TIME,
        },
        "time": TIME,
    }
    text, _ = printed(Look(), ParseDict(lost, GetFlowsResponse()))
    assert text == (
        f"{STAMP} EVENTS LOST: HUBBLE_RING_BUFFER CPU(0) 7 (first: {STAMP}, last: {STAMP})\n"
    )


def test_nodes_in_trouble_are_told_on_stderr() -> None:
    states = (
        {"state_change": "NODE_CONNECTED", "node_names": ["b"]},
        {"state_change": "NODE_UNAVAILABLE", "node_names": ["a"]},
        {"state_change": "NODE_ERROR", "node_names": ["c"], "message": "boom"},
    )
    told = [
        ParseDict({"node_status": one, "node_name": "relay", "time": TIME}, GetFlowsResponse())
        for one in states
    ]
    out, errors = printed(Look(), *told)
    assert out == ""
    assert errors.splitlines() == [
        f"{STAMP} [relay]: 1 nodes are unavailable: a",
        f'{STAMP} [relay]: Error "boom" on 1 nodes: c',
    ]
    assert shortened(["a" * 40, "b" * 20, "c"]) == "a" * 40 + " (and 2 more)"


AGENT = [
    (
        {
            "type": "POLICY_UPDATED",
            "policy_update": {"labels": ["k8s:a=b"], "revision": "5", "rule_count": "1"},
        },
        "POLICY_UPDATED (labels: [k8s:a=b], revision: 5, count: 1)",
    ),
    (
        {
            "type": "ENDPOINT_CREATED",
            "endpoint_update": {"id": "101", "namespace": "shop", "pod_name": "web-1"},
        },
        "ENDPOINT_CREATED (id: 101, namespace: shop, pod name: web-1)",
    ),
    (
        {
            "type": "IPCACHE_UPSERTED",
            "ipcache_update": {
                "cidr": "10.0.0.12/32",
                "identity": 21002,
                "old_identity": 2,
                "host_ip": "192.168.1.2",
            },
        },
        (
            "IPCACHE_UPSERTED (cidr: 10.0.0.12/32, identity: 21002, old identity: 2, "
            "host ip: 192.168.1.2, encrypt key: 0)"
        ),
    ),
    (
        {"type": "AGENT_STARTED", "agent_start": {"time": TIME}},
        f"AGENT_STARTED (start time: {STAMP})",
    ),
]


@pytest.mark.parametrize(("event", "line"), AGENT)
def test_agent_events(event: dict[str, Any], line: str) -> None:
    message = ParseDict({"agent_event": event, "time": TIME}, GetAgentEventsResponse())
    assert printed(Look(), message)[0] == f"{STAMP}: {line}\n"
    titles = printed(Look(output="table"), message)[0].splitlines()[0]
    assert titles.split() == ["TIMESTAMP", "TYPE", "DETAILS"]


def test_debug_events() -> None:
    event = {
        "type": "DBG_CT_VERDICT",
        "source": {"ID": 101, "namespace": "shop", "pod_name": "web-6d5f7c-abcde"},
        "hash": 0xDEADBEEF,
        "cpu": 3,
        "message": "CT verdict: New, revnat=0",
    }
    message = ParseDict({"debug_event": event, "time": TIME}, GetDebugEventsResponse())
    assert printed(Look(), message)[0] == (
        f"{STAMP}: shop/web-6d5f7c-abcde (ID: 101) DBG_CT_VERDICT MARK: 0xdeadbeef CPU: 03 "
        "(CT verdict: New, revnat=0)\n"
    )
