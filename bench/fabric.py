"""Two namespaces that can talk: over a plain bridge, over one with iptables, over cilia.

Every fabric has its own client and server namespaces and removes all it made.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import numpy as np

from cilia.datapath import layout, loader
from cilia.datapath.attach import Attacher, ensure_host_device, pod_plan
from cilia.datapath.config import DatapathConfig
from cilia.datapath.maps.endpoints import EndpointEntry, EndpointMap
from cilia.datapath.maps.ipcache import IpcacheEntry, IpcacheMap
from cilia.datapath.maps.policy import PolicyMap
from cilia.kernel import netns
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.rings import Ring
from cilia.kernel.rtnetlink import link
from cilia.model.site import NodeSite

PORT = 5201
CLIENT, SERVER = IPv4Address("10.91.0.11"), IPv4Address("10.91.0.12")
V6 = {CLIENT: IPv6Address("fd00:91::11"), SERVER: IPv6Address("fd00:91::12")}
ROUTER = "10.91.0.1"
IDENTITIES = {CLIENT: 1001, SERVER: 1002}
MACS = {CLIENT: "02:00:00:91:00:0b", SERVER: "02:00:00:91:00:0c"}
TUNING = {
    "net/ipv4/ip_local_port_range": "1024 65000",
    "net/ipv4/tcp_tw_reuse": "1",
}


def shell(command: str, text: str = "") -> str:
    """Runs a command and returns what it printed."""
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


class Fabric:
    """A middle namespace with two pods behind it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._prefix = f"bench-{os.getpid()}-{name}"
        self._undo = ExitStack()
        self.middle = self._namespace("m")
        self.client = self._namespace("c")
        self.server = self._namespace("s")
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self) -> None:
        """Connects the namespaces."""

    def _namespace(self, role: str) -> str:
        name = f"{self._prefix}-{role}"
        path = netns.create(name)
        self._undo.callback(netns.delete, name)
        shell(f"ip -n {name} link set lo up")
        with netns.inside(path):
            for setting, value in TUNING.items():
                Path("/proc/sys", setting).write_text(value)
        return name

    def connect(self, attach: str) -> None:
        """A veth pair for each pod, its inner end with the pod's address."""
        for role, space, address in (("c", self.client, CLIENT), ("s", self.server, SERVER)):
            commands = [
                f"link add lxc{role} type veth peer name eth0 netns {space}",
                f"link set lxc{role} up {attach}",
            ]
            shell(f"ip -n {self.middle} -batch -", "\n".join(commands))
            inner = [
                f"link set eth0 address {MACS[address]}",
                "link set eth0 up",
                *self.addresses(address),
            ]
            shell(f"ip -n {space} -batch -", "\n".join(inner))

    def addresses(self, address: IPv4Address) -> Sequence[str]:
        """`ip` commands that give the pod its address."""
        return [f"addr add {address}/24 dev eth0"]

    def drain(self) -> int:
        """Takes events away, as an observer would; how many."""
        return 0

    def close(self) -> None:
        """Removes everything."""
        self._undo.close()


class Bridge(Fabric):
    """Plain veth and bridge; with `rules`, that many iptables rules decide first."""

    def __init__(self, name: str = "bridge", rules: int = 0) -> None:
        self._rules = rules
        super().__init__(name)

    def build(self) -> None:
        """A bridge, and the filter when there is one."""
        shell(f"ip -n {self.middle} -batch -", "link add br0 type bridge\nlink set br0 up")
        self.connect("master br0")
        if self._rules:
            self._filter(self._rules)

    def _filter(self, rules: int) -> None:
        with netns.inside(Path("/run/netns") / self.middle):
            Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")
        accept = [
            f"-A FORWARD -s 10.{90 + i % 100}.{i // 256 % 256}.{i % 256} -p tcp --dport {PORT} "
            "-j ACCEPT"
            for i in range(rules - 1)
        ]
        lines = [
            "*filter",
            ":FORWARD DROP [0:0]",
            "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
            *accept,
            f"-A FORWARD -s {CLIENT} -p tcp --dport {PORT} -j ACCEPT",
            "COMMIT",
            "",
        ]
        shell(f"ip netns exec {self.middle} iptables-restore", "\n".join(lines))


