"""How much a request may ask for: what it costs is everybody's."""

from collections.abc import Iterable
from typing import Any

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2

MOST_VALUES = 1024
"""Values in all filters of a request together; an empty filter counts as one."""
LONGEST_TEXT = 4096
"""Characters of one value."""
MOST_PATHS = 256
"""Paths of a field mask."""


class InvalidRequestError(ValueError):
    """A request that contradicts itself, or asks for too much."""


def check_limits(request: observer_pb2.GetFlowsRequest) -> int:
    """How many values a request's filters have.

    Raises:
        InvalidRequestError: Too many, or one is too long.
    """
    count = 0
    for one in (*request.whitelist, *request.blacklist):
        fields = one.ListFields()
        count += max(1, sum(len(value) for _, value in fields if _is_list(value)))
        if count > MOST_VALUES:
            raise InvalidRequestError(f"filters: more than {MOST_VALUES} values in one request")
        for field, value in fields:
            for text in _texts(value):
                if len(text) > LONGEST_TEXT:
                    raise InvalidRequestError(
                        f"{field.name}: a value of {len(text)} characters; at most {LONGEST_TEXT}"
                    )
    if len(request.field_mask.paths) > MOST_PATHS:
        raise InvalidRequestError(f"field_mask: more than {MOST_PATHS} paths")
    return count


def _is_list(value: Any) -> bool:
    return not isinstance(value, flow_pb2.FlowFilter.Experimental) and hasattr(value, "__len__")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, flow_pb2.FlowFilter.Experimental):
        return value.cel_expression
    return (one for one in value if isinstance(one, str)) if _is_list(value) else ()
