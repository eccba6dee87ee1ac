"""JSON patch and merge patch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.lab.apiserver.errors import StatusError
from cilia.lab.apiserver.patch import json_patch, merge_patch

NAMES = st.sampled_from(["a", "b", "c/d", "e~f", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def difference(old: Any, new: Any) -> Any:
    """The merge patch that turns one value without nulls into another."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    patch = {name: None for name in old if name not in new}
    for name in new:
        if name not in old:
            patch[name] = new[name]
        elif old[name] != new[name]:
            patch[name] = difference(old[name], new[name])
    return patch


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    return value


@given(old=OBJECTS.map(without_nulls), new=OBJECTS.map(without_nulls))
def test_a_merge_patch_of_the_difference_gives_the_new_value(old: Any, new: Any) -> None:
    assert merge_patch(old, difference(old, new)) == new


@given(document=OBJECTS, patch=OBJECTS)
def test_merge_patch_changes_neither_argument(document: Any, patch: Any) -> None:
    before = repr(document), repr(patch)
    merge_patch(document, patch)
    assert (repr(document), repr(patch)) == before


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


@given(document=OBJECTS, name=NAMES, value=VALUES)
def test_add_then_test_then_remove(document: Any, name: str, value: Any) -> None:
    path = "/" + escaped(name)
    added = json_patch(
        document,
        [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}],
    )
    removed = json_patch(added, [{"op": "remove", "path": path}])

    assert added == {**document, name: value}
    assert removed == {key: inner for key, inner in document.items() if key != name}


@given(items=st.lists(st.integers(0, 5), min_size=1, max_size=5), data=st.data())
def test_lists_move_as_python_lists_do(items: list[int], data: st.DataObject) -> None:
    source = data.draw(st.integers(0, len(items) - 1))
    target = data.draw(st.integers(0, len(items) - 1))
    expected = list(items)
    expected.insert(target, expected.pop(source))

    moved = json_patch(
        {"l": items}, [{"op": "move", "from": f"/l/{source}", "path": f"/l/{target}"}]
    )
    assert moved == {"l": expected}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "remove", "path": "/nope"}, 422),
        ({"op": "replace", "path": "/nope", "value": 1}, 422),
        ({"op": "test", "path": "/a", "value": 2}, 422),
        ({"op": "test", "path": "/a", "value": True}, 422),
        ({"op": "add", "path": "/l/9", "value": 1}, 422),
        ({"op": "add", "path": "/l/01", "value": 1}, 422),
        ({"op": "move", "from": "/m", "path": "/m/x"}, 422),
        ({"op": "add", "path": "no-slash", "value": 1}, 400),
        ({"op": "add", "path": "/x"}, 400),
        ({"op": "brew", "path": "/a", "value": 1}, 400),
        ({"path": "/a"}, 400),
        ("text", 400),
    ],
)
def test_what_does_not_fit_is_refused(operation: Any, code: int) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch({"a": 1, "l": [], "m": {}}, [operation])
    assert caught.value.code == code
