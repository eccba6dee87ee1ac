"""Flows that agree in some fields, counted and written once an interval."""

from collections.abc import Iterator, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from cilia.hubble.proto.flow import flow_pb2

GROUPS = 10_000
"""Groups that are held at most; when there are more, all are written early."""

COUNTERS = {
    flow_pb2.INGRESS: "ingress_flow_count",
    flow_pb2.EGRESS: "egress_flow_count",
}
UNKNOWN = "unknown_direction_flow_count"


class Aggregation:
    """Groups of flows.

    Args:
        fields: Paths of flow.Flow that tell groups apart.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._mask = FieldMask(paths=fields)
        self._groups: dict[bytes, flow_pb2.Flow] = {}

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def is_full(self) -> bool:
        """Whether the groups must be taken now."""
        return len(self._groups) >= GROUPS

    def add(self, flow: flow_pb2.Flow) -> None:
        """Counts a flow."""
        reduced = flow_pb2.Flow()
        self._mask.MergeMessage(flow, reduced)
        key = reduced.SerializeToString(deterministic=True)
        group = self._groups.setdefault(key, reduced)
        counter = COUNTERS.get(flow.traffic_direction, UNKNOWN)
        setattr(group.aggregate, counter, getattr(group.aggregate, counter) + 1)

    def take(self) -> Iterator[flow_pb2.Flow]:
        """The groups so far, as flows with counts, in the order in which they came."""
        groups, self._groups = self._groups, {}
        yield from groups.values()
