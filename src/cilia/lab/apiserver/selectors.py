"""Label and field selectors of list, watch and deletecollection.

Source:
    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
    https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

import re
from collections.abc import Callable, Mapping

from .errors import Json, bad_request

Match = Callable[[Json], bool]
"""Says whether an object is selected."""

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY = rf"(?:{_NAME}/)?{_NAME}"
_VALUE = rf"(?:{_NAME})?"
_SET = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*\Z")
_EXISTS = re.compile(rf"\s*(!?)\s*({_KEY})\s*\Z")
_COMPARE = re.compile(rf"\s*({_KEY})\s*(==|!=|=|<|>)\s*({_VALUE})\s*\Z")

_SPLIT = re.compile(r",(?![^(]*\))")


def label_matcher(text: str) -> Match | None:
    """Parses `a=b,c!=d,e in (f,g),h,!i,j>3`; nothing when the text selects everything.

    Raises:
        StatusError: The text is no selector (400).
    """
    if not text.strip():
        return None
    tests = [_label_test(part, text) for part in _SPLIT.split(text)]

    def match(item: Json) -> bool:
        labels = item["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return match


def _label_test(part: str, text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(part):
        key, operator = found[1], found[2]
        values = {value.strip() for value in found[3].split(",")}
        if any(not re.fullmatch(_VALUE, value) for value in values):
            raise bad_request(f'unable to parse requirement: invalid value in "{text}"')
        if operator == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if found := _EXISTS.match(part):
        absent, key = bool(found[1]), found[2]
        return lambda labels: (key in labels) is not absent
    if found := _COMPARE.match(part):
        return _comparison(found[1], found[2], found[3], text)
    raise bad_request(f'unable to parse requirement: found "{part}" in "{text}"')


def _comparison(
    key: str, operator: str, value: str, text: str
) -> Callable[[Mapping[str, str]], bool]:
    if operator in ("=", "=="):
        return lambda labels: key in labels and labels[key] == value
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    if not re.fullmatch(r"[0-9]+", value):
        raise bad_request(f'for ">", "<" operators, the value must be an integer: "{text}"')
    bound = int(value)

    def compare(labels: Mapping[str, str]) -> bool:
        own = labels.get(key, "")
        if not re.fullmatch(r"-?[0-9]+", own):
            return False
        return int(own) > bound if operator == ">" else int(own) < bound

    return compare


_FIELD = re.compile(r"((?:\\.|[^\\=!,])+)(==|!=|=)((?:\\.|[^\\,=])*)\Z")


def field_matcher(text: str, known: frozenset[str] | None) -> Match | None:
    """Parses `metadata.name=a,status.phase!=Running`.

    Args:
        text: The selector.
        known: Paths that the kind supports besides name and namespace; None
            allows every path.

    Raises:
        StatusError: The text is no selector, or names a field that is not supported (400).
    """
    if not text.strip():
        return None
    tests = []
    for part in re.split(r"(?<!\\),", text):
        found = _FIELD.match(part.strip())
        if not found:
            raise bad_request(f'invalid selector: "{text}"; can\'t understand "{part}"')
        path, operator, value = found[1], found[2], re.sub(r"\\(.)", r"\1", found[3])
        if (
            known is not None
            and path not in known
            and path
            not in (
                "metadata.name",
                "metadata.namespace",
            )
        ):
            raise bad_request(f'field label not supported: "{path}"')
        tests.append((path.split("."), operator != "!=", value))

    def match(item: Json) -> bool:
        return all((field_text(item, path) == value) is equal for path, equal, value in tests)

    return match


def field_text(item: Json, path: list[str]) -> str:
    """The value at a path as selectors compare it; the empty string when absent."""
    node: object = item
    for name in path:
        if not isinstance(node, dict):
            return ""
        node = node.get(name)
    if node is None:
        return ""
    if isinstance(node, bool):
        return "true" if node else "false"
    return str(node)


def selector_of(spec: Json | None) -> Match:
    """The matcher of a `LabelSelector` object; an absent one selects nothing."""
    if spec is None:
        return lambda item: False
    wanted = spec.get("matchLabels") or {}
    expressions = spec.get("matchExpressions") or []

    def match(item: Json) -> bool:
        labels = item["metadata"].get("labels") or {}
        return all(labels.get(key) == value for key, value in wanted.items()) and all(
            _expression(labels, expression) for expression in expressions
        )

    return match


def _expression(labels: Mapping[str, str], expression: Json) -> bool:
    key, operator = expression["key"], expression["operator"]
    if operator == "In":
        return key in labels and labels[key] in expression.get("values", [])
    if operator == "NotIn":
        return labels.get(key) not in expression.get("values", [])
    return (key in labels) is (operator == "Exists")
