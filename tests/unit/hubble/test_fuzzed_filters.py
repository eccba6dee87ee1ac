"""Whatever a client sends as a filter is refused in words or answered."""

import asyncio
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cilia.hubble.filters import InvalidFilterError, Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2
from cilia.hubble.server.getflows import FlowStream
from cilia.hubble.server.limits import InvalidRequestError
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import KnownNames
from unit.hubble.made_servers import store_of

WORDS = (
    "", "/", "*", "a/b", "default/", "10.0.0.0/8", "::/0", "10.0.0.1", "-1", "80", "70000", "tcp",
    "TCP", "k=v", "!k", "k in (a,", "((", "a" * 300, "é\u0000", "5+", "200", "k8s:org=empire",
    "99999999999", "+",
)  # fmt: skip
texts = st.sampled_from(WORDS) | st.text(max_size=8)
numbers = st.integers(-(1 << 31), (1 << 31) - 1)


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """What a field may hold on the wire; enums take numbers that they do not know."""
    if field.message_type is not None:
        return messages(field.message_type)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return texts
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
        return st.integers(0, (1 << 32) - 1)
    return numbers


def messages(descriptor: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Some fields of a message, by name."""
    fields = {
        field.name: st.lists(values(field), max_size=3) if field.is_repeated else values(field)
        for field in descriptor.fields
        if field.name != "cel_expression"  # has a test of its own
    }
    if not fields:
        return st.just({})
    names = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({n: fields[n] for n in chosen}))


filters = st.lists(messages(flow_pb2.FlowFilter.DESCRIPTOR), max_size=3)
STORE: FlowStore = store_of(*range(20))


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(filters, filters, st.integers(0, 5), st.booleans())
def test_any_filter_is_refused_or_answered(
    allow: list[dict[str, Any]], deny: list[dict[str, Any]], number: int, first: bool
) -> None:
    async def run() -> None:
        request = observer_pb2.GetFlowsRequest(
            whitelist=[flow_pb2.FlowFilter(**one) for one in allow],
            blacklist=[flow_pb2.FlowFilter(**one) for one in deny],
            number=number,
            first=first,
        )
        maker = FlowMaker(STORE, KnownNames(), "default/node-1", "0.1.0")
        try:
            stream = FlowStream(request, Scene(STORE, "default/node-1"), maker)
        except (InvalidFilterError, InvalidRequestError):
            return
        found = [one async for one in stream.responses()]
        assert len(found) <= (number or len(STORE))

    asyncio.run(run())
