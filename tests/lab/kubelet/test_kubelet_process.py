"""The kubelet as a process of its own, under the real API server, with stock kubectl."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cilia.lab.apiserver.certificates import ensure_certificates
from cilia.lab.apiserver.config import ApiServerConfig, Listener, write_config
from cilia.lab.apiserver.kubeconfig import write_kubeconfig
from cilia.lab.kubelet.config import encode_config
from lab.kubelet.harness import Lab

MANIFEST = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "one"},
    "spec": {
        "nodeName": "node-1",
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "c",
                "image": "quay.io/cilium/starwars",
                "readinessProbe": {"httpGet": {"path": "/v1/", "port": 80}, "periodSeconds": 1},
            }
        ],
    },
}


class Cluster:
    """An API server and a kubelet, each a process."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        state = lab.folder / "api"
        state.mkdir()
        listeners = (Listener("127.0.0.1", 0), Listener("127.0.0.1", 6443, lab.config.site.netns))
        # Where the API server looks for <node>/kubelet.sock.
        nodes = lab.folder / "nodes"
        nodes.mkdir()
        (nodes / "node-1").symlink_to(lab.run)
        self._ready = lab.folder / "ready"
        config = ApiServerConfig(state, listeners, (), nodes, self._ready)
        ensure_certificates(config.certificates, ("127.0.0.1",))
        write_config(config, lab.folder / "api.json")
        write_kubeconfig(lab.config.kubeconfig, "https://127.0.0.1:6443", config.certificates)
        self._config = config
        self.outer = lab.folder / "kubeconfig-outer"
        (lab.folder / "kubelet.json").write_bytes(encode_config(lab.config))

    def start_api(self) -> None:
        """Starts the API server and waits until it listens."""
        self._run("apiserver", self._lab.folder / "api.json")
        wait(self._ready.exists, "API server listens")
        urls = json.loads(self._ready.read_text())
        write_kubeconfig(self.outer, urls[0], self._config.certificates)

    def start_kubelet(self) -> None:
        """Starts the kubelet and waits until it serves."""
        self._run("kubelet", self._lab.folder / "kubelet.json")
        wait(self._lab.config.socket.exists, "kubelet serves")

    def kill(self, name: str) -> None:
        """Kills a process as a crash would."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if name == "kubelet":
            self._lab.config.socket.unlink()

    def stop(self) -> None:
        """Ends both."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(20)

    def kubectl(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs kubectl to its end."""
        return subprocess.run(
            ["kubectl", "--kubeconfig", str(self.outer), *words],
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self._lab.folder / f"{name}.log").read_text()

    def _run(self, name: str, config: Path) -> None:
        with (self._lab.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "cilia", "lab", name, "--config", str(config)],
                stdout=log, stderr=log, cwd="/", env={**os.environ, "HOME": "/root"},
            )  # fmt: skip


def wait(condition: Callable[[], object], what: str, seconds: float = 40) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def cluster(lab: Lab) -> Iterator[Cluster]:
    if shutil.which("kubectl") is None:
        pytest.fail("needs kubectl")
    made = Cluster(lab)
    try:
        made.start_api()
        made.start_kubelet()
        yield made
    finally:
        made.stop()


def test_kubectl_runs_a_pod_that_outlives_the_kubelet(cluster: Cluster, lab: Lab) -> None:
    assert cluster.kubectl("apply", "-f", "-", stdin=json.dumps(MANIFEST)).returncode == 0
    ready = cluster.kubectl("wait", "--for=condition=Ready", "pod/one", "--timeout=40s")
    assert ready.returncode == 0, ready.stdout + ready.stderr + cluster.log("kubelet")
    landing = ("exec", "one", "--", "curl", "-s", "-XPOST", "localhost/v1/request-landing")
    assert cluster.kubectl(*landing).stdout == "Ship landed\n"
    code = cluster.kubectl("exec", "one", "--", "sh", "-c", "exit 3")
    assert code.returncode == 3, code.stderr
    node = cluster.kubectl("get", "nodes", "-o", "wide").stdout
    assert "Ready" in node
    assert "192.0.2.1" in node

    identity = ("get", "pod", "one", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    before = cluster.kubectl(*identity).stdout
    cluster.kill("kubelet")
    cluster.start_kubelet()
    wait(lambda: cluster.kubectl(*landing).stdout == "Ship landed\n", "exec after adoption")
    assert cluster.kubectl(*identity).stdout == before
    assert "request-landing" in cluster.kubectl("logs", "one").stdout
    restarts = ("get", "pod", "one", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
    assert cluster.kubectl(*restarts).stdout == "0"

    gone = cluster.kubectl("delete", "pod", "one", "--timeout=40s")
    assert gone.returncode == 0, gone.stderr + cluster.log("kubelet")
    assert list((lab.run / "pods").iterdir()) == []
    assert "pod worker failed" not in cluster.log("kubelet")


def test_pods_run_on_while_the_api_server_is_away(cluster: Cluster, lab: Lab) -> None:
    manifest = json.loads(json.dumps(MANIFEST))
    count = "n=$(cat /s/n 2>/dev/null || echo 0); echo $((n+1)) >/s/n"
    script = f"{count}; while [ ! -e /s/go$n ]; do sleep 0.05; done"
    shared = lab.folder / "shared"
    shared.mkdir()
    manifest["spec"]["containers"] = [
        {"name": "c", "image": "busybox", "command": ["sh", "-c", script],
         "volumeMounts": [{"name": "s", "mountPath": "/s"}]}
    ]  # fmt: skip
    manifest["spec"]["volumes"] = [{"name": "s", "hostPath": {"path": str(shared)}}]
    assert cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest)).returncode == 0
    wait((shared / "n").exists, "first run")
    cluster.kill("apiserver")
    (lab.folder / "ready").unlink()
    (shared / "go0").touch()
    wait(lambda: (shared / "n").read_text() == "2\n", "restarted without the API server")
    cluster.start_api()
    restarts = ("get", "pod", "one", "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
    wait(lambda: cluster.kubectl(*restarts).stdout == "1", "the API server is told")
    assert cluster.kubectl("delete", "pod", "one", "--timeout=40s").returncode == 0


def test_a_second_kubelet_of_a_node_is_refused(cluster: Cluster, lab: Lab) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "cilia", "lab", "kubelet", "--config", lab.folder / "kubelet.json"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "a kubelet for node-1 runs already: process" in second.stderr
