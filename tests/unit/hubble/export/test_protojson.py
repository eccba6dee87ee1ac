"""Our JSON against protobuf's own, for messages of every kind."""

import json
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.hubble.export.lines import STARTS, flow_line
from cilia.hubble.export.protojson import to_json
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer.observer_pb2 import ExportEvent
from unit.hubble.test_filters import FLOW

NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}


def filled(data: st.DataObject, message: Message, depth: int) -> None:
    """Sets some fields of a message."""
    kind: Descriptor = message.DESCRIPTOR
    if kind.full_name == "google.protobuf.Timestamp":
        message.seconds = data.draw(st.integers(0, 1 << 33))  # type: ignore[attr-defined]  # any message with seconds
        message.nanos = data.draw(st.sampled_from([0, 5, 5_000_000]))  # type: ignore[attr-defined]  # any message with seconds
        return
    if kind.full_name == "google.protobuf.Any":
        return
    fields = (
        data.draw(st.sets(st.sampled_from(list(kind.fields)), max_size=6)) if kind.fields else ()
    )
    for field in sorted(fields, key=lambda one: one.number):
        if field.message_type is not None:
            if depth:
                holder = getattr(message, field.name)
                target = holder.add() if field.is_repeated else holder
                target.SetInParent()
                filled(data, target, depth - 1)
            continue
        value = data.draw(_value(field))
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)


def _value(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        numbers = [one.number for one in field.enum_type.values]
        return st.sampled_from([*numbers, 12_345])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=5)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.text(max_size=8)
    return NUMBERS[field.cpp_type]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_same_as_protobuf_says(data: st.DataObject) -> None:
    event = ExportEvent()
    filled(data, event, 4)
    expected = MessageToDict(event, preserving_proto_field_name=True)
    assert json.dumps(to_json(event)) == json.dumps(expected)


def test_generated_flows() -> None:
    for flow in FLOW[:300]:
        expected = MessageToDict(flow, preserving_proto_field_name=True)
        assert json.dumps(to_json(flow)) == json.dumps(expected)


def test_a_line_is_read_back() -> None:
    for flow in FLOW[:50]:
        line = flow_line(flow, flow.node_name, flow.time)
        assert line.startswith(STARTS)
        assert line.count(b"\n") == 1
        event = Parse(line, ExportEvent())
        assert event == ExportEvent(flow=flow, node_name=flow.node_name, time=flow.time)


def test_text_that_would_break_a_line_is_escaped() -> None:
    flow = flow_pb2.Flow(Summary='a\nb"c\u2028')
    assert flow_line(flow, "n", flow.time).count(b"\n") == 1
