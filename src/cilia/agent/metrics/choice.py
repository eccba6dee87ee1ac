"""Which families are served: `+name` and `-name`, as Cilium's `--metrics`."""

import difflib
import logging
from collections.abc import Sequence, Set

from cilia.agent.metrics.families import FAMILIES
from cilia.model.errors import InvalidValue

log = logging.getLogger(__name__)


def chosen_families(words: Sequence[str]) -> Set[str]:
    """Returns the names of the families to serve.

    A name that the agent does not have is logged, not refused: lists that were written for
    Cilium name families of features that are not there.

    Args:
        words: `+NAME` or `-NAME` each, or several with spaces between; the last word on a
            name counts.

    Raises:
        InvalidValue: A word begins with neither.

    >>> names = chosen_families(["-cilium_policy", "+cilium_statedb_table_objects"])
    >>> "cilium_policy" in names, "cilium_statedb_table_objects" in names
    (False, True)
    """
    found = {family.name for family in FAMILIES.values() if family.is_on}
    for word in " ".join(words).split():
        sign, name = word[:1], word[1:]
        if sign not in ("+", "-") or not name:
            raise InvalidValue(f"metrics is {word!r}; write +NAME to serve it or -NAME not to")
        if name not in FAMILIES:
            close = difflib.get_close_matches(name, FAMILIES, n=1)
            log.warning("no such metric", extra={"metric": name, "close": ", ".join(close)})
        elif sign == "+":
            found.add(name)
        else:
            found.discard(name)
    return found
