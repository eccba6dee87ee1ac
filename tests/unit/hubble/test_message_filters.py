"""Filters on messages say what filters on columns say, and refuse what those refuse."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.hubble.filters import InvalidFilterError, compile_filters, compile_message_filters
from cilia.hubble.filters.compiling import COMPILERS
from cilia.hubble.filters.messages import MAKERS
from cilia.hubble.proto.flow import flow_pb2
from unit.hubble import test_filters
from unit.hubble.test_filters import FLOW, SCENE, VALUES, filters, passing

REFUSED = next(
    mark.args[1]
    for mark in test_filters.test_a_filter_that_makes_no_sense_is_refused.pytestmark
    if mark.name == "parametrize"
)
REQUEST = flow_pb2.Flow(
    l7=flow_pb2.Layer7(
        http=flow_pb2.HTTP(
            code=503,
            method="GET",
            url="http://deathstar/v1/landing?pass=1",
            headers=[flow_pb2.HTTPHeader(key="Host", value="deathstar")],
        )
    ),
    source_names=["Deathstar.empire.org."],
)
REQUEST.destination_service.name, REQUEST.destination_service.namespace = "deathstar", "default"
QUESTION = flow_pb2.Flow(l7=flow_pb2.Layer7(dns=flow_pb2.DNS(query="empire.org.")))


def matching(allow: list[flow_pb2.FlowFilter], deny: list[flow_pb2.FlowFilter]) -> list[int]:
    matches = compile_message_filters(allow, deny)
    return [number for number, flow in enumerate(FLOW) if matches(flow)]


def test_every_field_is_answered() -> None:
    assert MAKERS.keys() == COMPILERS.keys()


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in VALUES.items() for value in values],
    ids=lambda value: str(value).replace("\n", " ")[:40],
)
def test_one_value_of_one_field(field: str, value: Any) -> None:
    wanted = flow_pb2.FlowFilter(**{field: [value]})
    assert matching([wanted], []) == passing([wanted], [])


@settings(max_examples=25, deadline=None)
@given(allow=st.lists(filters, max_size=3), deny=st.lists(filters, max_size=2))
def test_lists_of_filters(allow: list[dict[str, Any]], deny: list[dict[str, Any]]) -> None:
    allowed = [flow_pb2.FlowFilter(**one) for one in allow]
    denied = [flow_pb2.FlowFilter(**one) for one in deny]
    assert matching(allowed, denied) == passing(allowed, denied)


@pytest.mark.parametrize(("wrong", "says"), REFUSED)
def test_what_columns_refuse_is_refused(wrong: dict[str, Any], says: str) -> None:
    wanted = flow_pb2.FlowFilter(**wrong)
    with pytest.raises(InvalidFilterError) as here:
        compile_message_filters([wanted], [])
    with pytest.raises(InvalidFilterError) as there:
        compile_filters([wanted], [], SCENE)
    assert str(here.value) == str(there.value)


@pytest.mark.parametrize(
    ("wanted", "flow", "passes"),
    [
        ({"http_status_code": ["503"]}, REQUEST, True),
        ({"http_status_code": ["5+"]}, REQUEST, True),
        ({"http_status_code": ["40+"]}, REQUEST, False),
        ({"http_status_code": ["5+"]}, QUESTION, False),
        ({"http_method": ["get"]}, REQUEST, True),
        ({"http_path": ["^/v1/landing$"]}, REQUEST, True),
        ({"http_path": ["pass"]}, REQUEST, False),
        ({"http_url": ["pass=1"]}, REQUEST, True),
        ({"http_url": [".*"]}, QUESTION, False),
        ({"http_header": [{"key": "host", "value": "deathstar"}]}, REQUEST, True),
        ({"dns_query": ["empire"]}, QUESTION, True),
        ({"dns_query": ["empire"]}, REQUEST, False),
        ({"protocol": ["http"]}, REQUEST, True),
        ({"protocol": ["dns"]}, REQUEST, False),
        ({"source_fqdn": ["*.empire.org"]}, REQUEST, True),
        ({"destination_service": ["death"]}, REQUEST, True),
        ({"destination_service": ["other/"]}, REQUEST, False),
        ({"source_ip": ["::ffff:10.0.0.1"]}, flow_pb2.Flow(IP={"source": "10.0.0.1"}), True),
    ],
)
def test_fields_about_what_no_node_reports_yet(
    wanted: dict[str, Any], flow: flow_pb2.Flow, passes: bool
) -> None:
    assert compile_message_filters([flow_pb2.FlowFilter(**wanted)], [])(flow) is passes
