"""Starting one container: image, variables, volumes, files, then the shim."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cilia.lab.images import find_image
from cilia.lab.images.tools import host_overlay, host_program
from cilia.lab.kubelet import launch
from cilia.lab.kubelet.environment import container_variables, service_variables
from cilia.lab.kubelet.lookup import Fetcher
from cilia.lab.kubelet.node import NodeServices
from cilia.lab.kubelet.pod import Pod
from cilia.lab.kubelet.sandbox import Sandbox
from cilia.lab.kubelet.shim.container import ContainerState
from cilia.lab.kubelet.tracked import Tracked
from cilia.lab.kubelet.volumes import materialise


class Report(Protocol):
    """Notes an event about a container."""

    def __call__(
        self, reason: str, message: str, one: Tracked | None = None, *, warning: bool = False
    ) -> None: ...


class Starter:
    """Starts the containers of one pod."""

    def __init__(self, services: NodeServices, report: Report) -> None:
        self._services = services
        self._config = services.config
        self._report = report
        self._fetcher: Fetcher | None = None

    async def start(self, pod: Pod, one: Tracked, sandbox: Sandbox) -> ContainerState:
        """Starts a container's next run.

        Raises:
            UnknownImage: No image of that name.
            BadConfiguration: It names what does not exist.
            ApiUnreachable: What it names could not be fetched.
            RuntimeRefused: It could not be executed.
            ShimGone: The sandbox is dead.
        """
        container, state = one.container, self._config.site.state
        image = find_image(container.image, state / "images")
        self._report("Pulled", f'Container image "{container.image}" already present', one)
        one.image_id = image.image_id
        if self._fetcher is None:
            self._fetcher = Fetcher(self._services.api, pod.metadata.namespace)
        ips = sandbox.record.ips
        facts = pod_facts(ips, self._config.addresses)
        lookup = await self._fetcher.objects(pod)
        services = await self._fetcher.services()
        links = pod.spec.enable_service_links
        network = launch.pod_network(pod, self._config, list(ips))
        base = {
            **image.env,
            "HOSTNAME": network.hostname,
            "HOME": "/root",
            **service_variables(services, pod.metadata.namespace, links=links),
        }
        env = container_variables(container, pod, base, lookup, facts)
        volumes = materialise(pod, launch.volume_folder(state, pod.metadata.uid), lookup, facts)
        attempt = one.restarts + 1 if one.last is not None else one.restarts
        logs = launch.log_folder(state, pod, container.name)
        _forget_logs(logs, attempt - 1)
        request = launch.start_request(
            container,
            attempt,
            secrets.token_hex(32),
            sandbox.cgroup / container.name,
            logs,
            launch.root(container, image, host_overlay(launch.MASKS, host_program), network,
                        volumes, sandbox.folder / "root"),
            launch.program(container, pod, image, env),
        )  # fmt: skip
        self._report("Created", f"Created container: {container.name}", one)
        started = await sandbox.shim.start(request)
        self._report("Started", f"Started container {container.name}", one)
        return started


def _forget_logs(folder: Path, oldest: int) -> None:
    """Removes the logs of runs before the one that `kubectl logs --previous` shows."""
    for path in folder.glob("*.log*"):
        if int(path.name.split(".")[0]) < oldest:
            path.unlink(missing_ok=True)


def pod_facts(ips: Sequence[str], host_ips: Sequence[str]) -> dict[str, str]:
    """Downward API fields that only the node knows."""
    return {
        "status.podIP": ips[0] if ips else "",
        "status.podIPs": ",".join(ips),
        "status.hostIP": host_ips[0] if host_ips else "",
        "status.hostIPs": ",".join(host_ips),
    }
