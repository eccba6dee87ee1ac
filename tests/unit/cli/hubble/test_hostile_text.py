"""Text of users and nodes that a terminal would obey: shown, and not obeyed."""

import io
import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st

from cilia.cli.events import event_line
from cilia.cli.hubble import report
from cilia.cli.hubble.lines import FORMATS, Look, Printer
from cilia.cli.hubble.top import KEYS, Top
from cilia.cli.output import printable
from cilia.hubble.proto.observer.observer_pb2 import (
    GetAgentEventsResponse,
    GetDebugEventsResponse,
    GetFlowsResponse,
    GetNamespacesResponse,
    GetNodesResponse,
    ServerStatusResponse,
)
from cilia.hubble.proto.peer.peer_pb2 import ChangeNotification
from unit.cli.hubble.made_flows import RULE, TIME, answer, made
from unit.cli.test_monitor import DROP

EVIL = "a\x1b]0;owned\x07\x9b2J\r\n\x7f\u202e\u2028b"
SAFE = "a\\x1b]0;owned\\x07\\x9b2J\\r\\n\\x7f\\u202e\\u2028b"
SIDE = {
    "namespace": EVIL,
    "pod_name": EVIL,
    "labels": [EVIL],
    "workloads": [{"kind": EVIL, "name": EVIL}],
}
FLOW = made(
    source=SIDE,
    destination=SIDE,
    source_names=[EVIL],
    destination_service={"namespace": EVIL, "name": EVIL},
    node_name=EVIL,
    Summary=EVIL,
    event_type={"type": 5},
    policy_match_type=2,
    traffic_direction="INGRESS",
    ingress_allowed_by=[RULE | {"name": EVIL, "namespace": EVIL, "kind": EVIL}],
    policy_log=[EVIL],
)


def message(kind: Any, **fields: Any) -> Any:
    return ParseDict({"node_name": EVIL, "time": TIME} | fields, kind())


STATUS = {"state_change": "NODE_ERROR", "node_names": [EVIL, "b"], "message": EVIL}
MESSAGES = [
    answer(FLOW),
    message(GetFlowsResponse, lost_events={"num_events_lost": "7"}),
    message(GetFlowsResponse, node_status=STATUS),
    message(GetFlowsResponse, node_status=STATUS | {"state_change": "NODE_UNAVAILABLE"}),
    message(GetFlowsResponse, node_status=STATUS | {"state_change": "NODE_CONNECTED"}),
    message(
        GetAgentEventsResponse,
        agent_event={"type": "POLICY_UPDATED", "policy_update": {"labels": [EVIL]}},
    ),
    message(GetDebugEventsResponse, debug_event={"type": "DBG_GENERIC", "message": EVIL}),
]


def shown(output: str, one: Any) -> str:
    out = io.StringIO()
    look = Look(output=output, nodes=True, policies=True, why=True, debug=True)
    printer = Printer(look, out, out)
    printer.write(one)
    printer.close()
    return out.getvalue()


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("one", MESSAGES, ids=range(len(MESSAGES)))
def test_no_output_has_what_a_terminal_obeys(output: str, one: Any) -> None:
    text = shown(output, one)
    assert text
    assert text.replace("\n", "").isprintable()
    if "json" in output:
        expected = MessageToDict(one, preserving_proto_field_name=True)
        assert json.loads(text) == expected
        assert text.count("\n") == 1
    else:
        assert SAFE in text


def test_colours_stay() -> None:
    out = io.StringIO()
    Printer(Look(coloured=True), out, out).write(answer(FLOW))
    text = out.getvalue()
    assert "\x1b[32mALLOWED\x1b[0m" in text
    for code in ("32", "33", "35", "36", "0"):
        text = text.replace(f"\x1b[{code}m", "")
    assert text.removesuffix("\n").isprintable()


def test_counted_flows() -> None:
    top = Top(list(KEYS))
    top.count([FLOW])
    text = top.text(1)
    assert SAFE in text
    assert text.count("\n") == 1
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("output", ["compact", "dict", "table", "wide"])
def test_answers_about_servers(output: str) -> None:
    node = {"name": EVIL, "version": EVIL, "address": EVIL}
    namespace = {"namespace": EVIL, "cluster": EVIL}
    status = ServerStatusResponse(version=EVIL, unavailable_nodes=[EVIL])
    status.num_unavailable_nodes.value = 1
    texts = (
        report.status(status, output, "here"),
        report.nodes(ParseDict({"nodes": [node]}, GetNodesResponse()), output),
        report.namespaces(ParseDict({"namespaces": [namespace]}, GetNamespacesResponse()), output),
        report.peer(ChangeNotification(name=EVIL, address=EVIL, tls={"server_name": EVIL})),
    )
    for text in texts:
        assert SAFE in text
        assert text.replace("\n", "").isprintable()


def test_monitor() -> None:
    policy = {"kind": "CNP", "namespace": EVIL, "name": EVIL, "place": EVIL, "log": EVIL}
    event = DROP | {
        "subtype": EVIL,
        "source": DROP["source"] | {"pod": EVIL},  # type: ignore[operator]  # a dict
        "policies": [policy],
    }
    line = event_line(event)
    assert line.startswith("\x1b[31m")
    assert SAFE in line
    assert line.removeprefix("\x1b[31m").removesuffix("\x1b[0m").isprintable()


@given(st.text())
def test_text_that_is_printable_stays_and_all_else_becomes_so(text: str) -> None:
    found = printable(text)
    assert found.isprintable()
    if text.isprintable():
        assert found == text
    if "\\" not in text and text.isascii():
        assert found.encode().decode("unicode_escape") == text
