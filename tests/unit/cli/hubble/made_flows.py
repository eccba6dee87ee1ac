"""Flows as an observer sends them, to be shown."""

from typing import Any

from google.protobuf.json_format import ParseDict

from cilia.hubble.proto.flow.flow_pb2 import Flow
from cilia.hubble.proto.observer.observer_pb2 import GetFlowsResponse

TIME = "2026-09-21T14:13:20.123Z"
WEB = {"identity": 21001, "namespace": "shop", "pod_name": "web-6d5f7c-abcde"}
CART = {"identity": 21002, "namespace": "shop", "pod_name": "cart-7788-fghij"}
RULE = {
    "name": "rule1",
    "namespace": "shop",
    "kind": "CiliumNetworkPolicy",
    "labels": ["cilia:place=cnp/shop/rule1:14", "cilia:rule=spec.ingress[0]"],
}
CLOSED = RULE | {"labels": ["cilia:place=cnp/shop/rule1:2", "cilia:verdict=default-deny"]}


def made(**fields: Any) -> Flow:
    """A flow of web to cart, TCP SYN, with these fields instead."""
    flow = {
        "time": TIME,
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 8080, "flags": {"SYN": True}}},
        "source": WEB,
        "destination": CART,
        "Type": "L3_L4",
        "node_name": "default/node-a",
        "event_type": {"type": 4},
        "is_reply": False,
        "Summary": "TCP Flags: SYN",
    }
    chosen = {key: value for key, value in (flow | fields).items() if value is not None}
    return ParseDict(chosen, Flow())


def dropped(**fields: Any) -> Flow:
    """A drop by policy."""
    drop = {
        "verdict": "DROPPED",
        "event_type": {"type": 1, "sub_type": 133},
        "drop_reason_desc": "POLICY_DENIED",
        "is_reply": None,
    }
    return made(**drop | fields)


def answer(flow: Flow) -> GetFlowsResponse:
    """One message of the stream."""
    return GetFlowsResponse(flow=flow, node_name=flow.node_name, time=flow.time)
