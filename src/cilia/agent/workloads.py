"""What pods belong to: read from their owners, told to other nodes in CiliumEndpoints."""

import re
from collections.abc import Iterable, Mapping

import msgspec

from cilia.model.errors import InvalidValue
from cilia.model.workloads import Workload, parse_workload, workload_of

ANNOTATION = "cilia.io/workload"
"""Of a CiliumEndpoint: `Kind/name` of what its pod belongs to."""


WORD = re.compile(r"[A-Za-z0-9.-]+")


class Owner(msgspec.Struct):
    """An object that another belongs to."""

    kind: str
    name: str
    controller: bool | None = None


def pod_workload(
    name: str, owners: Iterable[Owner] | None, labels: Mapping[str, str] | None
) -> Workload:
    """Returns what a pod belongs to, by the owner that controls it.

    Owners of which a kind or a name is no word are none: whoever may write a pod names them.
    """
    controllers = [
        Workload(one.kind, one.name)
        for one in owners or ()
        if one.controller and is_word(one.kind) and is_word(one.name)
    ]
    return workload_of(name, next(iter(controllers), None), labels or {})


def told_workload(annotations: Mapping[str, str] | None) -> Workload | None:
    """Returns the workload that a pod's node wrote into its CiliumEndpoint."""
    try:
        told = parse_workload((annotations or {}).get(ANNOTATION, ""))
    except InvalidValue:
        return None  # anybody may write annotations
    return told if is_word(told.kind) and is_word(told.name) else None


def is_word(text: str) -> bool:
    """Whether a kind or a name is of the letters that objects have.

    >>> is_word("web-1.a"), is_word("web\\x1b[2J")
    (True, False)
    """
    return WORD.fullmatch(text) is not None
