"""Rows to text: tables, JSON, YAML and jsonpath, the same for every command."""

import importlib
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from cilia.cli.errors import ClientError

Json = Any
Cell = str | Sequence[str]

GAP = 3
"""Spaces between columns."""
MINIMUM_WIDTH = 5


def printable(text: str) -> str:
    """Text of others with what a terminal would obey, or hide, written as escapes.

    >>> printable("ün web"), printable("a\\x1b[2J\\x9b1m")
    ('ün web', 'a\\\\x1b[2J\\\\x9b1m')
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def table(
    titles: Sequence[str], rows: Sequence[Sequence[Cell]], narrowest: int = MINIMUM_WIDTH
) -> str:
    """A space-padded table; a cell that is a list takes one line an item.

    Args:
        titles: One may hold line breaks, for headers of two lines.
        rows: A cell a title.
        narrowest: No column is narrower.
    """
    lines = list(_lines([title.split("\n") for title in titles]))
    for row in rows:
        lines += _lines([[cell] if isinstance(cell, str) else list(cell) for cell in row])
    widths = [max([narrowest, *(len(line[i]) for line in lines)]) for i in range(len(titles))]
    return "\n".join(
        "".join(cell.ljust(width + GAP) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def _lines(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    height = max((len(cell) for cell in cells), default=1)
    return [[cell[i] if i < len(cell) else "" for cell in cells] for i in range(max(height, 1))]


def render(value: Json, output: str) -> str:
    """`value` as JSON, YAML or the part of it that a jsonpath selects.

    Raises:
        ClientError: an output format or path that is not understood.
    """
    kind, _, path = output.partition("=")
    if kind == "json":
        return json.dumps(value, indent=2)
    if kind == "yaml":
        return _yaml(value)
    if kind == "jsonpath":
        return " ".join(_text(item) for item in jsonpath(value, path))
    raise ClientError(
        f"unknown output format {output!r}", "use table, wide, json, yaml or jsonpath='{.field}'"
    )


def emit(value: Json, output: str, as_table: str | None = None) -> None:
    """Prints a command's result in the format that was asked for."""
    if output in ("table", "wide") and as_table is not None:
        click.echo(as_table)
    else:
        click.echo(render(value, "json" if output in ("table", "wide") else output))


_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+|\*)\]|\['([^']+)'\]")


def jsonpath(value: Json, path: str) -> list[Json]:
    """What `{.a.b[0]}` selects of `value`: fields, indexes and `[*]`.

    Raises:
        ClientError: the path is not of that form.

    Source: Kubernetes documentation, "JSONPath Support".

    >>> jsonpath({"a": [{"b": 1}, {"b": 2}]}, "{.a[*].b}")
    [1, 2]
    """
    text = path.strip("'\" ").removeprefix("{").removesuffix("}").removeprefix("$")
    found = [value]
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ClientError(
                f"jsonpath {path!r}: cannot read {text[position:]!r}", "e.g. {.status.state}"
            )
        found = [item for each in found for item in _select(each, match)]
        position = match.end()
    return found


def _select(value: Json, step: re.Match[str]) -> list[Json]:
    field, index = step.group(1) or step.group(3), step.group(2)
    if field is not None:
        return [value[field]] if isinstance(value, dict) and field in value else []
    if not isinstance(value, list):
        return []
    if index == "*":
        return value
    return value[int(index) : int(index) + 1]


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _yaml(value: Json) -> str:
    # Imported by name: it costs 25 ms, which only -o yaml should pay.
    return str(importlib.import_module("yaml").safe_dump(value, sort_keys=False)).rstrip()


def colour(text: str, name: str) -> str:
    """`text` in a colour, on a terminal only."""
    return click.style(text, fg=name) if sys.stdout.isatty() else text
