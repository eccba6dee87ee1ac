"""How much a request may ask for: what it costs is everybody's."""

from collections.abc import Sequence
from typing import Any

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2

MOST_VALUES = 1024
"""Values in all filters of a request together; an empty filter counts as one."""
LONGEST_TEXT = 4096
"""Characters of one value."""
MOST_EXPRESSIONS = 16
"""In CEL, in all filters together: one takes a fifth of a millisecond to understand."""
MOST_PATHS = 256
"""Paths of a field mask."""


class InvalidRequestError(ValueError):
    """A request that contradicts itself, or asks for too much."""


def check_limits(request: observer_pb2.GetFlowsRequest) -> int:
    """How many values a request's filters have.

    Raises:
        InvalidRequestError: Too many, or one is too long.
    """
    filters = (*request.whitelist, *request.blacklist)
    count = 0
    for one in filters:
        values = [(field.name, _values(value)) for field, value in one.ListFields()]
        count += max(1, sum(len(found) for _, found in values))
        if count > MOST_VALUES:
            raise InvalidRequestError(f"filters: more than {MOST_VALUES} values in one request")
        for name, found in values:
            _check_lengths(name, found)
    if sum(len(one.experimental.cel_expression) for one in filters) > MOST_EXPRESSIONS:
        raise InvalidRequestError(
            f"cel_expression: more than {MOST_EXPRESSIONS} expressions in one request"
        )
    if len(request.field_mask.paths) > MOST_PATHS:
        raise InvalidRequestError(f"field_mask: more than {MOST_PATHS} paths")
    return count


def _values(value: Any) -> Sequence[Any]:
    """Those of one field of a filter; one that is no list has none."""
    if isinstance(value, flow_pb2.FlowFilter.Experimental):
        return value.cel_expression
    return value if hasattr(value, "__len__") else ()


def _check_lengths(name: str, values: Sequence[Any]) -> None:
    for text in values:
        if isinstance(text, str) and len(text) > LONGEST_TEXT:
            raise InvalidRequestError(
                f"{name}: a value of {len(text)} characters; at most {LONGEST_TEXT}"
            )
