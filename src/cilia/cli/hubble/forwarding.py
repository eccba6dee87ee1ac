"""A way to a relay inside a cluster: kubectl forwards a port for as long as we run."""

import atexit
import re
import shutil
import subprocess

import msgspec

from cilia.cli.errors import ClientError

RELAY = "service/hubble-relay"
FORWARDING = re.compile(r"Forwarding from \S+:(\d+) -> \d+")


class Cluster(msgspec.Struct, frozen=True):
    """Which cluster, as kubectl is told; empty: as it decides."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = "kube-system"

    def kubectl(self, *words: str) -> list[str]:
        """The command line.

        Raises:
            ClientError: there is no kubectl.
        """
        if shutil.which("kubectl") is None:
            raise ClientError(
                "cannot forward a port: kubectl is not installed",
                "install it, or name a server with --server",
            )
        where = [("--kubeconfig", self.kubeconfig), ("--context", self.context)]
        chosen = [word for flag, value in where if value for word in (flag, value)]
        return ["kubectl", *chosen, "--namespace", self.namespace, *words]


def relay_port(cluster: Cluster) -> str:
    """The first port of the relay's service.

    Raises:
        ClientError: kubectl cannot tell it.
    """
    words = cluster.kubectl("get", RELAY, "-o", "jsonpath={.spec.ports[0].port}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise ClientError(
            f"no {RELAY} in namespace {cluster.namespace}: {done.stderr.strip() or 'no port'}",
            "is this the right cluster (--kubeconfig, --kube-context, --kube-namespace)?",
        )
    return done.stdout.strip()


def forwarded(cluster: Cluster, port: int) -> str:
    """The address at which the cluster's relay answers here until this process ends.

    Args:
        cluster: Where the relay is.
        port: Of this machine; 0: any.

    Raises:
        ClientError: kubectl forwards nothing.
    """
    target = f"{port or ''}:{relay_port(cluster)}"
    child = subprocess.Popen(
        cluster.kubectl("port-forward", RELAY, target),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, child)
    assert child.stdout is not None
    assert child.stderr is not None
    said = FORWARDING.match(child.stdout.readline())
    if said is None:
        why = child.stderr.read().strip().splitlines()
        _end(child)
        raise ClientError(
            f"kubectl forwards no port: {why[-1] if why else 'it ended'}",
            "is the port free (--port-forward-port), and the relay running?",
        )
    return f"localhost:{said[1]}"


def forward(cluster: Cluster, port: int) -> int:
    """Forwards until interrupted, in kubectl's words; its exit code."""
    words = cluster.kubectl("port-forward", RELAY, f"{port or ''}:{relay_port(cluster)}")
    return subprocess.run(words, check=False).returncode


def _end(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    child.wait()
