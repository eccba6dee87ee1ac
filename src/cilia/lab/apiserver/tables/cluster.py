"""Tables of nodes, namespaces, events, configuration and accounts."""

from typing import Any

from cilia.lab.apiserver.errors import Json

from .cells import Printer, age, condition, joined, since

_ROLE = "node-role.kubernetes.io/"


def _node_status(item: Json) -> str:
    ready = condition(item, "Ready")
    words = ["Unknown"]
    if ready:
        words = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if (item.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _address(item: Json, kind: str) -> str:
    for entry in (item.get("status") or {}).get("addresses") or []:
        if entry.get("type") == kind:
            return str(entry.get("address"))
    return "<none>"


def _node(item: Json) -> list[Any]:
    facts = (item.get("status") or {}).get("nodeInfo") or {}
    labels = item["metadata"].get("labels") or {}
    roles = sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))
    return [
        _node_status(item),
        joined(roles),
        age(item),
        facts.get("kubeletVersion", ""),
        _address(item, "InternalIP"),
        _address(item, "ExternalIP"),
        facts.get("osImage") or "<unknown>",
        facts.get("kernelVersion") or "<unknown>",
        facts.get("containerRuntimeVersion") or "<unknown>",
    ]


def _namespace(item: Json) -> list[Any]:
    return [(item.get("status") or {}).get("phase", ""), age(item)]


def _event(item: Json) -> list[Any]:
    about = item.get("involvedObject") or {}
    source = item.get("source") or {}
    first = item.get("firstTimestamp") or item.get("eventTime")
    last = item.get("lastTimestamp") or first
    series = item.get("series") or {}
    return [
        since(series.get("lastObservedTime") or last),
        item.get("type", ""),
        item.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(filter(None, [source.get("component"), source.get("host")]))
        or item.get("reportingComponent", ""),
        str(item.get("message", "")).strip(),
        since(first),
        series.get("count") or item.get("count") or 1,
        item["metadata"]["name"],
    ]


def _config_map(item: Json) -> list[Any]:
    return [len(item.get("data") or {}) + len(item.get("binaryData") or {}), age(item)]


def _secret(item: Json) -> list[Any]:
    return [item.get("type", ""), len(item.get("data") or {}), age(item)]


def _account(item: Json) -> list[Any]:
    return [len(item.get("secrets") or []), age(item)]


def _lease(item: Json) -> list[Any]:
    return [(item.get("spec") or {}).get("holderIdentity", ""), age(item)]


def _definition(item: Json) -> list[Any]:
    return [item["metadata"].get("creationTimestamp", "")]


def _cluster_role(item: Json) -> list[Any]:
    return [item["metadata"].get("creationTimestamp", "")]


def _binding(item: Json) -> list[Any]:
    role = item.get("roleRef") or {}
    return [f"{role.get('kind', '')}/{role.get('name', '')}", age(item)]


_CREATED = [("Created At", "date", 0)]
_BINDING = Printer([("Role", "string", 0), ("Age", "string", 0)], _binding)

PRINTERS = {
    "nodes": Printer(
        [
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
            ("Internal-IP", "string", 1),
            ("External-IP", "string", 1),
            ("OS-Image", "string", 1),
            ("Kernel-Version", "string", 1),
            ("Container-Runtime", "string", 1),
        ],
        _node,
    ),
    "namespaces": Printer([("Status", "string", 0), ("Age", "string", 0)], _namespace),
    "configmaps": Printer([("Data", "string", 0), ("Age", "string", 0)], _config_map),
    "secrets": Printer(
        [("Type", "string", 0), ("Data", "string", 0), ("Age", "string", 0)], _secret
    ),
    "serviceaccounts": Printer([("Secrets", "string", 0), ("Age", "string", 0)], _account),
    "leases.coordination.k8s.io": Printer([("Holder", "string", 0), ("Age", "string", 0)], _lease),
    "customresourcedefinitions.apiextensions.k8s.io": Printer(_CREATED, _definition),
    "clusterroles.rbac.authorization.k8s.io": Printer(_CREATED, _cluster_role),
    "roles.rbac.authorization.k8s.io": Printer(_CREATED, _cluster_role),
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "events": Printer(
        [
            ("Last Seen", "string", 0),
            ("Type", "string", 0),
            ("Reason", "string", 0),
            ("Object", "string", 0),
            ("Subobject", "string", 1),
            ("Source", "string", 1),
            ("Message", "string", 0),
            ("First Seen", "string", 1),
            ("Count", "string", 1),
            ("Name", "string", 1),
        ],
        _event,
    ),
}
