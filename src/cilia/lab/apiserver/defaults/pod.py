"""Defaults of pods and pod templates."""

from typing import Any

from cilia.lab.apiserver.errors import Json

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def default_pod(item: Json) -> None:
    """Defaults of a pod, its service account and tolerations included."""
    spec = item.setdefault("spec", {})
    default_pod_spec(spec)
    account = spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = account
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    tolerations = spec.setdefault("tolerations", [])
    for taint in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{taint}"
        if not any(toleration.get("key") in (key, None) for toleration in tolerations):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )
    status = item.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", qos_class(spec))


def default_template(item: Json) -> None:
    """Defaults of the pod template in a workload's spec."""
    template = item.get("spec", item).get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Json) -> None:
    """Defaults that pods and templates share."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            _default_container(container, host_network=bool(spec.get("hostNetwork")))
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def _default_container(container: Json, *, host_network: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    container.setdefault("resources", {})
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            for field, value in _PROBE.items():
                probe.setdefault(field, value)
            if get := probe.get("httpGet"):
                get.setdefault("path", "/")
                get.setdefault("scheme", "HTTP")
    limits = container["resources"].get("limits") or {}
    if limits:
        container["resources"]["requests"] = limits | (container["resources"].get("requests") or {})
    for variable in container.get("env") or []:
        if reference := (variable.get("valueFrom") or {}).get("fieldRef"):
            reference.setdefault("apiVersion", "v1")


def _pull_policy(image: str) -> str:
    """`Always` for `:latest` or no tag, else `IfNotPresent`."""
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    return "IfNotPresent" if digest or tag not in ("", "latest") else "Always"


def _default_volume(volume: Json) -> None:
    modes: dict[str, dict[str, Any]] = {
        "configMap": {"defaultMode": 420},
        "secret": {"defaultMode": 420},
        "downwardAPI": {"defaultMode": 420},
        "projected": {"defaultMode": 420},
        "hostPath": {"type": ""},
    }
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source, defaults in modes.items():
        if isinstance(volume.get(source), dict):
            for field, value in defaults.items():
                volume[source].setdefault(field, value)


def qos_class(spec: Json) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`.

    Source:
        https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    containers = (spec.get("containers") or []) + (spec.get("initContainers") or [])
    resources = [container.get("resources") or {} for container in containers]
    if not any(entry.get("requests") or entry.get("limits") for entry in resources):
        return "BestEffort"
    for entry in resources:
        limits, requests = entry.get("limits") or {}, entry.get("requests") or {}
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name) != limits[name]:
                return "Burstable"
    return "Guaranteed"
