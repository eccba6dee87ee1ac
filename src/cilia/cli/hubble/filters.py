"""Filter flags, in the order they were typed, to allow and deny lists of FlowFilters."""

from collections.abc import Iterable, Sequence
from typing import Any

from cilia.cli.hubble.flags import FLAGS

Json = Any
Filter = dict[str, Any]

NOT = "not"
ENDS = ("source", "destination")


def _conflicts() -> tuple[frozenset[str], ...]:
    """Flags that say the same thing in different ways: at most one of each set."""
    spaces = ("namespace", "all-namespaces")
    found = [{"encrypted", "unencrypted"}]
    for way in ("from", "to"):
        addresses = {f"{way}-fqdn", f"{way}-ip", "ip", "fqdn"}
        found += [
            addresses | {f"{way}-namespace", f"{way}-all-namespaces", *spaces},
            addresses | {f"{way}-pod", "pod"},
            {f"{way}-pod", *spaces},
            {f"{way}-service", *spaces},
        ]
        found += [
            {name, f"{way}-{name}"} for name in ("label", "service", "port", "identity", "workload")
        ]
    return tuple(frozenset(group) for group in found)


CONFLICTS = _conflicts()


class FilterList:
    """One list, allow or deny: the filter in the making, and the flags it was made of.

    Flags of either side make two filters, one for a flow's source and one for its
    destination; every other flag stands in both.
    """

    def __init__(self) -> None:
        self._left: dict[str, list[Json]] = {}
        self._right: dict[str, list[Json]] = {}
        self._used: list[str] = []

    def add(self, name: str, text: str) -> None:
        """One more flag.

        Raises:
            ValueError: a value the flag does not take, or two flags that exclude each other.
        """
        for group in CONFLICTS:
            other = next((used for used in self._used if used != name and used in group), None)
            if name in group and other:
                raise ValueError(f"--{other} and --{name} exclude each other")
        flag = FLAGS[name]
        try:
            value = flag.value(text)
        except ValueError as error:
            raise ValueError(f"--{name}: {error}") from None
        self._used.append(name)
        self._left.setdefault(flag.left, []).append(value)
        self._right.setdefault(flag.right, []).append(value)

    def filters(self) -> list[Filter]:
        """The FlowFilters as JSON: none, one, or one a side."""
        left, right = _finished(self._left), _finished(self._right)
        if left == right:
            return [left] if left else []
        return [left, right]


def _finished(fields: dict[str, list[Json]]) -> Filter:
    """With namespaces joined to the names in them, and experiments in their own message."""
    made: Filter = {key: list(values) for key, values in fields.items()}
    for end in ENDS:
        spaces = made.pop(f"{end}_namespace", None)
        if spaces is None:
            continue
        named = [key for key in (f"{end}_pod", f"{end}_service") if key in made]
        for key in named:
            made[key] = _within(spaces, made[key])
        if not named:
            made[f"{end}_pod"] = [f"{space}/" for space in spaces]
    if "cel_expression" in made:
        made["experimental"] = {"cel_expression": made.pop("cel_expression")}
    return made


def _within(spaces: Sequence[str], names: Sequence[str]) -> list[str]:
    """Every name in every namespace; a name that brings its own keeps it."""
    found = [name if "/" in name else f"{space}/{name}" for name in names for space in spaces]
    return list(dict.fromkeys(found))


def filter_lists(words: Iterable[tuple[str, str]]) -> tuple[list[Filter], list[Filter]]:
    """(allow, deny) lists of flags as they were typed: pairs of long name and value.

    A flag after `not` goes to the deny list. The same flag twice means either value,
    different flags mean all of them.

    >>> filter_lists([("from-pod", "a"), ("not", ""), ("port", "53")])
    ([{'source_pod': ['a']}], [{'source_port': ['53']}, {'destination_port': ['53']}])

    Raises:
        ValueError: a value that does not fit, flags that exclude each other, or a `not`
            without a flag after it.
    """
    allow, deny = FilterList(), FilterList()
    negated = False
    for name, text in words:
        if name != NOT:
            (deny if negated else allow).add(name, text)
        elif negated:
            raise ValueError("--not --not: it negates the next flag, once")
        negated = name == NOT
    if negated:
        raise ValueError("--not negates the next filter flag, and there is none")
    return allow.filters(), deny.filters()
