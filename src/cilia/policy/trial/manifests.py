"""Manifests as what policy needs to know of a cluster: pods, services, nodes, policies.

Kinds that policy does not depend on are passed over.

Source: the Kubernetes API reference, v1, apps/v1, batch/v1 and discovery.k8s.io/v1.
"""

from collections.abc import Iterable, Mapping

import msgspec

from cilia.model.errors import PolicyError
from cilia.model.labels import Label, label_set
from cilia.model.ports import PORT_LAST, PROTOCOLS, NamedPorts
from cilia.model.rules import Policy, PolicyKey
from cilia.policy.resolution import CidrGroup, PolicyService
from cilia.policy.sources import KINDS, Context, parse_policy
from cilia.policy.syntax.fields import Field
from cilia.policy.syntax.groups import GROUP, parse_group
from cilia.policy.trial.documents import BrokenInput, Document

Name = tuple[str, str]
"""Namespace and name."""
_TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_SLICE_SERVICE = "kubernetes.io/service-name"


class Pod(msgspec.Struct, frozen=True):
    """A pod, or what a workload's template makes."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    service_account: str
    ports: NamedPorts
    addresses: tuple[str, ...]
    host_network: bool


class Node(msgspec.Struct, frozen=True):
    """A node."""

    name: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]


class ServicePort(msgspec.Struct, frozen=True):
    """A port of a service."""

    name: str
    protocol: int
    port: int
    target: int | str


class Service(msgspec.Struct, frozen=True):
    """A service."""

    rules: PolicyService
    """What rules see of it."""
    ports: tuple[ServicePort, ...]


class Manifests(msgspec.Struct):
    """Everything that manifests say."""

    namespaces: dict[str, Mapping[str, str]] = {}
    pods: dict[Name, Pod] = {}
    nodes: dict[str, Node] = {}
    services: dict[Name, Service] = {}
    groups: dict[str, CidrGroup] = {}
    policies: dict[PolicyKey, Policy] = {}
    backends: dict[Name, list[str]] = {}
    """Addresses of a service's EndpointSlices."""
    documents: dict[PolicyKey, Document] = {}
    """Where each policy is written."""


def read_manifests(documents: Iterable[Document], context: Context) -> Manifests:
    """What documents say.

    Raises:
        BrokenInput: One is wrong: file, line, field and remedy.
    """
    found = Manifests()
    for document in documents:
        try:
            _read(found, document, context)
        except PolicyError as error:
            raise document.broken(error) from None
    return found


def _read(found: Manifests, document: Document, context: Context) -> None:
    root = Field("manifest", "", document.content)
    members = root.mapping()
    kind = members["kind"].text() if "kind" in members else ""
    if not kind:
        Field("manifest", "kind", None).refuse("is missing", "write the object's kind")
    if kind in KINDS:
        policy = parse_policy(document.content, context)
        if policy.key in found.policies:
            raise BrokenInput(
                f"{document.place}: {policy.key} is also at {found.documents[policy.key].place}; "
                "rename or remove one of them"
            )
        found.policies[policy.key] = policy
        found.documents[policy.key] = document
        return
    readers = {
        "Namespace": _namespace,
        "Pod": _pod,
        "Node": _node,
        "Service": _service,
        "EndpointSlice": _slice,
        GROUP: _group,
    }
    reader = _workload if kind in _TEMPLATES else readers.get(kind)
    if reader is not None:
        name = _text(root, "metadata", "name")
        if not name:
            Field(kind, "metadata.name", None).refuse("is missing", "name the object")
        reader(found, Field(f"{kind} {name}", "", document.content))


def _namespace(found: Manifests, root: Field) -> None:
    found.namespaces[_text(root, "metadata", "name")] = _labels(root, "metadata", "labels")


def _pod(found: Manifests, root: Field) -> None:
    _add_pod(found, root, root)


