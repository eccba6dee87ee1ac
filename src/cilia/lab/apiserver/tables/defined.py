"""Tables of defined resources: columns are JSON paths."""

from functools import lru_cache
from typing import Any

from cilia.lab.apiserver.errors import Json
from cilia.lab.apiserver.jsonpath import Path, parse
from cilia.lab.apiserver.resources import Column

from .cells import Printer, age, since


@lru_cache(maxsize=256)
def defined_printer(columns: tuple[Column, ...]) -> Printer:
    """The printer of a CustomResourceDefinition's columns; without any: the age."""
    if not columns:
        return Printer([("Age", "date", 0)], lambda item: [age(item)])
    paths = [(column, parse(column.path)) for column in columns]
    return Printer(
        [(column.name, _shown_type(column), column.priority) for column in columns],
        lambda item: [_cell(item, column, path) for column, path in paths],
    )


def _shown_type(column: Column) -> str:
    return "string" if column.type == "date" else column.type


def _cell(item: Json, column: Column, path: Path) -> Any:
    found = path.find(item)
    if not found:
        return None
    value = found[0]
    if column.type == "date":
        return since(value)
    if column.type == "string" and len(found) > 1:
        return ",".join(_text(entry) for entry in found)
    if column.type in ("integer", "number", "boolean"):
        return value if isinstance(value, (int, float)) else None
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_text(entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{_text(v)}" for k, v in sorted(value.items())) + "]"
    return "" if value is None else str(value)