class Cilia(Fabric):
    """The datapath with both pods enforcing both ways, over `rows` policy rows."""

    def __init__(
        self,
        name: str = "cilia",
        rows: int = 1,
        events: bool = True,
        objects: Path = layout.OBJECTS,
        capacities: Mapping[str, int] | None = None,
    ) -> None:
        self._policy_rows, self._events, self._objects = rows, events, objects
        self._capacities = capacities or {}
        super().__init__(name)

    def build(self) -> None:
        """A node's devices, programs and rows."""
        shell(f"ip -n {self.middle} link add eth0 type veth peer name outside")
        self.connect("")
        folder = Path("/tmp") / self._prefix
        self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
        self.site = NodeSite(
            name=self._prefix,
            netns=f"/run/netns/{self.middle}",
            bpffs=Path("/sys/fs/bpf") / self._prefix,
            cgroup=Path("/"),
            state=folder,
            run=folder,
        )
        self._undo.callback(loader.unload, self.site)
        with NetlinkSocket(self.site.netns) as connection:
            host = ensure_host_device(connection, 1500)
            devices = {n: link(connection, n) for n in ("lxcc", "lxcs", "eth0")}
        self.devices = {CLIENT: devices["lxcc"].index, SERVER: devices["lxcs"].index}
        config = self._config(host, devices["eth0"], self._events)
        loaded = loader.load(self.site, config, objects=self._objects, capacities=self._capacities)
        self.maps = loaded.maps
        self.programs = loaded.programs
        attacher = Attacher(self.site, loaded.programs)
        for name in ("lxcc", "lxcs"):
            attacher.apply(*pod_plan(name, devices[name].index))
        self._write_rows(loaded.maps, devices, self._policy_rows)
        layout_ = layout.struct("event_record")
        self._rings = [Ring(ring, layout_) for _, ring in loader.rings(self.site)]

    @staticmethod
    def _config(host, net, events: bool) -> DatapathConfig:  # type: ignore[no-untyped-def]  # called from here alone
        return DatapathConfig(
            node_v4=ip_address("172.31.0.1"),
            node_v6=None,
            router_v4=ip_address(ROUTER),
            router_v6=None,
            pods_v4=ip_network("10.91.0.0/16"),
            pods_v6=None,
            net_ifindex=net.index,
            host_ifindex=host.index,
            host_mac=host.mac,
            events=events,
        )

    def addresses(self, address: IPv4Address) -> Sequence[str]:
        """A pod's own address, and a gateway that answers for everything."""
        return [
            f"addr add {address}/32 dev eth0",
            f"route add {ROUTER}/32 dev eth0 scope link",
            f"route add default via {ROUTER} dev eth0",
        ]

    def _write_rows(self, maps, devices, rows: int) -> None:  # type: ignore[no-untyped-def]  # called from here alone
        policy = PolicyMap(maps)
        policy.write_classes(np.array([1001, 1002], "<u4"), np.array([11, 12], "<u4"))
        policy.write(*policy_rows(rows))
        IpcacheMap(maps).write(
            [IpcacheEntry(ip_network(f"{a}/32"), number) for a, number in IDENTITIES.items()]
        )
        EndpointMap(maps).write(
            [
                EndpointEntry(
                    id=number,
                    ifindex=devices[device].index,
                    v4=address,
                    v6=V6[address],
                    mac=MACS[address],
                    host_mac=devices[device].mac,
                    identity=IDENTITIES[address],
                    policy=number,
                    generation=1,
                    ready=True,
                    ingress_enforced=True,
                    egress_enforced=True,
                )
                for number, (address, device) in enumerate(
                    ((CLIENT, "lxcc"), (SERVER, "lxcs")), start=1
                )
            ]
        )

    def drain(self) -> int:
        """Reads every ring empty; how many events there were."""
        return sum(len(ring.read()) for ring in self._rings)


def policy_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both pods: the bases, those that let the client in, and `count - 1` more."""
    key, value = layout.map_types("policy")
    keys = [(72, p, 0, d, 0, 0, 3, 0) for p in (1, 2) for d in (0, 1)]
    keys += [(96, 1, 12, 1, 6, PORT, 1, 1), (96, 2, 11, 0, 6, PORT, 1, 1)]
    keys += [
        (96, 1 + i % 2, 20 + i // 500, i & 1, 6, 6000 + i % 500, 1, 1) for i in range(count - 1)
    ]
    table = np.array(keys, "<i8")
    rows, values = np.zeros(len(keys), key), np.zeros(len(keys), value)
    fields = ("prefixlen", "policy", "class", "direction", "protocol", "port")
    for index, field in enumerate(fields):
        rows[field] = table[:, index]
    values["verdict"], values["precedence"] = table[:, 6], table[:, 7]
    values["prefixlen"], values["provenance"] = table[:, 0], 1
    return rows, values
