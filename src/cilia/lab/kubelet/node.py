"""The node's own objects: Node and Lease.

Source: https://kubernetes.io/docs/reference/node/node-status/ and
https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

from cilia.lab.kubelet.cni import CniError, load_network, wait_network
from cilia.lab.kubelet.config import KubeletConfig
from cilia.lab.kubelet.events import EventRecorder
from cilia.lab.kubelet.ports import Api
from cilia.lab.kubelet.runtime import Spawner
from cilia.lab.kubelet.status import rfc3339
from cilia.wire.kubernetes import ApiError, ApiUnreachable

log = logging.getLogger(__name__)

Object = dict[str, Any]
VERSION = "v1.35.0"
_LEASE_S = 40
_RENEW_S = 10.0
_SOON_S = 0.5


class NodeServices:
    """What every worker of a node uses."""

    def __init__(
        self, config: KubeletConfig, api: Api, events: EventRecorder, spawner: Spawner
    ) -> None:
        self.config = config
        self.api = api
        self.events = events
        self.spawner = spawner


def node_object(config: KubeletConfig) -> Object:
    """The Node as it is registered."""
    name = config.site.name
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine,
        **config.labels,
    }
    spec: Object = {}
    if config.pod_cidrs:
        spec = {"podCIDR": config.pod_cidrs[0], "podCIDRs": list(config.pod_cidrs)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def node_status(config: KubeletConfig, not_ready: str, before: Object, now: float) -> Object:
    """The Node's status.

    Args:
        config: The node.
        not_ready: Why it is not ready; "" when it is.
        before: The status that the API server has.
        now: Seconds since the epoch.
    """
    name = config.site.name
    memory_kib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory_kib}Ki",
        "pods": str(config.max_pods),
        "ephemeral-storage": "10Gi",
    }
    ready = (
        ("Ready", "False", "KubeletNotReady", not_ready)
        if not_ready
        else ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    )
    pressures = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "the lab does not limit memory"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "the lab does not limit disk"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "the lab does not limit processes"),
    )
    known = {item["type"]: item for item in before.get("conditions") or []}
    conditions = []
    for kind, status, reason, message in (*pressures, ready):
        old = known.pop(kind, {})
        same = old.get("status") == status
        conditions.append(
            {"type": kind, "status": status, "reason": reason, "message": message,
             "lastHeartbeatTime": rfc3339(now),
             "lastTransitionTime": old["lastTransitionTime"] if same else rfc3339(now)}
        )  # fmt: skip
    addresses = [{"type": "InternalIP", "address": address} for address in config.addresses]
    return {
        "addresses": [*addresses, {"type": "Hostname", "address": name}],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [*known.values(), *conditions],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": node_info(config),
    }


def node_info(config: KubeletConfig) -> Object:
    """What `kubectl get nodes -o wide` shows of the machine."""
    return {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), ""),
        "bootID": _read("/proc/sys/kernel/random/boot_id"),
        "containerRuntimeVersion": "cilia://0.1.0",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": VERSION,
        "machineID": _read("/etc/machine-id"),
        "operatingSystem": "linux",
        "osImage": _os_name(),
        "systemUUID": f"cilia-lab-{config.site.name}",
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


class NodeReporter:
    """Keeps the Node and its Lease up to date."""

    def __init__(self, config: KubeletConfig, api: Api, events: EventRecorder) -> None:
        self._config = config
        self._api = api
        self._events = events
        self._path = f"/api/v1/nodes/{config.site.name}"
        self._was_ready: bool | None = None

    async def run(self) -> None:
        """Reports for ever; soon again while it is not ready or not heard."""
        while True:
            try:
                ready = await self.report()
                if not ready and await wait_network(self._config.cni_configs, _RENEW_S):
                    continue
            except ApiUnreachable:
                ready = False
            except ApiError as error:
                log.warning("node status was refused", extra={"error": str(error)})
                ready = False
            await asyncio.sleep(_RENEW_S if ready else _SOON_S)

    async def report(self) -> bool:
        """Registers the node if need be and writes status and lease; whether it is ready.

        Raises:
            ApiUnreachable: The API server is away.
            ApiError: It refused.
        """
        try:
            load_network(self._config.cni_configs)
            why = ""
        except CniError as error:
            why = str(error)
        try:
            known = await self._api.get(self._path)
        except ApiError as error:
            if not error.is_missing:
                raise
            known = await self._api.create("/api/v1/nodes", node_object(self._config))
        await self._adopt_fields(known)
        status = node_status(self._config, why, known.get("status") or {}, time.time())
        await self._api.patch(f"{self._path}/status", {"status": status})
        await self._renew_lease()
        self._tell(known, ready=not why)
        return not why

    async def _adopt_fields(self, known: Object) -> None:
        wanted = node_object(self._config)
        labels = known["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in wanted["metadata"]["labels"].items()):
            await self._api.patch(
                self._path, {"metadata": {"labels": wanted["metadata"]["labels"]}}
            )
        if wanted["spec"] and not (known.get("spec") or {}).get("podCIDR"):
            await self._api.patch(self._path, {"spec": wanted["spec"]})

    async def _renew_lease(self) -> None:
        name = self._config.site.name
        folder = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        now = rfc3339(time.time()).replace("Z", ".000000Z")
        spec = {"holderIdentity": name, "leaseDurationSeconds": _LEASE_S, "renewTime": now}
        try:
            await self._api.patch(f"{folder}/{name}", {"spec": spec})
        except ApiError as error:
            if not error.is_missing:
                raise
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": {**spec, "acquireTime": now},
            }
            try:
                await self._api.create(folder, lease)
            except ApiError as refused:
                # Its namespace may not be there yet; the node's status says the same.
                log.debug("no lease", extra={"error": str(refused)})

    def _tell(self, known: Object, *, ready: bool) -> None:
        if ready == self._was_ready:
            return
        self._was_ready = ready
        name = self._config.site.name
        subject = {"kind": "Node", "name": name, "uid": known["metadata"].get("uid", name)}
        reason = "NodeReady" if ready else "NodeNotReady"
        self._events.record(subject, reason, f"Node {name} status is now: {reason}")
