"""Schema rules, against the jsonschema package as the oracle."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from cilia.lab.apiserver.openapi_rules import schema_causes
from cilia.lab.apiserver.structural import default_values, prune

NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.booleans() | st.integers(-3, 6) | st.text("xy", max_size=4) | st.floats(-2, 5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
LIMITS = st.integers(0, 3)
LEAVES = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("integer")},
        optional={
            "minimum": LIMITS, "maximum": LIMITS, "multipleOf": st.integers(1, 3),
            "exclusiveMinimum": st.just(True), "exclusiveMaximum": st.just(True),
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": LIMITS, "maxLength": LIMITS, "pattern": st.sampled_from(["^x", "y$"]),
            "enum": st.lists(st.sampled_from(["x", "y", "xy"]), min_size=1),
        },
    ),
    st.just({"type": "boolean"}),
    st.just({"type": "number"}),
)  # fmt: skip
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": LIMITS, "maxItems": LIMITS},
        ),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner)},
            optional={
                "required": st.lists(NAMES, min_size=1, unique=True),
                "minProperties": LIMITS,
                "maxProperties": LIMITS,
            },
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=8,
)


def _complete(schema: Any) -> Any:
    """Draft 4 wants the limit that an exclusive flag speaks of."""
    if isinstance(schema, dict):
        made = {name: _complete(inner) for name, inner in schema.items()}
        for flag, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if flag in made and limit not in made:
                del made[flag]
        return made
    return [_complete(inner) for inner in schema] if isinstance(schema, list) else schema


def _is_exact(value: Any) -> bool:
    """Whether the value holds no float that is a whole number: the two differ on these."""
    if isinstance(value, dict):
        return all(map(_is_exact, value.values()))
    if isinstance(value, list):
        return all(map(_is_exact, value))
    return not (isinstance(value, float) and value.is_integer())


@given(value=VALUES.filter(_is_exact), schema=SCHEMAS.map(_complete))
def test_the_same_values_pass(value: Any, schema: Any) -> None:
    assert (schema_causes(value, schema, "x") == []) == Draft4Validator(schema).is_valid(value)


def test_messages_name_the_field_and_the_rule() -> None:
    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "ports": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port"],
                "items": {
                    "type": "object",
                    "properties": {"port": {"type": "integer", "maximum": 9}},
                },
            },
        },
    }
    value = {"ports": [{"port": 1}, {"port": 1}, {"port": 10}, {"port": "x"}]}

    too_large = "spec.ports[2].port in body should be less than or equal to 9"
    no_number = 'spec.ports[3].port in body must be of type integer: "string"'
    assert [cause.text for cause in schema_causes(value, schema, "spec")] == [
        "spec.name: Required value",
        'spec.ports[1]: Duplicate value: {"port": 1}',
        f"spec.ports[2].port: Invalid value: 10: {too_large}",
        f'spec.ports[3].port: Invalid value: "string": {no_number}',
    ]


def test_prune_and_defaults() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "integer", "default": 2}}}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"a": inner}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    item = {"metadata": {"x": 1}, "spec": {"a": {"z": 1}, "y": 2}, "free": {"any": 1}, "odd": 1}
    unknown: list[str] = []
    prune(item, schema, unknown)
    default_values(item, schema)

    assert item == {"metadata": {"x": 1}, "spec": {"a": {"b": 2}}, "free": {"any": 1}}
    assert sorted(unknown) == ["odd", "spec.a.z", "spec.y"]
