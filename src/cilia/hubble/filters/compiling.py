"""From flow.FlowFilter to one test."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cilia.hubble.filters import packet, party
from cilia.hubble.filters.cel import STRIDE, Budget, cel_test
from cilia.hubble.filters.fqdn import fqdn
from cilia.hubble.filters.layer7 import HTTP_FIELDS, check_layer7
from cilia.hubble.filters.patterns import node_matches
from cilia.hubble.filters.service import service
from cilia.hubble.filters.terms import (
    FlowTest,
    Mask,
    Scene,
    Test,
    all_of,
    among,
    any_of,
    constant,
)  # fmt: skip
from cilia.hubble.parties import SIDES
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import PIECE, Rows

Compiler = Callable[[Sequence[Any], Scene], Test]

ABSENT = ("source_ip_xlated", "trace_id", "ip_trace_id", "dns_query", *HTTP_FIELDS)
"""Fields about what no flow carries yet."""


def _of_side(side: str) -> dict[str, Compiler]:
    return {
        f"{side}_ip": lambda values, scene: packet.ip(side, values),
        f"{side}_port": lambda values, scene: packet.port(side, values),
        f"{side}_identity": lambda values, scene: among(f"{side}_identity", values),
        f"{side}_pod": lambda values, scene: party.pod(side, values, scene),
        f"{side}_service": lambda values, scene: service(side, values, scene),
        f"{side}_fqdn": lambda values, scene: fqdn(side, values, scene),
        f"{side}_label": lambda values, scene: party.label(side, values, scene),
        f"{side}_workload": lambda values, scene: party.workload(side, values, scene),
        f"{side}_cluster_name": lambda values, scene: party.cluster(side, values, scene),
    }


COMPILERS: dict[str, Compiler] = {
    "uuid": packet.uuid,
    "verdict": lambda values, scene: among("flow_verdict", values),
    "drop_reason_desc": lambda values, scene: packet.drop_reason(values),
    "traffic_direction": lambda values, scene: among("traffic", values),
    "event_type": lambda values, scene: packet.event_type(values),
    "protocol": lambda values, scene: packet.protocol(values),
    "ip_version": lambda values, scene: among("ip", values),
    "tcp_flags": lambda values, scene: packet.tcp_flags(values),
    "reply": lambda values, scene: packet.reply(values),
    "encrypted": lambda values, scene: packet.encrypted(values),
    "interface": packet.interface,
    "node_labels": party.node_labels,
    "node_name": lambda values, scene: constant(
        any([node_matches(value, scene.node) for value in values])  # noqa: C419 - checks each
    ),
    **{name: lambda values, scene: constant(False) for name in ABSENT},
    **{name: compiler for side in SIDES for name, compiler in _of_side(side).items()},
}
"""By field of flow.FlowFilter."""


CHEAP = 64
"""So many values are compared with a whole piece of the store in some milliseconds."""
SHORTEST = 1024
"""Fewer rows than this save no time."""


def compile_filters(
    allow: Iterable[flow_pb2.FlowFilter], deny: Iterable[flow_pb2.FlowFilter], scene: Scene
) -> FlowTest:
    """A test that flows pass which match one of `allow` (all, if empty) and none of `deny`.

    Raises:
        InvalidFilterError: A filter cannot be understood.
    """
    wanted, unwanted = list(allow), list(deny)
    budget = Budget()
    allowed = [_compile(one, scene, budget) for one in wanted]
    denied = any_of([_compile(one, scene, budget) for one in unwanted])
    permitted = any_of(allowed) if allowed else constant(True)

    def test(rows: Rows) -> Mask:
        budget.begin(len(rows))
        return np.logical_and(permitted(rows), ~denied(rows))

    is_dear = any(one.experimental.cel_expression for one in (*wanted, *unwanted))
    return FlowTest(test, STRIDE if is_dear else _stride((*wanted, *unwanted)))


def _stride(filters: Sequence[flow_pb2.FlowFilter]) -> int:
    """How many rows in one go: the more is compared, the fewer, for others wait meanwhile."""
    fields = [(field.name, value) for one in filters for field, value in one.ListFields()]
    values = sum(len(value) for name, value in fields if name != "experimental")
    return max(SHORTEST, PIECE * CHEAP // max(CHEAP, values))


def _compile(wanted: flow_pb2.FlowFilter, scene: Scene, budget: Budget) -> Test:
    check_layer7(wanted)
    fields = [(field.name, value) for field, value in wanted.ListFields()]
    test = all_of([COMPILERS[n](v, scene) for n, v in fields if n != "experimental"])
    expressions = wanted.experimental.cel_expression
    return cel_test(test, expressions, scene, budget) if expressions else test
