"""Events as lines of a file: observer.ExportEvent in JSON.

Source:
    proto/observer/observer.proto, ExportEvent.
"""

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from cilia.hubble.export.protojson import to_json
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer.observer_pb2 import ExportEvent

NS = 1_000_000_000
STARTS = tuple(
    b'{"%s":{' % field.name.encode()
    for field in ExportEvent.DESCRIPTOR.fields
    if field.containing_oneof
)
"""How every line begins: what a torn one is known by."""


def flow_line(flow: flow_pb2.Flow, node: str, time: Timestamp) -> bytes:
    """The line of a flow that was seen at a node."""
    return _line(ExportEvent(flow=flow, node_name=node, time=time))


def lost_line(event: flow_pb2.LostEvent, node: str, time_ns: int) -> bytes:
    """The line that says that something is missing here."""
    return _line(ExportEvent(lost_events=event, node_name=node, time=moment(time_ns)))


def moment(unix_ns: int) -> Timestamp:
    """A time as protobuf has it."""
    return Timestamp(seconds=unix_ns // NS, nanos=unix_ns % NS)


def _line(event: ExportEvent) -> bytes:
    return msgspec.json.encode(to_json(event)) + b"\n"
