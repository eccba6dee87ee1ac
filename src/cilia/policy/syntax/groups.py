"""CiliumCIDRGroup: prefixes under a name and labels, which rules refer to.

Source: https://docs.cilium.io/en/stable/security/policy/language/#cilium-cidr-group
"""

from typing import NoReturn

import msgspec

from cilia.model.cidrs import plain_cidr_set
from cilia.model.errors import InvalidValue
from cilia.policy.syntax.fields import Field

GROUP = "CiliumCIDRGroup"
_VERSIONS = ("cilium.io/v2", "cilium.io/v2alpha1")


class Group(msgspec.Struct, frozen=True):
    """What an object says."""

    name: str
    labels: tuple[tuple[str, str], ...]
    """Of its metadata, in order."""
    cidrs: tuple[str, ...]


def parse_group(document: object) -> Group:
    """The group of an object.

    Raises:
        PolicyError: A field is wrong: which, and the remedy.
    """
    root = Field(GROUP, "", document).mapping(("apiVersion", "kind", "metadata", "spec"))
    metadata = root["metadata"].mapping() if "metadata" in root else {}
    name = metadata["name"].text() if "name" in metadata else ""
    if not name:
        Field(GROUP, "metadata.name", None).refuse("is missing", "name the group")
    where = f"{GROUP} {name}"
    # Again, now that complaints can name it.
    root = Field(where, "", document).mapping(("apiVersion", "kind", "metadata", "spec"))
    if "apiVersion" in root:
        root["apiVersion"].choice(_VERSIONS)
    metadata = root["metadata"].mapping()
    labels = metadata["labels"].mapping() if "labels" in metadata else {}
    pairs = tuple(sorted((key, each.text()) for key, each in labels.items()))
    if "spec" not in root:
        _no_prefixes(where)
    spec = root["spec"].mapping(("externalCIDRs",))
    if "externalCIDRs" not in spec:
        _no_prefixes(where)
    return Group(name, pairs, tuple(map(_prefix, spec["externalCIDRs"].items())))


def _prefix(field: Field) -> str:
    text = field.text()
    try:
        plain_cidr_set([text])
    except InvalidValue:
        field.refuse("is not a prefix", "write an address and its bits, as 10.0.0.0/8")
    return text


def _no_prefixes(where: str) -> NoReturn:
    Field(where, "spec.externalCIDRs", None).refuse("is missing", "list the prefixes")
