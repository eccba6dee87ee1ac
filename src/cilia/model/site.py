"""Where one node lives on this kernel: its namespaces, folders and sockets.

Everything that a node needs is one value, so many nodes run side by side: a
real Kubernetes node is one site on the machine's own namespace, a lab has
several, each test makes its own.
"""

from pathlib import Path

import msgspec


class NodeSite(msgspec.Struct, frozen=True):
    """One node's place on this kernel."""

    name: str
    """Kubernetes node name."""
    netns: str | None
    """Path of its network namespace; None: the one the agent was started in."""
    bpffs: Path
    """Folder on a bpf file system where maps, links and programs are pinned."""
    cgroup: Path
    """cgroup v2 folder that holds the node's processes and pods."""
    state: Path
    """Folder for what must survive a reboot."""
    run: Path
    """Folder for sockets and what need not survive one."""

    @property
    def agent_socket(self) -> Path:
        """Unix socket of the agent's REST API."""
        return self.run / "cilia.sock"

    @property
    def monitor_socket(self) -> Path:
        """Unix socket on which the observer streams decoded events."""
        return self.run / "monitor.sock"

    @property
    def hubble_socket(self) -> Path:
        """Unix socket on which the observer serves Hubble's gRPC API."""
        return self.run / "hubble.sock"

    @property
    def export_status(self) -> Path:
        """What the observer says of its exports, as JSON."""
        return self.run / "hubble-export.json"
