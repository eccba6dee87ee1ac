"""The JSON paths of printer columns: `.status.conditions[?(@.type=="Ready")].status`.

Source:
    https://kubernetes.io/docs/reference/kubectl/jsonpath/
"""

import re
from typing import Any

import msgspec

_NAME = re.compile(r"\.((?:\\.|[^.\[\]\\])+)")
_QUOTED = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]""")
_INDEX = re.compile(r"\[\s*(-?\d{1,9}|\*)\s*\]")
_FILTER = re.compile(
    r"""\[\?\(\s*@((?:\.[\w-]+|\['[^']*'\])+)\s*(?:(==|!=|<=|>=|<|>)\s*"""
    r"""('(?:[^'])*'|"(?:[^"])*"|true|false|-?\d+(?:\.\d+)?)\s*)?\)\]"""
)


class Step(msgspec.Struct, frozen=True):
    """One step of a path: a field, an index, `*`, or a filter."""

    field: str | None = None
    index: int | None = None
    filter: "Filter | None" = None


class Filter(msgspec.Struct, frozen=True):
    """`?(@.path operator value)`; without an operator the path must exist."""

    path: tuple[str, ...]
    operator: str
    value: str | float | bool | None


class Path(msgspec.Struct, frozen=True):
    """A parsed path."""

    steps: tuple[Step, ...]

    def find(self, document: Any) -> list[Any]:
        """Every value that the path leads to, in the document's order."""
        found = [document]
        for step in self.steps:
            found = [value for node in found for value in _follow(node, step)]
        return found


def parse(text: str) -> Path:
    """The path of a text.

    Raises:
        ValueError: The text is no path of the supported kind.

    >>> parse('.a[?(@.t=="x")].v').find({"a": [{"t": "y", "v": 1}, {"t": "x", "v": 2}]})
    [2]
    """
    rest = text.strip()
    if rest.startswith("{") and rest.endswith("}"):
        rest = rest[1:-1].strip()
    rest = rest.removeprefix("$")
    if rest in ("", "."):
        return Path(())
    steps: list[Step] = []
    while rest:
        step, length = _step(rest, text)
        steps.append(step)
        rest = rest[length:]
    return Path(tuple(steps))


def _step(rest: str, text: str) -> tuple[Step, int]:
    if found := _NAME.match(rest):
        name = re.sub(r"\\(.)", r"\1", found[1])
        return (Step() if name == "*" else Step(field=name)), found.end()
    if found := _QUOTED.match(rest):
        return Step(field=found[1] if found[1] is not None else found[2]), found.end()
    if found := _INDEX.match(rest):
        return (Step() if found[1] == "*" else Step(index=int(found[1]))), found.end()
    if found := _FILTER.match(rest):
        names = re.findall(r"\.([\w-]+)|\['([^']*)'\]", found[1])
        path = tuple(plain or quoted for plain, quoted in names)
        return Step(filter=Filter(path, found[2] or "", _literal(found[3]))), found.end()
    raise ValueError(f"JSON path {text!r}: cannot read {rest!r}")


def _literal(text: str | None) -> str | float | bool | None:
    if text is None:
        return None
    if text[0] in "'\"":
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    return float(text)


def _follow(node: Any, step: Step) -> list[Any]:
    if step.field is not None:
        return [node[step.field]] if isinstance(node, dict) and step.field in node else []
    items = node if isinstance(node, list) else []
    if step.index is not None:
        return [items[step.index]] if -len(items) <= step.index < len(items) else []
    if step.filter is not None:
        return [item for item in items if _passes(item, step.filter)]
    return list(node.values()) if isinstance(node, dict) else items


_COMPARE = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


def _passes(item: Any, test: Filter) -> bool:
    for name in test.path:
        if not isinstance(item, dict) or name not in item:
            return False
        item = item[name]
    if not test.operator:
        return True
    same_kind = isinstance(item, bool) is isinstance(test.value, bool)
    if test.operator in ("==", "!="):
        return (same_kind and item == test.value) is (test.operator == "==")
    try:
        return bool(_COMPARE[test.operator](item, test.value))
    except TypeError:
        return False
