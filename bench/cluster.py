"""A lab without a kubelet at work: pods are objects, and the benchmark plays the runtime."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cilia.kernel import netns
from cilia.kernel.mounts import cgroup2_root
from cilia.lab.site import LabSite
from cilia.wire.http10 import decode_answer, encode_request
from cilia.wire.kubernetes import KubernetesClient

Json = Any
CILIA = str(Path(sys.executable).with_name("cilia"))
NODE = "node-1"
DEADLINE_S = 120.0
LABEL_SETS = 10


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Polls every millisecond until `condition` holds: both cores are for what is measured.

    Raises:
        TimeoutError: it never did.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.001)


class Cluster:
    """One lab with a name of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.site = LabSite(name, cgroup2_root())
        self.node = self.site.node(NODE)
        self._namespaces: list[str] = []

    def lab(self, *words: str) -> None:
        """`cilia lab WORDS --name …`."""
        subprocess.run(
            [CILIA, "lab", *words, "--name", self.name], check=True, stdout=subprocess.DEVNULL
        )

    def api(self, work: Callable[[KubernetesClient], Any]) -> Any:
        """Runs `work(client)`, a coroutine function, against the API server."""

        async def call() -> Any:
            async with KubernetesClient.from_kubeconfig(self.site.kubeconfig) as client:
                return await work(client)

        return asyncio.run(call())

    def agent(self, path: str) -> Json:
        """GET of the agent's REST API."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.node.agent_socket))
            connection.sendall(encode_request("GET", path, {}, None))
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return json.loads(decode_answer(answer)[1])

    def create_pods(self, count: int, first: int = 0) -> None:
        """Pod objects that are bound to the node, of `LABEL_SETS` label sets."""

        async def create(client: KubernetesClient) -> None:
            for index in range(first, first + count):
                pod = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": f"pod-{index}",
                        "labels": {"app": f"app-{index % LABEL_SETS}", "bench": "yes"},
                    },
                    "spec": {
                        "nodeName": NODE,
                        "containers": [{"name": "main", "image": "registry.k8s.io/pause"}],
                    },
                }
                await client.create("/api/v1/namespaces/default/pods", pod)

        self.api(create)

    def add(self, index: int) -> float:
        """Runs the CNI plugin's ADD for a pod, as a runtime does; seconds it took."""
        name = f"{self.name}-pod-{index}"
        path = netns.create(name)
        self._namespaces.append(name)
        environment = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"{index:064x}",
            "CNI_NETNS": str(path),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.node.run / "cni/bin"),
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-{index}",
            "PATH": os.environ["PATH"],
        }
        configuration = {
            "cniVersion": "1.1.0",
            "name": "cilia",
            "type": "cilia-cni",
            "socket": str(self.node.agent_socket),
        }
        began = time.perf_counter()
        done = subprocess.run(
            [str(self.node.run / "cni/bin/cilia-cni")],
            env=environment,
            input=json.dumps(configuration).encode(),
            capture_output=True,
            check=False,
        )
        took = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"ADD pod-{index}: {done.stdout.decode()}{done.stderr.decode()}")
        return took

    def agent_pid(self) -> int:
        """Process id of the node's agent."""
        return int(json.loads((self.node.run / "agent.pid").read_text())["pid"])

    def close(self) -> None:
        """Removes the lab and the pods' namespaces."""
        self.lab("down")
        for name in self._namespaces:
            netns.delete(name)


@contextmanager
def cluster(pods: int = 0) -> Iterator[Cluster]:
    """A lab whose kubelet is stopped, with so many pods connected."""
    one = Cluster(f"bench{os.getpid() % 100000}")
    try:
        one.lab("up")
        one.lab("stop", f"{NODE}/kubelet")
        if pods:
            one.create_pods(pods)
            for index in range(pods):
                one.add(index)
        yield one
    finally:
        one.close()
