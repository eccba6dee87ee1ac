"""The agent on a host without an API server: pods by CNI, policies by files, a restart."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cilia.kernel import mounts, netns
from lab.running_lab import Done, cilia_command, wait_for
from lab.traffic import Pod

NAME = f"ct-{os.getpid()}-solo"
PORT = 8080
CONNECT_S = 0.5
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: admin}}]
"""


class Host:
    """A plain Linux host in a namespace: an uplink, an agent, a folder of policies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policies = folder / "policies"
        self.netns = netns.create(NAME)
        self.bpffs = Path("/sys/fs/bpf") / NAME
        self.cgroup = mounts.cgroup2_root() / NAME
        self._agent: subprocess.Popen[bytes] | None = None
        self._pods: list[str] = []
        for one in (self.policies, self.folder / "run", self.cgroup):
            one.mkdir()
        mounts.mount_bpffs(self.bpffs)
        for words in (
            "link set lo up",
            "link add eth0 type veth peer name world",
            "addr add 192.0.2.10/24 dev eth0",
            "addr add 2001:db8::10/64 dev eth0 nodad",
            "link set eth0 up",
            "link set world up",
            "route add default via 192.0.2.1",
        ):
            subprocess.run(["ip", "-n", NAME, *words.split()], check=True)
        settings = {
            "node_name": "solo",
            "bpffs": str(self.bpffs),
            "cgroup": str(self.cgroup),
            "state_dir": str(folder / "state"),
            "run_dir": str(folder / "run"),
            "cni_conf_dir": str(folder / "cni/net.d"),
            "cni_bin_dir": str(folder / "cni/bin"),
            "pod_cidrs": ["10.0.1.0/24", "fd00:10:0:1::/64"],
            "static_cnp_path": str(self.policies),
        }
        (folder / "agent.json").write_text(json.dumps(settings))

    def start(self) -> None:
        """Starts the agent, and waits until all is well."""
        words = [*cilia_command(), "agent", "--config", str(self.folder / "agent.json")]
        with (self.folder / "log").open("ab") as log:
            self._agent = subprocess.Popen(
                ["nsenter", f"--net={self.netns}", "--", *words], stdout=log, stderr=log
            )
        wait_for(f"all is well: {self.log()[-2000:]}", self.is_well)

    def kill(self) -> None:
        """Ends the agent with -9."""
        if self._agent is not None:
            self._agent.send_signal(signal.SIGKILL)
            self._agent.wait()
            self._agent = None

    def log(self) -> str:
        """What the agent has written."""
        return (self.folder / "log").read_text()

    def is_well(self) -> bool:
        assert self._agent is not None
        assert self._agent.poll() is None, self.log()[-4000:]
        return self.cilia("status", "--brief").returncode == 0

    def cilia(self, *words: str) -> Done:
        """`cilia WORDS`, asked of this agent."""
        return subprocess.run(
            [*cilia_command(), "--host", str(self.folder / "run/cilia.sock"), *words],
            capture_output=True,
            text=True,
            check=False,
        )

    def identities(self) -> dict[str, Any]:
        """Pod name to the number and the labels of its identity."""
        done = self.cilia("endpoint", "list", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {
            each["status"]["external-identifiers"]["pod-name"]: each["status"]["identity"]
            for each in json.loads(done.stdout)
        }

    def connect(self, name: str, **plugin: object) -> Pod:
        """Runs the plugin's ADD for a new pod."""
        self._pods.append(f"{NAME}-{name}")
        path = netns.create(self._pods[-1])
        done = self._plugin("ADD", name, path, plugin)
        assert done.returncode == 0, done.stdout + done.stderr
        v4, v6 = (ip["address"].split("/")[0] for ip in json.loads(done.stdout)["ips"])
        return Pod(str(path), v4, v6)

    def disconnect(self, name: str) -> None:
        """Runs the plugin's DEL."""
        done = self._plugin("DEL", name, netns.FOLDER / f"{NAME}-{name}", {})
        assert done.returncode == 0, done.stderr

    def _plugin(self, command: str, name: str, path: Path, more: dict[str, object]) -> Done:
        conflist = json.loads((self.folder / "cni/net.d/05-cilia.conflist").read_bytes())
        versions = {"cniVersion": conflist["cniVersion"], "name": conflist["name"]}
        return subprocess.run(
            [str(self.folder / "cni/bin/cilia-cni")],
            input=json.dumps({**versions, **conflist["plugins"][0], **more}),
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": f"{NAME}-{name}",
                "CNI_NETNS": str(path),
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(self.folder / "cni/bin"),
                "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}",
                "PATH": os.environ["PATH"],
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def remove(self) -> None:
        """Leaves nothing of the host."""
        self.kill()
        for name in (*self._pods, NAME):
            netns.delete(name)
        shutil.rmtree(self.bpffs)
        wait_for("the cgroup is free", lambda: not (self.cgroup / "cgroup.procs").read_text())
        self.cgroup.rmdir()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def listening(pod: Pod) -> Iterator[None]:
    """A server of both families in a pod; the kernel alone accepts."""
    with netns.open_socket(pod.netns, socket.AF_INET6, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::", PORT))
        one.listen(1024)
        yield


def reaches(client: Pod, server: Pod) -> list[bool]:
    """Whether new connections get through, over IPv4 and over IPv6."""
    found = []
    for family, address in ((socket.AF_INET, server.v4), (socket.AF_INET6, server.v6)):
        with netns.open_socket(client.netns, family, socket.SOCK_STREAM) as one:
            one.settimeout(CONNECT_S)
            found.append(one.connect_ex((address, PORT)) == 0)
    return found


OPEN, CLOSED = [True, True], [False, False]


def test_files_open_and_close_what_cni_connected_and_a_restart_keeps_it(host: Host) -> None:
    assert "Kubernetes:             Disabled" in host.cilia("status").stdout
    given = {"args": {"cni": {"labels": [{"key": "app", "value": "web"}]}}}
    web = host.connect("web", **given)
    guest = host.connect("guest", runtimeConfig={"labels": {"app": "guest"}})
    admin = host.connect("admin", runtimeConfig={"labels": {"app": "admin"}})
    known = host.identities()
    assert set(known["default/web"]["labels"]) >= {
        "k8s:app=web",
        "k8s:io.kubernetes.pod.namespace=default",
    }
    file = host.policies / "web.yaml"
    with listening(web):
        assert reaches(guest, web) == OPEN
        file.write_text(POLICY)
        wait_for("the file closes it", lambda: reaches(guest, web) == CLOSED)
        assert reaches(admin, web) == OPEN
        wait_for("its state is in the log", lambda: "enforced=1/1" in host.log())

        host.kill()
        assert (reaches(guest, web), reaches(admin, web)) == (CLOSED, OPEN)
        host.start()
        assert host.identities() == known
        assert (reaches(guest, web), reaches(admin, web)) == (CLOSED, OPEN)

        host.policies.rename(host.folder / "away")
        wait_for("the folder is missed", lambda: "policy folder is gone" in host.log())
        assert reaches(guest, web) == CLOSED
        (host.folder / "away").rename(host.policies)

        # A new pod with labels that are known gets their number, in an agent that was told anew.
        other = host.connect("other", runtimeConfig={"labels": {"app": "admin"}})
        assert host.identities()["default/other"] == known["default/admin"]
        assert reaches(other, web) == OPEN

        assert "not written" not in host.log()
        file.unlink()
        wait_for("without the file it is open", lambda: reaches(guest, web) == OPEN)
    host.disconnect("guest")
    assert "default/guest" not in host.identities()
