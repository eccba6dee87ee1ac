"""Messages in protobuf's JSON, with the fields' own names: as json_format does, but faster.

How a field is written is worked out once a message type. What is rare (most well-known
types, floats, bytes, maps) is left to json_format.

Source:
    https://protobuf.dev/programming-guides/json/
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

Json = Any
Writer = Callable[[Any], Json]

PLAIN = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_BOOL,
}
LONG = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}
"""Numbers that JSON's readers would round: written as text."""
WELL_KNOWN = "google.protobuf."


def to_json(message: Message) -> Json:
    """The message as json.dumps takes it; fields that are not set are left out."""
    writer: Writer = _message_writer(message.DESCRIPTOR)
    return writer(message)


@cache
def _message_writer(kind: Descriptor) -> Writer:
    fields = {field.number: field for field in kind.fields}
    if kind.full_name in WRITERS:
        return WRITERS[kind.full_name]
    if kind.full_name.startswith(WELL_KNOWN) or any(map(_is_rare, fields.values())):
        return lambda message: MessageToDict(message, preserving_proto_field_name=True)
    writers: dict[int, Writer] = {}

    def write(message: Message) -> Json:
        made = {}
        for field, value in message.ListFields():
            writer = writers.get(field.number)
            if writer is None:  # made late, since a message may hold its own kind
                writer = writers[field.number] = _field_writer(fields[field.number])
            made[field.name] = writer(value)
        return made

    return write


def _is_rare(field: FieldDescriptor) -> bool:
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    return is_map or field.cpp_type in (
        FieldDescriptor.CPPTYPE_FLOAT,
        FieldDescriptor.CPPTYPE_DOUBLE,
    ) or field.type == FieldDescriptor.TYPE_BYTES  # fmt: skip


def _field_writer(field: FieldDescriptor) -> Writer:
    one = _value_writer(field)
    if field.is_repeated:
        return lambda values: [one(value) for value in values]
    return one


def _value_writer(field: FieldDescriptor) -> Writer:
    if field.message_type is not None:
        return _message_writer(field.message_type)
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda value: names.get(value, value)
    return str if field.cpp_type in LONG else _same


def _same(value: Any) -> Json:
    return value


def _time(moment: Any) -> Json:
    """RFC 3339 with as few digits as say it: none, three, six or nine."""
    if not FIRST_SECOND <= moment.seconds < LAST_SECOND:
        return moment.ToJsonString()
    if not moment.nanos:
        return f"{_second(moment.seconds)}Z"
    digits = f"{moment.nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{_second(moment.seconds)}.{digits}Z"


@lru_cache(8)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _wrapped(wrapper: Any) -> Json:
    return wrapper.value


FIRST_SECOND, LAST_SECOND = 0, 253_402_300_800
"""From 1970 until the year 10000."""
WRITERS: dict[str, Writer] = {
    f"{WELL_KNOWN}Timestamp": _time,
    f"{WELL_KNOWN}BoolValue": _wrapped,
    f"{WELL_KNOWN}Int32Value": _wrapped,
    f"{WELL_KNOWN}UInt32Value": _wrapped,
}
