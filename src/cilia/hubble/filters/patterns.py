"""Patterns with `*` for names of hosts and nodes."""

import re

from cilia.hubble.filters.terms import InvalidFilterError

ALLOWED = re.compile(r"[a-z0-9._*-]+")


def name_pattern(field: str, value: str) -> re.Pattern[str]:
    """A pattern for whole names in lower case; `*` is any run of letters, digits, `-`, `.`.

    Raises:
        InvalidFilterError: It holds something else, or nothing.
    """
    text = value.lower().rstrip(".")
    if not ALLOWED.fullmatch(text):
        raise InvalidFilterError(f"{field} {value!r}: wants letters, digits, '.', '-', '_' and '*'")
    return re.compile("[-.0-9a-z]*".join(map(re.escape, text.split("*"))))


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


def regular(field: str, value: str) -> re.Pattern[str]:
    """A regular expression.

    Raises:
        InvalidFilterError: It is none.
    """
    try:
        return re.compile(value)
    except re.error as error:
        raise InvalidFilterError(f"{field} {value!r}: {error}") from error
