"""A pod's sandbox: pinned network namespace, first process, place in the network.

What must be known to find it again is a file in its folder, so that a kubelet
that was killed adopts the pods that went on without it.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from cilia.lab.kubelet import cni
from cilia.lab.kubelet.config import KubeletConfig
from cilia.lab.kubelet.pod import Pod
from cilia.lab.kubelet.runtime import Shim, ShimGone, Spawner
from cilia.lab.kubelet.shim import linux
from cilia.lab.kubelet.shim.container import ContainerState

log = logging.getLogger(__name__)

NETNS_ROOT = Path("/run/netns")
_RECORD = "sandbox.json"
_EMPTY_DEADLINE_S = 10.0


class SandboxRecord(msgspec.Struct, frozen=True):
    """What is kept of a sandbox."""

    attachment: cni.Attachment
    """Its netns is empty when the pod uses the node's own network."""
    ips: tuple[str, ...]
    network: cni.Object
    """The configuration list that it was connected with."""
    result: cni.Object
    attempt: int = 0
    """How many sandboxes the pod had before."""


class Sandbox:
    """One pod's sandbox."""

    def __init__(self, config: KubeletConfig, record: SandboxRecord) -> None:
        self._config = config
        self.record = record
        uid = record.attachment.uid
        self.folder = pods_folder(config) / uid
        self.cgroup = config.site.cgroup / "pods" / uid
        self.shim = Shim(self.folder / "shim.sock")

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self.record.attachment.uid

    async def watch(self, changed: Callable[[ContainerState], None]) -> list[ContainerState]:
        """Follows its containers; see `Shim.watch`."""
        return await self.shim.watch(changed)

    async def destroy(self) -> None:
        """Kills what runs in it, disconnects it, and removes every trace of it."""
        linux.kill_cgroup(str(self.cgroup))
        attachment = self.record.attachment
        if attachment.netns:
            try:
                await cni.delete(
                    self.record.network, attachment, self._config.cni_plugins, self.record.result
                )
            except cni.CniError as error:
                log.warning("pod could not be disconnected cleanly",
                            extra={"pod": attachment.pod, "error": str(error)})  # fmt: skip
            _unpin(attachment.netns)
        await self.shim.disconnect()
        await remove_cgroup(self.cgroup)
        shutil.rmtree(self.folder, ignore_errors=True)


async def create(config: KubeletConfig, spawner: Spawner, pod: Pod, attempt: int) -> Sandbox:
    """Makes a pod's sandbox and connects it to the network.

    Raises:
        CniError: The network refused it; nothing of the sandbox is left.
        RuntimeRefused: The kernel refused it; nothing of the sandbox is left.
    """
    container_id = secrets.token_hex(32)
    own_network = not pod.spec.host_network
    network = cni.load_network(config.cni_configs) if own_network else {}
    netns = str(NETNS_ROOT / f"{config.netns_prefix}{container_id[:20]}") if own_network else ""
    meta = pod.metadata
    attachment = cni.Attachment(container_id, netns, meta.namespace, meta.name, meta.uid)
    draft = SandboxRecord(attachment, () if own_network else config.addresses, network, {}, attempt)
    sandbox = Sandbox(config, draft)
    sandbox.folder.mkdir(parents=True, exist_ok=True)
    # Written before anything is made: a kubelet killed in the middle cleans up after itself.
    _write_record(sandbox)
    try:
        await spawner.make(
            {
                "hostname": pod.spec.hostname or meta.name[:63].rstrip("-."),
                "netns": netns,
                "cgroup": str(sandbox.cgroup / "sandbox"),
                "socket": str(sandbox.folder / "shim.sock"),
                "log": str(sandbox.folder / "shim.log"),
            }
        )
        if own_network:
            result = await cni.add(network, attachment, config.cni_plugins)
            ips = tuple(cni.addresses(result))
            sandbox.record = SandboxRecord(attachment, ips, network, result, attempt)
            _write_record(sandbox)
    except BaseException:
        await asyncio.shield(sandbox.destroy())
        raise
    return sandbox


async def adopt(config: KubeletConfig, folder: Path) -> Sandbox | None:
    """The sandbox that an earlier kubelet left in a folder; None: nothing usable was there.

    A dead or half-made sandbox is removed.
    """
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=SandboxRecord)
    except (OSError, msgspec.DecodeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    sandbox = Sandbox(config, record)
    probe = Shim(folder / "shim.sock")
    try:
        await probe.watch(lambda state: None)
        if not record.ips:
            raise ShimGone("the network was never connected")
    except ShimGone as error:
        log.info("remove a dead sandbox", extra={"pod": record.attachment.pod, "why": str(error)})
        await sandbox.destroy()
        return None
    finally:
        await probe.disconnect()
    return sandbox


def pods_folder(config: KubeletConfig) -> Path:
    """Folder with one folder a sandbox, named by the pod's uid."""
    return config.site.run / "pods"


async def remove_cgroup(folder: Path) -> None:
    """Removes a cgroup and those below it, once their killed processes are gone."""
    deadline = time.monotonic() + _EMPTY_DEADLINE_S
    while folder.exists():
        try:
            for path, _, _ in os.walk(folder, topdown=False):
                os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if time.monotonic() > deadline:
                log.error("cgroup cannot be removed",
                          extra={"cgroup": str(folder), "error": str(error)})  # fmt: skip
                return
            linux.kill_cgroup(str(folder))
            await asyncio.sleep(0.005)


def _unpin(netns: str) -> None:
    # EINVAL: it was made but never mounted on.
    with contextlib.suppress(OSError):
        linux.unmount(netns)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(netns)


def _write_record(sandbox: Sandbox) -> None:
    draft = sandbox.folder / f"{_RECORD}.draft"
    draft.write_bytes(msgspec.json.encode(sandbox.record))
    draft.replace(sandbox.folder / _RECORD)
