"""A lab whose kubelet is stopped: the test plays it, so pods' namespaces are the test's own."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cilia.kernel import netns
from cilia.lab import commands
from cilia.lab.site import LabSite
from cilia.wire.http10 import decode_answer, encode_request
from cilia.wire.kubernetes import ApiError, KubernetesClient
from lab.running_lab import Done, RunningLab, traces, wait_for
from lab.traffic import Pod

NODE = "node-1"
PODS = "/api/v1/namespaces/default/pods"
POLICIES = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"
PLUGIN_S = 60.0


class BareLab(RunningLab):
    """One lab of the test's own.

    Args:
        settings: Of the agent, as environment variables: `CILIA_MAP_SIZES`.
    """

    def __init__(self, name: str, kubectl: str, settings: dict[str, str] | None = None) -> None:
        super().__init__(name, kubectl)
        self.site: LabSite = commands.open_site(name)
        self.node = self.site.node(NODE)
        self._settings = settings or {}
        self._containers = 0

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self._settings

    def up(self) -> None:
        """Brings it up, and stops the kubelet."""
        done = self.lab("up")
        assert done.returncode == 0, done.stdout + done.stderr
        self.stop(f"{NODE}/kubelet")

    def stop(self, program: str) -> None:
        """`cilia lab stop`."""
        done = self.lab("stop", program)
        assert done.returncode == 0, done.stderr

    def begin(self, program: str) -> None:
        """`cilia lab start`."""
        done = self.lab("start", program)
        assert done.returncode == 0, done.stderr

    def pid(self, program: str) -> int:
        """The process that holds a program's lock."""
        return int(json.loads((self.node.run / f"{program}.pid").read_bytes())["pid"])

    def is_well(self) -> bool:
        """What `cilia status` finds."""
        return self.cilia("status", "--brief").returncode == 0

    # The API server

    def api(self, work: Callable[[KubernetesClient], Coroutine[Any, Any, Any]]) -> Any:
        """What `work(client)` returns."""

        async def call() -> Any:
            async with KubernetesClient.from_kubeconfig(self.site.kubeconfig) as client:
                return await work(client)

        return asyncio.run(call())

    def create_pod(self, name: str, labels: dict[str, str]) -> None:
        """A pod object that is bound to the node."""
        containers = [{"name": "main", "image": "registry.k8s.io/pause"}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": NODE, "containers": containers},
        }
        self.api(lambda client: client.create(PODS, pod))

    def apply(self, name: str, spec: dict[str, Any]) -> None:
        """Creates or replaces a CiliumNetworkPolicy."""

        async def put(client: KubernetesClient) -> None:
            document = {
                "apiVersion": "cilium.io/v2",
                "kind": "CiliumNetworkPolicy",
                "metadata": {"name": name},
                "spec": spec,
            }
            with contextlib.suppress(ApiError):
                await client.delete(f"{POLICIES}/{name}")
            await client.create(POLICIES, document)

        self.api(put)

    def remove_policy(self, name: str) -> None:
        """Deletes a CiliumNetworkPolicy, which may be gone."""

        async def delete(client: KubernetesClient) -> None:
            with contextlib.suppress(ApiError):
                await client.delete(f"{POLICIES}/{name}")

        self.api(delete)

    def condition(self, policy: str) -> dict[str, str]:
        """What the agent wrote into a policy's status; empty: nothing yet."""
        found = self.api(lambda client: client.get(f"{POLICIES}/{policy}"))
        conditions = (found.get("status") or {}).get("conditions") or [{}]
        return dict(conditions[0])

    # The agent

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        """HTTP status and JSON of the agent's answer; the path goes out as it is.

        None: what answers is the HTTP library, which found no request to give to the agent.
        """
        head, _, _ = encode_request(method, "/", {}, None).partition(b"\r\n\r\n")
        head = head.replace(b" / ", f" {path} ".encode("latin-1", "replace"), 1)
        head = head.replace(b"Content-Length: 0", f"Content-Length: {len(body)}".encode())
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PLUGIN_S)
            connection.connect(str(self.node.agent_socket))
            connection.sendall(head + b"\r\n\r\n" + body)
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        status, content = decode_answer(answer)
        is_json = b"application/json" in answer.partition(b"\r\n\r\n")[0]
        return status, json.loads(content) if is_json else None

    def endpoint(self, pod: str) -> dict[str, Any]:
        """What the agent says of a pod's endpoint; empty: there is none."""
        status, found = self.ask("GET", f"/v1/endpoint/pod-name:default:{pod}")
        return dict(found) if status == 200 else {}

    def enforces(self, pod: str, direction: str) -> bool:
        """Whether a pod's row enforces ingress, egress, both or none."""
        status = self.endpoint(pod)["status"]
        return bool(status["policy"]["realized"]["policy-enabled"] == direction)

    @contextmanager
    def without_agent(self) -> Iterator[None]:
        """Kills the agent with -9; it comes back after the block."""
        supervisor = commands.running_supervisor(self.site)
        assert supervisor is not None
        old = self.pid("agent")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            os.kill(old, signal.SIGKILL)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)
        wait_for("another agent runs", lambda: self.pid("agent") != old)

    # The kubelet's part

    def namespace(self) -> tuple[str, Path]:
        """A container id, and the network namespace of its pod."""
        self._containers += 1
        path = netns.create(f"cilia-{self.name}-pod-{self._containers:x}")
        return f"{self._containers:064x}", path

    def connect(self, name: str, labels: dict[str, str]) -> Pod:
        """Creates a pod and runs the plugin's ADD for it."""
        self.create_pod(name, labels)
        container, path = self.namespace()
        return self.add(name, container, path)

    def add(self, name: str, container: str, path: Path) -> Pod:
        """Runs the plugin's ADD for a pod that exists."""
        done = self.plugin("ADD", container, path, name)
        assert done.returncode == 0, done.stdout + done.stderr
        v4, v6 = (ip["address"].split("/")[0] for ip in json.loads(done.stdout)["ips"])
        return Pod(str(path), v4, v6)

    def plugin(
        self, command: str, container: str, path: Path, pod: str, timeout_s: float = PLUGIN_S
    ) -> Done:
        """Runs the CNI plugin as a container runtime does."""
        configuration = {
            "cniVersion": "1.1.0",
            "name": "cilia",
            "type": "cilia-cni",
            "socket": str(self.node.agent_socket),
        }
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(path),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.node.run / "cni/bin"),
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}",
            "PATH": os.environ["PATH"],
        }
        return self.run_plugin(json.dumps(configuration).encode(), variables, timeout_s)

    def run_plugin(
        self, text: bytes, variables: dict[str, str], timeout_s: float = PLUGIN_S
    ) -> Done:
        """Runs the CNI plugin with whatever input and environment."""
        done = subprocess.run(
            [str(self.node.run / "cni/bin/cilia-cni")],
            env=variables,
            input=text,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(
            done.args,
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )


@contextmanager
def bare_lab(
    letter: str, kubectl: str, settings: dict[str, str] | None = None
) -> Iterator[BareLab]:
    """A lab for one module of tests; nothing of it is left afterwards."""
    lab = BareLab(f"{letter}{os.getpid()}", kubectl, settings)
    try:
        lab.up()
        yield lab
    finally:
        gone = lab.lab("down")
        assert gone.returncode == 0, gone.stdout + gone.stderr
        assert traces(lab.name) == []
