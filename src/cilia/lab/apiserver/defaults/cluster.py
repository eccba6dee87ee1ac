"""Defaults of namespaces, secrets, policies, slices and resource definitions."""

from base64 import b64encode

from cilia.lab.apiserver.errors import Json


def default_namespace(item: Json) -> None:
    """The name label, the finalizer and the phase."""
    name = item["metadata"].get("name", "")
    item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    if "deletionTimestamp" not in item["metadata"]:
        item.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        item.setdefault("status", {}).setdefault("phase", "Active")


def default_secret(item: Json) -> None:
    """The type; `stringData` becomes `data`."""
    item.setdefault("type", "Opaque")
    plain = item.pop("stringData", None)
    if plain:
        texts = {key: b64encode(text.encode()).decode() for key, text in plain.items()}
        item["data"] = (item.get("data") or {}) | texts


def default_policy(item: Json) -> None:
    """Policy types and port protocols of a network policy."""
    spec = item.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress"] + (["Egress"] if spec.get("egress") else [])
    for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
        for port in rule.get("ports") or []:
            port.setdefault("protocol", "TCP")


def default_slice(item: Json) -> None:
    """Port names and protocols of an endpoint slice."""
    for port in item.get("ports") or []:
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def default_crd(item: Json) -> None:
    """Singular, list kind, conversion and storage status of a resource definition."""
    spec = item.setdefault("spec", {})
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        names.setdefault("singular", str(names["kind"]).lower())
        names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
