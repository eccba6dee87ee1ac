"""Where a lab lives: its folders, namespaces, cgroup and addresses, all from its name."""

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import msgspec

from cilia.model.site import NodeSite

STATE_ROOT = Path("/var/lib/cilia/lab")
RUN_ROOT = Path("/run/cilia/lab")
BPFFS_ROOT = Path("/sys/fs/bpf")
NETNS_ROOT = Path("/run/netns")

UNDERLAY_V4_BITS = 24
UNDERLAY_V6_BITS = 64
API_PORT = 6443
FIRST_NODE_HOST = 11
MAX_NODES = 200

_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")


class Host(msgspec.Struct, frozen=True):
    """One machine on the lab's underlay."""

    v4: IPv4Address
    v6: IPv6Address


def underlay_host(number: int) -> Host:
    """The underlay addresses of host `number` (1 to 254).

    >>> underlay_host(11)
    Host(v4=IPv4Address('172.30.0.11'), v6=IPv6Address('fd00:30::11'))
    """
    return Host(IPv4Address(f"172.30.0.{number}"), IPv6Address(f"fd00:30::{number}"))


WORLD = underlay_host(1)
API_SERVER = underlay_host(2)
DNS_SERVICE = IPv4Address("10.96.0.10")
CLUSTER_DOMAIN = "cluster.local"


class LabSite(msgspec.Struct, frozen=True):
    """One lab's place on this kernel; labs of different names share nothing."""

    name: str
    cgroups: Path
    """Root of the cgroup v2 hierarchy."""
    nodes: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"lab name {self.name!r}: use 1 to 15 lower-case letters and digits, "
                "the first a letter"
            )
        if not 1 <= self.nodes <= MAX_NODES:
            raise ValueError(
                f"lab {self.name}: {self.nodes} nodes; from 1 to {MAX_NODES} are possible"
            )

    @property
    def state(self) -> Path:
        """Folder of what survives a reboot."""
        return STATE_ROOT / self.name

    @property
    def run(self) -> Path:
        """Folder of sockets and process files."""
        return RUN_ROOT / self.name

    @property
    def log(self) -> Path:
        """Folder with one log file per program."""
        return self.state / "log"

    @property
    def bpffs(self) -> Path:
        """Folder of the lab's pins; one folder a node in it."""
        return BPFFS_ROOT / "cilia" / self.name

    @property
    def cgroup(self) -> Path:
        """Folder of the lab's cgroups; everything the lab runs is in it."""
        return self.cgroups / "cilia" / self.name

    @property
    def settings_file(self) -> Path:
        """What the lab should be (`LabSettings` as JSON)."""
        return self.state / "lab.json"

    @property
    def status_file(self) -> Path:
        """What the supervisor says the lab is (`LabStatus` as JSON)."""
        return self.run / "status.json"

    @property
    def pid_file(self) -> Path:
        """Locked by the running supervisor; its process id is the content."""
        return self.run / "supervisor.pid"

    @property
    def relay_socket(self) -> Path:
        """Where the relay of all nodes answers, if there is more than one."""
        return self.run / "relay.sock"

    @property
    def kubeconfig(self) -> Path:
        """For clients in the machine's own network namespace (kubectl)."""
        return self.state / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """For clients on the underlay (agents, kubelets, pods)."""
        return self.state / "kubeconfig-underlay"

    @property
    def net_namespace(self) -> str:
        """Name of the namespace that holds the underlay's bridge."""
        return f"cilia-{self.name}-net"

    @property
    def world_namespace(self) -> str:
        """Name of the namespace that plays the internet."""
        return f"cilia-{self.name}-world"

    @property
    def node_names(self) -> tuple[str, ...]:
        """Kubernetes names of the nodes, in order."""
        return tuple(f"node-{index}" for index in range(1, self.nodes + 1))

    def node_namespace(self, node: str) -> str:
        """Name of a node's network namespace."""
        return f"cilia-{self.name}-{node}"

    def node(self, node: str) -> NodeSite:
        """A node's own site."""
        return NodeSite(
            name=node,
            netns=str(netns_path(self.node_namespace(node))),
            bpffs=self.bpffs / node,
            cgroup=self.cgroup / node,
            state=self.state / "nodes" / node,
            run=self.run / "nodes" / node,
        )

    def node_host(self, node: str) -> Host:
        """A node's underlay addresses."""
        return underlay_host(FIRST_NODE_HOST + self.node_names.index(node))


def netns_path(namespace: str) -> Path:
    """The file that stands for a named network namespace."""
    return NETNS_ROOT / namespace


def find_cgroup2(mountinfo: str) -> Path | None:
    """Where cgroup v2 is mounted, by the text of /proc/self/mountinfo; None: nowhere.

    Source:
        proc_pid_mountinfo(5); the type stands after the lone hyphen.
    """
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        if kind.split(" ", 1)[0] == "cgroup2":
            return Path(place.split(" ")[4])
    return None
