"""Label and field selectors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.apiserver.errors import StatusError
from cilia.lab.apiserver.selectors import field_matcher, label_matcher, selector_of

KEYS = st.sampled_from(["a", "b", "x.io/c"])
VALUES = st.sampled_from(["1", "2", "v"])
LABELS = st.dictionaries(KEYS, VALUES | st.just(""))
REQUIREMENT = st.tuples(
    KEYS,
    st.sampled_from(["=", "==", "!=", "in", "notin", "exists", "absent"]),
    st.lists(VALUES, min_size=1, max_size=3),
)


def holds(labels: dict[str, str], requirement: tuple[str, str, list[str]]) -> bool:
    """The requirement, as the documentation words it."""
    key, operator, values = requirement
    if operator in ("exists", "absent"):
        return (key in labels) == (operator == "exists")
    chosen = values if operator in ("in", "notin") else values[:1]
    inside = key in labels and labels[key] in chosen
    return inside if operator in ("=", "==", "in") else not inside


def text(requirement: tuple[str, str, list[str]]) -> str:
    key, operator, values = requirement
    if operator in ("exists", "absent"):
        return key if operator == "exists" else f"!{key}"
    if operator in ("in", "notin"):
        return f"{key} {operator} ({', '.join(values)})"
    return f"{key}{operator}{values[0]}"


@given(labels=LABELS, requirements=st.lists(REQUIREMENT, min_size=1, max_size=4))
def test_label_selectors_mean_all_their_requirements(
    labels: dict[str, str], requirements: list[tuple[str, str, list[str]]]
) -> None:
    match = label_matcher(",".join(text(requirement) for requirement in requirements))

    assert match is not None
    expected = all(holds(labels, requirement) for requirement in requirements)
    assert match({"metadata": {"labels": labels}}) is expected


OPERATORS = {"in": "In", "notin": "NotIn", "exists": "Exists", "absent": "DoesNotExist"}


@given(labels=LABELS, requirements=st.lists(REQUIREMENT, max_size=3), wanted=LABELS)
def test_selector_objects_mean_the_same(
    labels: dict[str, str],
    requirements: list[tuple[str, str, list[str]]],
    wanted: dict[str, str],
) -> None:
    kept = [requirement for requirement in requirements if requirement[1] in OPERATORS]
    spec = {
        "matchLabels": wanted,
        "matchExpressions": [
            {"key": key, "operator": OPERATORS[operator], "values": values}
            for key, operator, values in kept
        ],
    }

    expected = all(holds(labels, requirement) for requirement in kept) and all(
        labels.get(key) == value for key, value in wanted.items()
    )
    assert selector_of(spec)({"metadata": {"labels": labels}}) is expected


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [("a>5", {"a": "6"}, True), ("a>5", {"a": "5"}, False), ("a<5", {"a": "x"}, False)],
)
def test_numbers(selector: str, labels: dict[str, str], expected: bool) -> None:
    match = label_matcher(selector)
    assert match is not None
    assert match({"metadata": {"labels": labels}}) is expected


@pytest.mark.parametrize(
    "selector", ["=", "a=b=c", "a in b", "a in (b", "!", "a>x", "a b", ",", "-a"]
)
def test_nonsense_is_refused(selector: str) -> None:
    with pytest.raises(StatusError) as caught:
        label_matcher(selector)
    assert caught.value.code == 400


def test_field_selectors_compare_texts() -> None:
    item: dict[str, Any] = {
        "metadata": {"name": "n"}, "spec": {"on": True, "count": 3}, "status": {},
    }  # fmt: skip

    def selected(selector: str) -> bool:
        match = field_matcher(selector, None)
        assert match is not None
        return match(item)

    assert selected("metadata.name=n,spec.on=true,spec.count==3,status.phase=")
    assert selected("status.phase!=Running")
    assert not selected("spec.count!=3")
    with pytest.raises(StatusError, match="not supported"):
        field_matcher("spec.other=1", frozenset({"spec.count"}))
