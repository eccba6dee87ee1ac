"""Finds the node to talk to: a given socket, this machine's agent, or a lab's node."""

import os
from pathlib import Path

from cilia.cli.errors import ClientError

RUN = Path("/run/cilia")


def lab_nodes(run: Path = RUN) -> dict[tuple[str, str], Path]:
    """Every lab node with a folder of sockets: (lab, node) -> that folder."""
    return {
        (path.parent.parent.name, path.name): path
        for path in sorted(run.glob("lab/*/nodes/*"))
        if path.is_dir()
    }


def run_folder(lab: str | None, node: str | None, run: Path = RUN) -> Path:
    """The folder that holds `cilia.sock` and `monitor.sock`.

    A real node's agent comes first, then the lab that is named, else the only
    lab there is, else the one called `lab`.

    Raises:
        ClientError: nothing runs here, or the name fits nothing.
    """
    if lab is None and node is None and (run / "cilia.sock").exists():
        return run
    nodes = lab_nodes(run)
    if not nodes:
        raise ClientError(
            "no cilia agent runs on this machine",
            "start a cluster with `cilia lab up`, or name a socket with --host",
        )
    labs = sorted({name for name, _ in nodes})
    wanted = lab or (labs[0] if len(labs) == 1 else "lab")
    fitting = [
        path for (owner, name), path in nodes.items() if owner == wanted and node in (None, name)
    ]
    if not fitting:
        known = ", ".join("/".join(key) for key in nodes)
        raise ClientError(f"no node {node or '*'} in lab {wanted}", f"running here: {known}")
    return fitting[0]


class Place:
    """Where this command's sockets are, decided once from flags and environment."""

    def __init__(self, host: str | None, lab: str | None, node: str | None) -> None:
        self._host = host or os.environ.get("CILIA_SOCK")
        self._lab = lab or os.environ.get("CILIA_LAB")
        self._node = node or os.environ.get("CILIA_NODE")

    @property
    def agent_socket(self) -> Path:
        """The agent's REST socket."""
        if self._host:
            return Path(self._host.removeprefix("unix://"))
        return run_folder(self._lab, self._node) / "cilia.sock"

    @property
    def monitor_socket(self) -> Path:
        """The observer's event socket, beside the agent's."""
        return self.agent_socket.with_name("monitor.sock")

    @property
    def observer_socket(self) -> Path:
        """The observer's REST socket, beside them."""
        return self.agent_socket.with_name("observer.sock")

    @property
    def hubble_socket(self) -> Path:
        """The observer's gRPC socket, beside them."""
        return self.agent_socket.with_name("hubble.sock")

    @property
    def relay_socket(self) -> Path | None:
        """The gRPC socket of the relay of all nodes; None when a node was named or there is none.

        A lab with more than one node has one, and a machine where `cilia relay serve` was
        told to make it.
        """
        if self._host or self._node:
            return None
        folder = run_folder(self._lab, None)
        shared = folder.parents[1] if folder.parent.name == "nodes" else folder
        socket = shared / "relay.sock"
        return socket if socket.exists() else None
