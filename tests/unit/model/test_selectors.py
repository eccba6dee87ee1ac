"""Selectors: canonical, and equal to the plain reading of their requirements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.model.errors import InvalidValue
from cilia.model.labels import Label, label_set
from cilia.model.selectors import Operator, label_selector, match_labels, requirement
from cilia.policy.selectors import LabelIndex, SelectorIndex

KEYS = st.sampled_from(["k8s:a", "k8s:b", "any:a", "reserved:a", "b"])
VALUES = st.sampled_from(["1", "2", ""])


@st.composite
def requirements(draw):
    operator = draw(st.sampled_from(list(Operator)))
    values = ()
    if operator in (Operator.IN, Operator.NOT_IN):
        values = draw(st.lists(VALUES, min_size=1, max_size=2))
    return requirement(draw(KEYS), operator, values)


SELECTORS = st.lists(requirements(), max_size=3).map(label_selector)
LABELS = st.dictionaries(
    st.tuples(st.sampled_from(["k8s", "reserved"]), st.sampled_from("ab")), VALUES, max_size=3
)


def plainly(selector, labels):
    for one in selector.requirements:
        source, _, key = one.key.partition(":")
        found = {v for (s, k), v in labels.items() if k == key and source in ("any", s)}
        holds = {
            Operator.IN: bool(found & set(one.values)),
            Operator.NOT_IN: not found & set(one.values),
            Operator.EXISTS: bool(found),
            Operator.DOES_NOT_EXIST: not found,
        }
        if not holds[one.operator]:
            return False
    return True


@given(SELECTORS, LABELS)
def test_a_selector_means_what_it_says(selector, labels):
    rendered = label_set(Label(s, k, v) for (s, k), v in labels.items())
    assert selector.matches(rendered) == plainly(selector, labels)


@given(st.lists(LABELS, max_size=8), st.lists(SELECTORS, max_size=5), st.data())
def test_bitmaps_and_shelves_select_what_matching_does(sets, selectors, data):
    index, shelves = LabelIndex(), SelectorIndex()
    held = {}
    for slot, labels in enumerate(sets):
        held[slot] = label_set(Label(s, k, v) for (s, k), v in labels.items())
        index.add(slot, held[slot])
    for slot in data.draw(st.sets(st.sampled_from(sorted(held)))) if held else ():
        index.remove(slot)
        del held[slot]
    for number, selector in enumerate(selectors):
        shelves.add(number, selector)
        expected = {slot for slot, labels in held.items() if selector.matches(labels)}
        assert set(index.select(selector)) == expected
    for labels in held.values():
        expected = [n for n, selector in enumerate(selectors) if selector.matches(labels)]
        assert sorted(shelves.matching(labels)) == expected


def test_equal_selectors_are_one_value():
    one = match_labels({"a": "1", "b": "2"})
    other = label_selector([requirement("any:b", Operator.IN, ["2"]),
                            requirement("a", Operator.IN, ["1", "1"])])  # fmt: skip
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == "any:a=1, any:b=2"


def test_operators_want_the_right_number_of_values():
    with pytest.raises(InvalidValue, match="at least one value"):
        requirement("a", Operator.IN, [])
    with pytest.raises(InvalidValue, match="takes no values"):
        requirement("a", Operator.EXISTS, ["1"])
    with pytest.raises(InvalidValue, match="needs a key"):
        requirement("k8s:", Operator.EXISTS)