def _workload(found: Manifests, root: Field) -> None:
    kind = root.where.partition(" ")[0]
    template = _member(root, *_TEMPLATES[kind])
    if template is None:
        root.refuse(f"has no {'.'.join(_TEMPLATES[kind])}", "write the pod that it makes")
    _add_pod(found, root, template)


def _add_pod(found: Manifests, root: Field, template: Field) -> None:
    statuses = _items(root, "status", "podIPs")
    addresses = {_text(item, "ip") for item in statuses} | {_text(root, "status", "podIP")}
    containers = [*_items(template, "spec", "initContainers")]
    containers += _items(template, "spec", "containers")
    pod = Pod(
        _text(root, "metadata", "namespace") or "default",
        _text(root, "metadata", "name"),
        _labels(template, "metadata", "labels"),
        _text(template, "spec", "serviceAccountName") or "default",
        frozenset(
            (name.lower(), _protocol(port), _number(port, "containerPort"))
            for container in containers
            for port in _items(container, "ports")
            if (name := _text(port, "name"))
        ),
        tuple(sorted(filter(_is_address, addresses))),
        _flag(template, "spec", "hostNetwork"),
    )
    found.pods[pod.namespace, pod.name] = pod


def _node(found: Manifests, root: Field) -> None:
    name = _text(root, "metadata", "name")
    told = [_text(item, "address") for item in _items(root, "status", "addresses")]
    addresses = tuple(a for a in told if _is_address(a))
    found.nodes[name] = Node(name, _labels(root, "metadata", "labels"), addresses)


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def _service(found: Manifests, root: Field) -> None:
    namespace = _text(root, "metadata", "namespace") or "default"
    name = _text(root, "metadata", "name")
    labels = label_set(Label("k8s", *p) for p in _labels(root, "metadata", "labels").items())
    rules = PolicyService(namespace, name, labels, _labels(root, "spec", "selector"), ())
    ports = tuple(
        ServicePort(_text(port, "name"), _protocol(port), _number(port, "port"), _target(port))
        for port in _items(root, "spec", "ports")
    )
    found.services[namespace, name] = Service(rules, ports)


def _target(port: Field) -> int | str:
    target = _member(port, "targetPort")
    if target is None:
        return _number(port, "port")
    return target.text() if isinstance(target.found, str) else target.number(1, PORT_LAST)


def _slice(found: Manifests, root: Field) -> None:
    service = _labels(root, "metadata", "labels").get(_SLICE_SERVICE, "")
    key = (_text(root, "metadata", "namespace") or "default", service)
    for endpoint in _items(root, "endpoints"):
        found.backends.setdefault(key, []).extend(a.text() for a in _items(endpoint, "addresses"))


def _group(found: Manifests, root: Field) -> None:
    group = parse_group(root.found)
    labels = label_set(Label("k8s", *pair) for pair in group.labels)
    found.groups[group.name] = CidrGroup(group.name, labels, group.cidrs)


def _member(field: Field, *names: str) -> Field | None:
    for name in names:
        members = field.mapping()
        if name not in members:
            return None
        field = members[name]
    return field


def _text(field: Field, *names: str) -> str:
    found = _member(field, *names)
    return found.text() if found is not None else ""


def _flag(field: Field, *names: str) -> bool:
    found = _member(field, *names)
    return found is not None and found.flag()


def _number(field: Field, name: str) -> int:
    found = _member(field, name)
    if found is None:
        field.refuse(f"has no {name}", "write a port number")
    return found.number(1, PORT_LAST)


def _protocol(port: Field) -> int:
    found = _member(port, "protocol")
    return PROTOCOLS[found.choice(("TCP", "UDP", "SCTP"))] if found is not None else 6


def _items(field: Field, *names: str) -> list[Field]:
    found = _member(field, *names)
    return found.items() if found is not None else []


def _labels(field: Field, *names: str) -> dict[str, str]:
    found = _member(field, *names)
    return {k: v.text() for k, v in found.mapping().items()} if found is not None else {}
