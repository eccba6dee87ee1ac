"""Rules of every object's metadata."""

from cilia.lab.apiserver.errors import Json
from cilia.lab.apiserver.resources import Resource

from .causes import (
    Causes,
    dns_label,
    dns_subdomain,
    label_value,
    path_name,
    qualified_name,
    service_name,
)

_ANNOTATION_BYTES = 256 * 1024
_RULES = {
    "namespaces": dns_label,
    "services": service_name,
    "roles.rbac.authorization.k8s.io": path_name,
    "rolebindings.rbac.authorization.k8s.io": path_name,
    "clusterroles.rbac.authorization.k8s.io": path_name,
    "clusterrolebindings.rbac.authorization.k8s.io": path_name,
}


def check_metadata(causes: Causes, resource: Resource, item: Json) -> None:
    """Name, labels, annotations, owners and finalizers."""
    metadata = item["metadata"]
    name = metadata.get("name")
    if not name:
        causes.required("metadata.name", "name or generateName is required")
    else:
        causes.name("metadata.name", name, _RULES.get(resource.key, dns_subdomain))
    check_labels(causes, "metadata.labels", metadata.get("labels"))
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        if why := qualified_name(key.lower()):
            causes.invalid("metadata.annotations", key, why)
    size = sum(len(key) + len(value) for key, value in annotations.items())
    if size > _ANNOTATION_BYTES:
        text = f"may not be more than {_ANNOTATION_BYTES} bytes"
        causes.invalid("metadata.annotations", "", text)
    for finalizer in metadata.get("finalizers") or []:
        if why := qualified_name(finalizer):
            causes.invalid("metadata.finalizers", finalizer, why)
    _check_owners(causes, metadata)


def check_labels(causes: Causes, path: str, labels: Json | None) -> None:
    """Keys and values of a map of labels."""
    for key, value in (labels or {}).items():
        if why := qualified_name(key):
            causes.invalid(path, key, why)
        if why := label_value(value):
            causes.invalid(path, value, why)


def _check_owners(causes: Causes, metadata: Json) -> None:
    controllers = 0
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                place = f"metadata.ownerReferences[{index}].{field}"
                causes.required(place, "must not be empty")
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        text = "Only one reference can have Controller set to true"
        causes.invalid("metadata.ownerReferences", "", text)


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def check_selector(causes: Causes, path: str, selector: Json | None) -> None:
    """A `LabelSelector`."""
    selector = selector or {}
    check_labels(causes, f"{path}.matchLabels", selector.get("matchLabels"))
    for index, entry in enumerate(selector.get("matchExpressions") or []):
        place = f"{path}.matchExpressions[{index}]"
        if why := qualified_name(str(entry.get("key", ""))):
            causes.invalid(f"{place}.key", entry.get("key", ""), why)
        operator, values = entry.get("operator", ""), entry.get("values") or []
        if operator not in _OPERATORS:
            causes.invalid(f"{place}.operator", operator, "not a valid selector operator")
        elif operator in ("In", "NotIn") and not values:
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            causes.required(f"{place}.values", text)
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.forbidden(f"{place}.values", text)
