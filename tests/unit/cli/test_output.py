"""Tables, jsonpath and YAML as users see them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.cli.errors import ClientError
from cilia.cli.output import jsonpath, render, table

TEXT = st.text(alphabet="abcz09-./", max_size=12)


@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=5))
def test_columns_of_a_table_start_at_the_same_place(rows: list[list[str]]) -> None:
    titles = ("NAME", "IDENTITY", "STATUS")
    lines = table(titles, rows).split("\n")
    starts = [lines[0].index(title) for title in titles]
    assert len({len(line) for line in lines}) == 1
    for row, line in zip(rows, lines[1:], strict=True):
        for cell, start in zip(row, starts, strict=True):
            assert line[start : start + len(cell)] == cell


def test_a_cell_with_several_lines_keeps_the_other_columns_empty() -> None:
    text = table(("ID", "LABELS"), [["7", ["k8s:a=b", "k8s:c=d"]], ["8", []]])
    assert [line.rstrip() for line in text.split("\n")] == [
        "ID      LABELS",
        "7       k8s:a=b",
        "        k8s:c=d",
        "8",
    ]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{.revision}", [4]),
        ("{$.Daemon.Version}", ["0.1"]),
        ("'{.list[1].name}'", ["b"]),
        ("{.list[*].name}", ["a", "b"]),
        ("{.list['name']}", []),
        ("{.nothing.here}", []),
    ],
)
def test_jsonpath_selects(path: str, expected: list[object]) -> None:
    value = {
        "revision": 4,
        "Daemon": {"Version": "0.1"},
        "list": [{"name": "a"}, {"name": "b"}],
    }
    assert jsonpath(value, path) == expected


def test_jsonpath_that_cannot_be_read_names_the_place() -> None:
    with pytest.raises(ClientError, match=r"\?\(@"):
        jsonpath({}, "{.a[?(@.b)]}")


@given(st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.lists(inner), max_leaves=5))
def test_json_output_reads_back(value: object) -> None:
    assert json.loads(render(value, "json")) == value


def test_an_unknown_format_says_which_there_are() -> None:
    with pytest.raises(ClientError) as caught:
        render({}, "xml")
    assert "jsonpath" in caught.value.remedy
