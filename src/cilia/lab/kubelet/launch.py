"""From a container in a pod's spec to what the shim is asked to start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cilia.lab.images import Image
from cilia.lab.images.tools import Overlay
from cilia.lab.kubelet.config import KubeletConfig
from cilia.lab.kubelet.environment import BadConfiguration, expand
from cilia.lab.kubelet.pod import Container, Pod
from cilia.lab.kubelet.shim.process import ProgramSpec
from cilia.lab.kubelet.shim.rootfs import Bind, File, RootSpec

MASKS = ("/root", "/home", "/var/lib/cilia")
"""Folders of the host that no catalogue image shows: keys and other people's files."""


class Network(msgspec.Struct, frozen=True):
    """What the pod's files say about its network."""

    hostname: str
    resolv_conf: str
    hosts: str


def pod_network(pod: Pod, config: KubeletConfig, pod_ips: list[str]) -> Network:
    """The pod's /etc/resolv.conf, /etc/hosts and host name.

    Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
    """
    hostname = pod.spec.hostname or pod.metadata.name[:63].rstrip("-.")
    full = hostname
    if pod.spec.subdomain:
        domain = config.cluster_domain
        full = f"{hostname}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{domain} {hostname}"
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        *(f"{address}\t{full}" for address in pod_ips),
        *(f"{alias.ip}\t{' '.join(alias.hostnames)}" for alias in pod.spec.host_aliases),
    ]
    return Network(hostname, resolv_conf(pod, config), "\n".join(lines) + "\n")


def resolv_conf(pod: Pod, config: KubeletConfig) -> str:
    """The pod's resolver configuration."""
    extra = pod.spec.dns_config
    policy = pod.spec.dns_policy
    if policy == "ClusterFirst" and pod.spec.host_network:
        policy = "Default"
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        domain = config.cluster_domain
        servers = list(config.cluster_dns)
        searches = [f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain]
        options = ["ndots:5"]
    elif policy == "Default":
        servers = list(config.node_dns)
    if extra is not None:
        servers += extra.nameservers
        searches += extra.searches
        options += [
            f"{item['name']}:{item['value']}" if "value" in item else item["name"]
            for item in extra.options
        ]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(searches)}"] if searches else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def program(container: Container, pod: Pod, image: Image, env: Mapping[str, str]) -> ProgramSpec:
    """What the container executes.

    Raises:
        BadConfiguration: Neither the container nor the image names a program.
    """
    command = container.command or list(image.command)
    args = container.args or ([] if container.command else list(image.args))
    words = [expand(word, env) for word in (*command, *args)]
    if not words:
        raise BadConfiguration(
            f"image {container.image} has no default program; give the container a command"
        )
    uid, gid = _user(container, pod, image)
    return {
        "args": words,
        "env": dict(env),
        "cwd": container.working_dir or image.working_dir,
        "uid": uid,
        "gid": gid,
    }


def _user(container: Container, pod: Pod, image: Image) -> tuple[int, int]:
    uid: int | None = None
    gid: int | None = None
    for security in (pod.spec.security_context, container.security_context):
        if security is not None:
            uid = security.run_as_user if security.run_as_user is not None else uid
            gid = security.run_as_group if security.run_as_group is not None else gid
    number, _, group = image.user.partition(":")
    if uid is None:
        uid = int(number) if number.isdecimal() else 0
    if gid is None:
        gid = int(group) if group.isdecimal() else 0
    return uid, gid


def root(
    container: Container,
    image: Image,
    overlay: Overlay,
    network: Network,
    volumes: Mapping[str, Path],
    base: Path,
) -> RootSpec:
    """The container's file system.

    Args:
        container: The container.
        image: Its image.
        overlay: What catalogue images get laid over the host's root.
        network: The pod's network files.
        volumes: The pod's volumes, see `volumes.materialise`.
        base: Empty folder where the container may mount.

    Raises:
        BadConfiguration: It mounts a volume that the pod has not.
    """
    files = {
        "/etc/resolv.conf": network.resolv_conf,
        "/etc/hosts": network.hosts,
        "/etc/hostname": network.hostname + "\n",
    }
    binds: list[Bind] = []
    programs: dict[str, str] = {}
    if image.is_over_host:
        binds = [
            {"source": str(source), "target": target, "read_only": True}
            for source, target in overlay.binds
        ]
        programs = dict(overlay.files)
    for mount in container.volume_mounts:
        if mount.name not in volumes:
            raise BadConfiguration(f"volumeMount {mount.mount_path}: no volume {mount.name}")
        source = volumes[mount.name]
        if mount.sub_path:
            source = source / mount.sub_path
        binds.append(
            {"source": str(source), "target": mount.mount_path, "read_only": mount.read_only}
        )
    # A volume below another volume's mount point must come after it.
    binds.sort(key=lambda item: item["target"].count("/"))
    return {
        "base": str(base),
        "lower": str(image.lower),
        "copies": [str(folder) for folder in image.copies],
        "files": [_file(path, text, 0o644) for path, text in files.items()]
        + [_file(path, text, 0o755) for path, text in programs.items()],
        "links": [],
        "binds": binds,
        "masks": list(MASKS) if image.is_over_host else [],
    }


def _file(path: str, text: str, mode: int) -> File:
    return {"path": path, "text": text, "mode": mode}


def log_folder(state: Path, pod: Pod, container: str) -> Path:
    """Folder of one container's log files, `<attempt>.log`.

    Source: kubelet's /var/log/pods/<namespace>_<name>_<uid>/<container>/.
    """
    meta = pod.metadata
    return log_root(state) / f"{meta.namespace}_{meta.name}_{meta.uid}" / container


def log_root(state: Path) -> Path:
    """Folder with one folder of logs a pod, `<namespace>_<name>_<uid>`."""
    return state / "log" / "pods"


def start_request(
    container: Container, attempt: int, container_id: str, cgroup: Path, logs: Path,
    file_system: RootSpec, what: ProgramSpec,
) -> dict[str, Any]:  # fmt: skip
    """The shim's `start` request."""
    return {
        "name": container.name,
        "id": container_id,
        "attempt": attempt,
        "cgroup": str(cgroup),
        "log": str(logs / f"{attempt}.log"),
        "root": file_system,
        "program": what,
    }


def exec_program(command: list[str]) -> ProgramSpec:
    """A program to run beside a container's own, with its variables."""
    return {"args": command, "env": {}, "cwd": "/", "uid": 0, "gid": 0}


def volume_folder(state: Path, uid: str) -> Path:
    """Folder of one pod's volumes."""
    return state / "pods" / uid / "volumes"
