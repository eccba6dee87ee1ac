"""A container's environment variables.

Source: https://kubernetes.io/docs/tasks/inject-data-application/ (define-interdependent-
environment-variables, environment-variable-expose-pod-information) and
https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cilia.lab.kubelet.pod import Container, EnvSource, KeyRef, NameRef, Pod

Object = dict[str, Any]

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class BadConfiguration(Exception):
    """The pod names a ConfigMap, Secret, key or field that is not there."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`text` with $(NAME) replaced; unknown names stay, $$ is one dollar sign.

    >>> expand("$(A) $(B) $$(A)", {"A": "x"})
    'x $(B) $(A)'
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def service_variables(services: Iterable[Object], namespace: str, *, links: bool) -> dict[str, str]:
    """The variables that tell of services with an address of their own.

    Args:
        services: Service objects, of any namespace.
        namespace: The pod's; of other namespaces only default/kubernetes counts.
        links: Whether the pod wants its own namespace's services (enableServiceLinks).
    """
    out: dict[str, str] = {}
    for service in services:
        place = (service["metadata"].get("namespace", ""), service["metadata"]["name"])
        is_master = place == ("default", "kubernetes")
        address = service.get("spec", {}).get("clusterIP") or "None"
        if address != "None" and (is_master or (links and place[0] == namespace)):
            out |= _one_service(place[1], address, service["spec"].get("ports") or [])
    return out


def _one_service(name: str, address: str, ports: list[Object]) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    if not ports:
        return {}
    host = f"[{address}]" if ":" in address else address
    out = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for index, port in enumerate(ports):
        number, protocol = port["port"], port.get("protocol", "TCP")
        if port.get("name"):
            out[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(number)
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            out[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{number}_{protocol}"
        out |= {stem: url, f"{stem}_PROTO": protocol.lower(), f"{stem}_PORT": str(number),
                f"{stem}_ADDR": address}  # fmt: skip
    return out


def field_value(pod: Pod, path: str, facts: Mapping[str, str]) -> str:
    """The value of a downward API field.

    Args:
        pod: The pod.
        path: As in `fieldRef.fieldPath`.
        facts: What only the node knows: status.podIP, status.hostIP and the like.

    Raises:
        BadConfiguration: There is no such field.
    """
    simple = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        **facts,
    }
    if path in simple:
        return simple[path]
    if match := _SUBSCRIPT.fullmatch(path):
        mapping = pod.metadata.labels if match[1] == "labels" else pod.metadata.annotations
        return mapping.get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        mapping = pod.metadata.labels if path.endswith("labels") else pod.metadata.annotations
        return "\n".join(f'{key}="{value}"' for key, value in sorted(mapping.items()))
    raise BadConfiguration(f"fieldRef {path}: no such field; use one of {', '.join(simple)}")


class ObjectLookup:
    """ConfigMaps and Secrets that a pod names, fetched beforehand."""

    def __init__(self, objects: Mapping[tuple[str, str], Object]) -> None:
        """Keys are (kind in lower case, name)."""
        self._objects = objects

    def entries(self, kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
        """All keys of a ConfigMap or Secret, decoded.

        Raises:
            BadConfiguration: It does not exist and is not optional.
        """
        found = self._objects.get((kind, name))
        if found is None:
            if optional:
                return {}
            raise BadConfiguration(f'{kind} "{name}" not found')
        data = found.get("data") or {}
        if kind == "secret":
            return {key: base64.b64decode(value) for key, value in data.items()}
        binary = found.get("binaryData") or {}
        return {key: value.encode() for key, value in data.items()} | {
            key: base64.b64decode(value) for key, value in binary.items()
        }

    def value(self, kind: str, ref: KeyRef) -> str | None:
        """One key's text; None: it is not there, and need not be.

        Raises:
            BadConfiguration: The object or the key does not exist and is not optional.
        """
        entries = self.entries(kind, ref.name, optional=ref.optional)
        if ref.key in entries:
            return entries[ref.key].decode(errors="replace")
        if ref.optional:
            return None
        raise BadConfiguration(f"couldn't find key {ref.key} in {kind} {ref.name}")


def container_variables(
    container: Container,
    pod: Pod,
    base: Mapping[str, str],
    lookup: ObjectLookup,
    facts: Mapping[str, str],
) -> dict[str, str]:
    """All variables of a container; later ones win and may refer to earlier ones.

    Args:
        container: The container.
        pod: Its pod.
        base: What the image and the services give.
        lookup: ConfigMaps and Secrets.
        facts: See `field_value`.

    Raises:
        BadConfiguration: A source does not exist.
    """
    out = dict(base)
    for source in container.env_from:
        for kind, ref in (("configmap", source.config_map_ref), ("secret", source.secret_ref)):
            if ref is not None:
                out |= _all_keys(source.prefix, kind, ref, lookup)
    for variable in container.env:
        if variable.value_from is None:
            out[variable.name] = expand(variable.value or "", out)
        else:
            value = _from_source(variable.value_from, pod, lookup, facts)
            if value is not None:
                out[variable.name] = value
    return out


def _all_keys(prefix: str, kind: str, ref: NameRef, lookup: ObjectLookup) -> dict[str, str]:
    entries = lookup.entries(kind, ref.name, optional=ref.optional)
    return {prefix + key: value.decode(errors="replace") for key, value in entries.items()}


def _from_source(
    source: EnvSource, pod: Pod, lookup: ObjectLookup, facts: Mapping[str, str]
) -> str | None:
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path, facts)
    if source.config_map_key_ref is not None:
        return lookup.value("configmap", source.config_map_key_ref)
    if source.secret_key_ref is not None:
        return lookup.value("secret", source.secret_key_ref)
    # The lab limits nothing, so a resource field has no meaningful value.
    return "0" if source.resource_field_ref is not None else None
