"""Labels: `source:key=value`, and the sets of them that make an identity.

A label set is a sorted tuple of rendered labels, so equal sets are equal values
and hash alike. A label without a value is rendered without the equals sign, as
`reserved:host`.

Source: https://docs.cilium.io/en/stable/gettingstarted/terminology/#labels and
https://docs.cilium.io/en/stable/operations/performance/scalability/identity-relevant-labels/
"""

import ipaddress
from collections.abc import Iterable, Mapping

import msgspec

from cilia.model.errors import InvalidValue

LabelSet = tuple[str, ...]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SOURCES = frozenset(
    (
        "k8s",
        "reserved",
        "cidr",
        "cidrgroup",
        "fqdn",
        "node",
        "container",
        "cni",
        "unspec",
        "directory",
        "any",
    )
)

NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels."
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMESPACE_NAME = "kubernetes.io/metadata.name"


class Label(msgspec.Struct, frozen=True, order=True):
    """One label."""

    source: str
    """Who gave it: k8s, reserved, cidr …; `any` in selectors only."""
    key: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.key}={self.value}" if self.value else self.keyed

    @property
    def keyed(self) -> str:
        """`source:key`, as selectors and CiliumIdentity objects write it."""
        return f"{self.source}:{self.key}"


def split_source(key: str, default: str) -> tuple[str, str]:
    """The source and the bare key of `source:key`; `default` where none of SOURCES leads.

    >>> split_source("k8s:app", "any"), split_source("app", "any"), split_source("a:b", "any")
    (('k8s', 'app'), ('any', 'app'), ('any', 'a:b'))
    """
    source, colon, rest = key.partition(":")
    if colon and source in SOURCES:
        return source, rest
    return default, key


def parse_label(text: str, default_source: str = "unspec") -> Label:
    """The label that a text writes.

    Raises:
        InvalidValue: There is no key.

    >>> parse_label("k8s:app=web")
    Label(source='k8s', key='app', value='web')
    """
    name, _, value = text.partition("=")
    source, key = split_source(name, default_source)
    if not key:
        raise InvalidValue(f"label {text!r}: no key; write source:key=value")
    return Label(source, key, value)


def label_set(labels: Iterable[Label | str]) -> LabelSet:
    """The canonical set of labels: rendered, each once, sorted."""
    return tuple(
        sorted({str(parse_label(item) if isinstance(item, str) else item) for item in labels})
    )


def label_value(labels: LabelSet, keyed: str) -> str | None:
    """The value of `source:key` in a set; None when it is not there."""
    for label in labels:
        name, _, value = label.partition("=")
        if name == keyed:
            return value
    return None


def cidr_label(prefix: Network) -> str | None:
    """The cidr label of a prefix; None for a prefix of length 0, which is just world.

    A colon would end the source, so IPv6 addresses are written with dashes, and
    a leading or trailing dash gets a zero.

    >>> cidr_label(ipaddress.ip_network("::1/128"))
    'cidr:0--1/128'
    >>> cidr_label(ipaddress.ip_network("fd00::/8"))
    'cidr:fd00--0/8'
    """
    if prefix.prefixlen == 0:
        return None
    address = str(prefix.network_address).replace(":", "-")
    if address.startswith("-"):
        address = "0" + address
    if address.endswith("-"):
        address += "0"
    return f"cidr:{address}/{prefix.prefixlen}"


def cidr_of_label(label: str) -> Network | None:
    """The prefix that a cidr label names; None when it is not one."""
    source, _, text = label.partition(":")
    if source != "cidr":
        return None
    try:
        return ipaddress.ip_network(text.rstrip("=").replace("-", ":"))
    except ValueError:
        return None


def pod_labels(
    *,
    namespace: str,
    labels: Mapping[str, str],
    namespace_labels: Mapping[str, str],
    service_account: str,
    cluster: str,
) -> tuple[Label, ...]:
    """Every label of a pod, from its object and its namespace's, before the identity filter.

    A pod cannot give itself what its namespace, cluster or service account decides: such
    keys among its own labels are left out.
    """
    own = [
        Label("k8s", key, value)
        for key, value in labels.items()
        if key != NAMESPACE and not key.startswith("io.cilium.k8s.")
    ]
    of_namespace = {**namespace_labels, NAMESPACE_NAME: namespace}
    given = [Label("k8s", NAMESPACE_LABELS + k, v) for k, v in of_namespace.items()]
    given += [Label("k8s", NAMESPACE, namespace), Label("k8s", CLUSTER, cluster)]
    if service_account:
        given.append(Label("k8s", SERVICE_ACCOUNT, service_account))
    return tuple(sorted(own + given))


def node_labels(labels: Mapping[str, str], cluster: str) -> LabelSet:
    """The labels of another node's identity, for rules that select nodes by label."""
    of_node = [Label("node", key, value) for key, value in labels.items()]
    return label_set([*of_node, Label("reserved", "remote-node"), Label("k8s", CLUSTER, cluster)])
