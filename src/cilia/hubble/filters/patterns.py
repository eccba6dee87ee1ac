"""Patterns with `*` for names of hosts and nodes."""

import importlib
import re
from typing import Protocol

from cilia.hubble.filters.terms import InvalidFilterError

RUN = "[-.0-9a-z]"
MEMORY = 1 << 20
"""Of one regular expression, in bytes."""
SHOWN = 80
"""How much of an expression an error repeats."""
ALLOWED = re.compile(r"[a-z0-9._*-]+")


def name_pattern(field: str, value: str) -> re.Pattern[str]:
    """A pattern for whole names in lower case; `*` is any run of letters, digits, `-`, `.`.

    Raises:
        InvalidFilterError: It holds something else, or nothing.
    """
    text = value.lower().rstrip(".")
    if not ALLOWED.fullmatch(text):
        raise InvalidFilterError(f"{field} {value!r}: wants letters, digits, '.', '-', '_' and '*'")
    first, *others = map(re.escape, text.split("*"))
    if not others:
        return re.compile(first)
    # Each part is looked for once, from where the last one ended: a part that could stand
    # further on too need not, since what a `*` may not cover lies in between all the same.
    middle = "".join(f"(?>{RUN}*?{part})" for part in others[:-1] if part)
    return re.compile(f"{first}{middle}{RUN}*{others[-1]}")


def node_matches(value: str, node: str) -> bool:
    """Whether `[cluster/]node`, with `*`, is this node; without a cluster: of any cluster.

    Raises:
        InvalidFilterError: It is no such pattern.
    """
    if not value:
        raise InvalidFilterError("node_name '': wants [cluster/]node")
    cluster, _, name = node.rpartition("/")
    wanted_cluster, slash, wanted = value.rpartition("/")
    if wanted_cluster and not name_pattern("node_name", wanted_cluster).fullmatch(
        cluster or "default"
    ):
        return False
    if slash and not wanted:
        return True
    return bool(name_pattern("node_name", wanted).fullmatch(name.lower()))


class Expression(Protocol):
    """What can be searched for."""

    def search(self, text: str) -> object | None:
        """Something, if the text holds it."""


def regular(field: str, value: str) -> Expression:
    """A regular expression in the syntax of RE2, searched in time that grows with the text.

    The library is loaded with the first one: it takes 20 ms, which few commands need.

    Raises:
        InvalidFilterError: It is none, or one that takes too much memory.

    Source:
        https://github.com/google/re2/wiki/Syntax
    """
    re2 = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        made: Expression = re2.compile(value, options)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        text = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise InvalidFilterError(f"{field} {value[:SHOWN]!r}: {text[:SHOWN]}") from None
    return made
