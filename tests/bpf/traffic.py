"""A node, two pods and a world as namespaces, with the programs on their devices."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

from bpf.harness import HOST, HOST_MAC, NODE, OBJECTS, ROUTER, SMALL, WORLD, Datapath
from cilia.kernel import netns
from cilia.kernel.links import Hook, Link, attach_device
from cilia.kernel.objects import BpfObject

NAMES = ("node", "a", "b", "world")
_NODE = f"""
link set lo up
link add lxca address 02:00:00:00:0a:02 type veth peer name eth0 netns {{a}}
link add lxcb address 02:00:00:00:14:02 type veth peer name eth0 netns {{b}}
link add cilia_host address {HOST_MAC} type veth peer name cilia_net
link add eth0 mtu 1400 type veth peer name eth0 netns {{world}}
link set lxca addrgenmode none up
link set lxcb addrgenmode none up
link set cilia_host arp off addrgenmode none up
link set cilia_net addrgenmode none up
link set eth0 up
addr add {ROUTER[4]}/32 dev cilia_host
addr add {ROUTER[6]}/128 dev cilia_host nodad
addr add {NODE[4]}/24 dev eth0
addr add {NODE[6]}/64 dev eth0 nodad
route add 10.0.1.0/24 dev cilia_host src {ROUTER[4]}
route add fd00:10:0:1::/64 dev cilia_host src {ROUTER[6]}
route add default via 172.30.0.1 dev eth0
route add default via fd00:30::1 dev eth0
"""
_POD = f"""
link set lo up
link set eth0 addrgenmode none address 02:00:00:00:{{number:02x}}:01
addr add 10.0.1.{{number}}/32 dev eth0
addr add fd00:10:0:1::{{number}}/128 dev eth0 nodad
link set eth0 up
route add {ROUTER[4]}/32 dev eth0 scope link
route add {ROUTER[6]}/128 dev eth0
route add default via {ROUTER[4]} dev eth0
route add default via {ROUTER[6]} dev eth0
"""
_WORLD = f"""
link set lo up
link set eth0 mtu 1400 up
addr add 172.30.0.1/24 dev eth0
addr add fd00:30::1/64 dev eth0 nodad
addr add {WORLD[4]}/32 dev lo
addr add {WORLD[6]}/128 dev lo nodad
route add 10.0.0.0/16 via {NODE[4]}
route add fd00:10::/48 via {NODE[6]}
"""


class Fabric:
    """The namespaces by name, and the programs on the node's devices."""

    def __init__(self) -> None:
        """Makes the namespaces; `close` removes them."""
        self.names = {name: f"ct-{os.getpid()}-{name}" for name in NAMES}
        self.paths: dict[str, Path] = {}
        self.links: list[Link] = []
        for name in NAMES:
            self.paths[name] = netns.create(self.names[name])
        self._ip("node", _NODE.format(**self.names))
        self._ip("a", _POD.format(number=10))
        self._ip("b", _POD.format(number=20))
        self._ip("world", _WORLD)
        with netns.inside(self.paths["node"]):
            for family in ("ipv4", "ipv6"):
                Path(f"/proc/sys/net/{family}/conf/all/forwarding").write_text("1")
            devices = ("lxca", "lxcb", "cilia_host", "eth0")
            self.room = {name: socket.if_nametoindex(name) for name in devices}

    def _ip(self, name: str, commands: str) -> None:
        call = ["ip", "-n", self.names[name], "-batch", "-"]
        subprocess.run(call, input=commands, text=True, check=True, stdout=subprocess.PIPE)

    def attach(self) -> Datapath:
        """Loads both objects on the same maps and attaches them; the pods enforce nothing."""
        plain = {"masquerade_v4": 0, "masquerade_v6": 0}
        pod = Datapath("pod", self.room, SMALL, **plain)
        host = BpfObject(OBJECTS / "host.bpf.o")
        with host:
            host.set_global("config", pod.config)
            for name in host.map_names():
                if name in pod.maps:
                    host.reuse(name, pod.maps[name])
            host.load()
        for address in (*NODE.values(), *ROUTER.values()):
            pod.prefix(address, HOST)
        plan = (
            (pod.programs["pod_from"], "lxca", Hook.TCX_INGRESS),
            (pod.programs["pod_from"], "lxcb", Hook.TCX_INGRESS),
            (host.programs["host_to_pod"], "cilia_host", Hook.TCX_EGRESS),
            (host.programs["host_from_net"], "eth0", Hook.TCX_INGRESS),
            (host.programs["host_to_net"], "eth0", Hook.TCX_EGRESS),
        )
        with netns.inside(self.paths["node"]):
            for program, device, hook in plan:
                self.links.append(attach_device(program, self.room[device], hook))
        return pod

    def detach(self) -> None:
        """Takes the programs off."""
        for link in self.links:
            link.close()
        self.links.clear()

    def socket(self, place: str, version: int, kind: int) -> socket.socket:
        """A socket in a namespace that gives up after two seconds."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        made = netns.open_socket(self.paths[place], family, kind)
        made.settimeout(2)
        return made

    def close(self) -> None:
        """Removes everything."""
        self.detach()
        for name in self.names.values():
            netns.delete(name)


def exchange(
    fabric: Fabric, version: int, source: str, target: tuple[str, Any], amount: int = 200_000
) -> int:
    """Sends bytes over a new TCP connection and half of them back; how many came back.

    Args:
        target: The namespace that listens, and the address that the client calls.

    Raises:
        TimeoutError: Nothing came through.
    """
    place, address = target
    with (
        fabric.socket(place, version, socket.SOCK_STREAM) as server,
        fabric.socket(source, version, socket.SOCK_STREAM) as client,
    ):
        server.bind(("" if version == 4 else "::", 0))
        server.listen()
        client.connect((address, server.getsockname()[1]))
        served, _ = server.accept()
        with served:
            served.settimeout(2)
            _pump(client, served, amount)
            return _pump(served, client, amount // 2)


def _pump(sender: socket.socket, receiver: socket.socket, amount: int) -> int:
    """Moves `amount` bytes through a connection in one thread."""
    sent = received = 0
    while received < amount:
        if sent < amount:
            sent += sender.send(bytes(min(8192, amount - sent)))
        received += len(receiver.recv(1 << 20))
    return received
