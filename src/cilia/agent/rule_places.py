"""Where a rule is written: `web.yaml:14`, or the line that kubectl shows it on.

The API server keeps no source text, and what kubectl notes of an apply is JSON on one
line. So the line of an applied object is that of `kubectl get KIND NAME -o yaml`, which
is the same for everybody: keys sorted, items as deep as their list, managed fields left
out.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple

from cilia.model.rules import FILE
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.trial.documents import BrokenInput, Document, path_steps, read_documents
from cilia.runtime.table import Table
from cilia.state.policies import PolicyObject

SHORT_NAMES = {
    "CiliumNetworkPolicy": "cnp",
    "CiliumClusterwideNetworkPolicy": "ccnp",
    "NetworkPolicy": "netpol",
}
SHOWN = ("creationTimestamp", "resourceVersion")
"""Members of the metadata that kubectl shows on a line each, and that a row leaves out."""


def rule_place(policies: Table[PolicyObject], rule: ProvenanceRule) -> str:
    """`file:line` of a rule, or `cnp/namespace/name:line` as `kubectl get -o yaml` shows it.

    Empty when the object is gone. The number is left out when the object has changed so
    that the rule is not there any more.
    """
    key = rule.policy
    row = policies.get(astuple(key))
    if row is None:
        return ""
    if row.source == FILE:
        return _file_place(row, Path(row.uid.rpartition(":")[0]), rule.path)
    name = "/".join(filter(None, (SHORT_NAMES.get(key.kind, key.kind), key.namespace, key.name)))
    line = kubectl_line(msgspec.json.decode(row.text), rule.path)
    return f"{name}:{line}" if line else name


def _file_place(row: PolicyObject, file: Path, path: str) -> str:
    try:
        documents = _documents(file, file.stat().st_mtime_ns, row.generation)
    except (OSError, BrokenInput):
        return row.uid  # Of a file that was broken since, what it was stays in force.
    same = [each for each in documents if msgspec.json.encode(each.content) == row.text]
    return same[0].place_of(path) if same else row.uid


@lru_cache(maxsize=64)
def _documents(file: Path, changed_ns: int, generation: int) -> list[Document]:
    return read_documents(file)


def kubectl_line(content: dict[str, Any], path: str) -> int:
    """The line, from 1, on which `kubectl get -o yaml` shows a field; 0 if it is not there."""
    metadata = dict.fromkeys(SHOWN, "") | content.get("metadata", {})
    value: Any = {"apiVersion": "", **content, "metadata": metadata}
    line, inside = 1, False
    for name, index in path_steps(path):
        if name and isinstance(value, dict) and name in value:
            # The first member of an item stands on the item's own line.
            line += sum(1 + _below(value[key]) for key in value if key < name)
            line += inside
            value, inside = value[name], True
        elif index and isinstance(value, list) and int(index) < len(value):
            line += 1 + sum(map(_item, value[: int(index)]))
            value, inside = value[int(index)], False
        else:
            return 0
    return line


def _below(value: Any) -> int:
    """Lines that a member takes after that of its key."""
    if isinstance(value, str) and "\n" in value:
        return len(value.removesuffix("\n").split("\n"))
    if isinstance(value, dict):
        return sum(1 + _below(each) for each in value.values())
    return sum(map(_item, value)) if isinstance(value, list) else 0


def _item(value: Any) -> int:
    """Lines that an item takes; its first member stands beside the dash."""
    return _below(value) if isinstance(value, dict | list) and value else 1 + _below(value)
