"""Rules of pods and pod templates."""

from typing import Any

from cilia.lab.apiserver.errors import Json

from .causes import Causes, dns_label, dns_subdomain, port_name

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_PULL = ("Always", "IfNotPresent", "Never")
_MUTABLE = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "nodeName")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc")


def check_pod(causes: Causes, item: Json, old: Json | None) -> None:
    """A pod: its spec, and on an update what may change."""
    check_pod_spec(causes, "spec", item.get("spec") or {}, restart=_RESTART)
    if old is not None:
        _check_update(causes, item["spec"], old["spec"])


def check_pod_spec(causes: Causes, path: str, spec: Json, restart: tuple[str, ...]) -> None:
    """A pod's spec, also in templates.

    Args:
        causes: Gets what is wrong.
        path: Where the spec lies.
        spec: The spec, with defaults.
        restart: Restart policies that are allowed.
    """
    volumes = _names(causes, f"{path}.volumes", spec.get("volumes") or [])
    containers = spec.get("containers") or []
    if not containers:
        causes.required(f"{path}.containers")
    names: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            place = f"{path}.{field}[{index}]"
            _check_container(causes, place, container, volumes)
            if container.get("name") in names:
                causes.duplicate(f"{place}.name", container["name"])
            names.add(container.get("name", ""))
    causes.one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), restart)
    causes.one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        value = spec["terminationGracePeriodSeconds"]
        text = "must be greater than or equal to 0"
        causes.invalid(f"{path}.terminationGracePeriodSeconds", value, text)
    for field, rule in (
        ("nodeName", dns_subdomain),
        ("serviceAccountName", dns_subdomain),
        ("hostname", dns_label),
        ("subdomain", dns_label),
    ):
        if spec.get(field):
            causes.name(f"{path}.{field}", spec[field], rule)


def _names(causes: Causes, path: str, entries: list[Json]) -> set[str]:
    names: set[str] = set()
    for index, entry in enumerate(entries):
        place = f"{path}[{index}].name"
        causes.name(place, entry.get("name"), dns_label)
        if entry.get("name") in names:
            causes.duplicate(place, entry["name"])
        names.add(entry.get("name", ""))
    return names


def _check_container(causes: Causes, path: str, container: Json, volumes: set[str]) -> None:
    causes.name(f"{path}.name", container.get("name"), dns_label)
    image = container.get("image")
    if not image:
        causes.required(f"{path}.image")
    elif image != image.strip():
        causes.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    causes.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL)
    _check_ports(causes, f"{path}.ports", container.get("ports") or [])
    for index, variable in enumerate(container.get("env") or []):
        name = variable.get("name", "")
        if not name:
            causes.required(f"{path}.env[{index}].name")
        elif "=" in name or any(ord(char) < 33 for char in name):
            text = "a valid environment variable name must consist only of printable characters"
            causes.invalid(f"{path}.env[{index}].name", name, text)
        if variable.get("value") and variable.get("valueFrom"):
            text = "may not be specified when `value` is not empty"
            causes.invalid(f"{path}.env[{index}].valueFrom", "", text)
    for index, mount in enumerate(container.get("volumeMounts") or []):
        place = f"{path}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            text = f"Not found: {mount.get('name', '')!r}"
            causes.invalid(f"{place}.name", mount.get("name", ""), text)
        if not mount.get("mountPath"):
            causes.required(f"{place}.mountPath")
    for name in _PROBES:
        if probe := container.get(name):
            _check_probe(causes, f"{path}.{name}", probe)


def _check_ports(causes: Causes, path: str, ports: list[Json]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        place = f"{path}[{index}]"
        if name := port.get("name"):
            causes.name(f"{place}.name", name, port_name)
            if name in names:
                causes.duplicate(f"{place}.name", name)
            names.add(name)
        if not port.get("containerPort"):
            causes.required(f"{place}.containerPort")
        else:
            causes.between(f"{place}.containerPort", port["containerPort"], 1, 65535)
        if port.get("hostPort"):
            causes.between(f"{place}.hostPort", port["hostPort"], 1, 65535)
        causes.one_of(f"{place}.protocol", port.get("protocol"), _PROTOCOLS)


def _check_probe(causes: Causes, path: str, probe: Json) -> None:
    actions = [name for name in _ACTIONS if name in probe]
    if not actions:
        causes.required(path, "must specify a handler type")
    for name in actions[1:]:
        causes.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    for field in ("httpGet", "tcpSocket"):
        if field in probe:
            check_port_reference(causes, f"{path}.{field}.port", probe[field].get("port"))


def check_port_reference(causes: Causes, path: str, port: Any) -> None:
    """A port by number or by name."""
    if isinstance(port, str):
        causes.name(path, port, port_name)
    else:
        causes.between(path, port if port is not None else 0, 1, 65535)


def _check_update(causes: Causes, spec: Json, old: Json) -> None:
    """A pod keeps its spec, but for images and a few fields."""

    def fixed(one: Json) -> Json:
        kept = {key: value for key, value in one.items() if key not in _MUTABLE}
        for field in ("containers", "initContainers"):
            if field in kept:
                kept[field] = [
                    {
                        key: value
                        for key, value in entry.items()
                        if key not in ("image", "resources")
                    }
                    for entry in kept[field]
                ]
        kept.pop("ephemeralContainers", None)
        return kept

    moved = old.get("nodeName") and spec.get("nodeName") != old.get("nodeName")
    if fixed(spec) != fixed(old) or moved:
        text = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
            "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to "
            "be set to 1 if it was previously negative)"
        )
        causes.forbidden("spec", text)
