"""Messages as JSON and back: a module of its own, since what it imports costs 15 ms."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from cilia.cli.errors import ClientError
from cilia.hubble.proto.flow.flow_pb2 import FlowFilter

Json = Any


def message_dict(message: Message) -> Json:
    """A message in protobuf's JSON, with the fields' own names."""
    return MessageToDict(message, preserving_proto_field_name=True)


def parsed_filters(filters: Iterable[Json]) -> list[FlowFilter]:
    """Messages of filters as JSON.

    Raises:
        ClientError: one that is not a FlowFilter.
    """
    try:
        return [ParseDict(one, FlowFilter()) for one in filters]
    except ParseError as error:
        raise ClientError(
            f"a raw filter is not a FlowFilter: {error}",
            'it is JSON with the fields of flow.FlowFilter: {"source_pod":["default/xwing"]}',
        ) from None
