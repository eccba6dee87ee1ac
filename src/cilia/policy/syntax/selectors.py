"""Label selectors as objects write them."""

import re

from cilia.model.errors import InvalidValue
from cilia.model.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, split_source
from cilia.model.selectors import (
    LabelSelector,
    Operator,
    Requirement,
    label_selector,
    requirement,
)
from cilia.policy.syntax.fields import Field

_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?")
_NAMESPACE_KEYS = (f"k8s:{NAMESPACE}", f"any:{NAMESPACE}")
_CLUSTER_KEYS = (f"k8s:{CLUSTER}", f"any:{CLUSTER}")
_NOT_FOR_PEERS = ("cidr", "cidrgroup", "fqdn")


def parse_selector(
    field: Field, *, source: str = "any", key_head: str = "", overruled: str = ""
) -> LabelSelector:
    """The selector that a field writes.

    Args:
        field: An object with matchLabels and matchExpressions.
        source: Of keys that name none.
        key_head: Put before each key that names no source.
        overruled: A key whose entry in matchLabels does not count.
    """
    members = field.mapping(("matchLabels", "matchExpressions"))
    found: list[Requirement] = []
    if "matchLabels" in members:
        for key, value in members["matchLabels"].mapping().items():
            text = _label_value(value)
            if key != overruled:
                full = _key(key, source, key_head)
                found.append(_requirement(value, full, Operator.IN, [text]))
    if "matchExpressions" in members:
        for item in members["matchExpressions"].items():
            found.append(_expression(item, source, key_head))
    return label_selector(found)


def peer_selector(field: Field, namespace: str, cluster: str, *, of_init: bool) -> LabelSelector:
    """The selector of a from/toEndpoints item, limited to what it may reach.

    Args:
        field: The item.
        namespace: The policy's; empty for a cluster-wide one.
        cluster: Name to add where no cluster is named; empty: reach every cluster.
        of_init: The subject selects endpoints without an identity yet.
    """
    found = parse_selector(field)
    for source in _NOT_FOR_PEERS:
        if found.has_source(source):
            field.refuse(f"selects {source} labels", "use CIDR, CIDRSet or FQDNs rules for those")
    if found.has_source("reserved"):
        return found
    if not _names_namespace(found):
        if namespace:
            found = found.adding(Requirement(f"k8s:{NAMESPACE}", Operator.IN, (namespace,)))
        elif not of_init:
            found = found.adding(Requirement(f"k8s:{NAMESPACE}", Operator.EXISTS))
    return in_cluster(found, cluster)


def in_cluster(selector: LabelSelector, cluster: str) -> LabelSelector:
    """The selector, limited to one cluster unless it names one."""
    if not cluster or selector.has_key(*_CLUSTER_KEYS):
        return selector
    return selector.adding(Requirement(f"k8s:{CLUSTER}", Operator.IN, (cluster,)))


def subject_selector(field: Field, namespace: str) -> LabelSelector:
    """The selector of a policy's subjects: those of its own namespace.

    Another namespace in matchLabels is overruled; what expressions say holds besides.
    """
    if not namespace:
        return parse_selector(field)
    key = f"k8s:{NAMESPACE}"
    return parse_selector(field, overruled=key).adding(Requirement(key, Operator.IN, (namespace,)))


def node_selector(field: Field, cluster: str) -> LabelSelector:
    """The selector of a from/toNodes item: keys are of Node objects."""
    found = parse_selector(field, source="node")
    remote = Requirement("reserved:remote-node", Operator.EXISTS)
    return in_cluster(found, cluster).adding(remote)


def _names_namespace(selector: LabelSelector) -> bool:
    return selector.has_key(*_NAMESPACE_KEYS) or any(
        r.key.partition(":")[2].startswith(NAMESPACE_LABELS) for r in selector.requirements
    )


def _expression(item: Field, source: str, key_head: str) -> Requirement:
    members = item.mapping(("key", "operator", "values"))
    for name in ("key", "operator"):
        if name not in members:
            item.refuse(f"has no {name}", "write key, operator and values")
    operator = Operator(members["operator"].choice([o.value for o in Operator]))
    values = [_label_value(v) for v in members["values"].items()] if "values" in members else []
    key = _key(members["key"].text(), source, key_head)
    return _requirement(item, key, operator, values)


def _key(key: str, source: str, key_head: str) -> str:
    named, bare = split_source(key, "")
    return key if named else f"{source}:{key_head}{bare}" if bare else ""


def _requirement(field: Field, key: str, operator: Operator, values: list[str]) -> Requirement:
    try:
        return requirement(key, operator, values)
    except InvalidValue as error:
        field.refuse(str(error))


def _label_value(field: Field) -> str:
    text = field.text()
    if not _VALUE.fullmatch(text):
        field.refuse(
            "is not a label value",
            "write up to 63 letters, digits, '-', '_' or '.', "
            "beginning and ending with a letter or digit",
        )
    return text
