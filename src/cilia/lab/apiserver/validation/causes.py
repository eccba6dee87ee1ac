"""Collecting what is wrong with an object, in Kubernetes' words.

Source:
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from cilia.lab.apiserver.errors import Cause

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\Z")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_PORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_PATH_NAME = re.compile(r"[^/%]+\Z")

NameRule = Callable[[str], str]
"""Says what is wrong with a name; empty: nothing."""

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_SERVICE_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
    "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_PART_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def _rule(pattern: re.Pattern[str], longest: int, text: str) -> NameRule:
    def check(name: str) -> str:
        if len(name) > longest:
            return f"must be no more than {longest} characters"
        return "" if pattern.match(name) else text

    return check


dns_label = _rule(_DNS_LABEL, 63, _LABEL_TEXT)
dns_subdomain = _rule(_DNS_SUBDOMAIN, 253, _SUBDOMAIN_TEXT)
service_name = _rule(_SERVICE_NAME, 63, _SERVICE_TEXT)
label_value = _rule(_LABEL_VALUE, 63, _VALUE_TEXT)
port_name = _rule(
    _PORT_NAME,
    15,
    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
)
path_name = _rule(_PATH_NAME, 253, "may not contain '/' or '%'")


def qualified_name(name: str) -> str:
    """What is wrong with a label's or annotation's key."""
    prefix, slash, part = name.rpartition("/")
    if slash and dns_subdomain(prefix):
        return f"prefix part {_SUBDOMAIN_TEXT}"
    if not part or len(part) > 63:
        return "name part must be non-empty and no more than 63 characters"
    return "" if _QUALIFIED.match(part) else _NAME_PART_TEXT


def shown(value: Any) -> str:
    """A value as messages quote it."""
    if isinstance(value, (dict, list, str)):
        return json.dumps(value, ensure_ascii=False)
    return {True: "true", False: "false", None: "null"}.get(value, str(value))


class Causes:
    """The broken rules of one object."""

    def __init__(self) -> None:
        self.found: list[Cause] = []

    def required(self, field: str, why: str = "") -> None:
        """Something is missing."""
        text = f"Required value: {why}" if why else "Required value"
        self.found.append(Cause("FieldValueRequired", text, field))

    def invalid(self, field: str, value: Any, why: str) -> None:
        """A value is wrong."""
        text = f"Invalid value: {shown(value)}: {why}"
        self.found.append(Cause("FieldValueInvalid", text, field))

    def unsupported(self, field: str, value: Any, known: Iterable[str]) -> None:
        """A value is none of those that exist."""
        words = ", ".join(f'"{word}"' for word in sorted(known))
        text = f"Unsupported value: {shown(value)}: supported values: {words}"
        self.found.append(Cause("FieldValueNotSupported", text, field))

    def duplicate(self, field: str, value: Any) -> None:
        """A value is there twice."""
        text = f"Duplicate value: {shown(value)}"
        self.found.append(Cause("FieldValueDuplicate", text, field))

    def forbidden(self, field: str, why: str) -> None:
        """A field may not be set, or not be changed."""
        self.found.append(Cause("FieldValueForbidden", f"Forbidden: {why}", field))

    def name(self, field: str, value: Any, rule: NameRule) -> None:
        """Checks a name by a rule."""
        if not value:
            self.required(field)
        elif why := rule(str(value)):
            self.invalid(field, value, why)

    def one_of(self, field: str, value: Any, known: Iterable[str]) -> None:
        """Checks a word."""
        if value not in known:
            self.unsupported(field, value, known)

    def between(self, field: str, value: Any, low: int, high: int) -> None:
        """Checks a number's range."""
        if not isinstance(value, int) or not low <= value <= high:
            self.invalid(field, value, f"must be between {low} and {high}, inclusive")

    def immutable(self, field: str, new: Any, old: Any) -> None:
        """Checks that a field did not change."""
        if new != old:
            self.invalid(field, new, "field is immutable")
