"""A node with two pods and a world beyond it, in namespaces, with every program attached.

    pod-a ─┐                          1.1.1.1        192.0.2.1
           ├─ node ── 172.30.0.0/24 ── world ── mtu 1300 ── far
    pod-b ─┘

The world knows the way to the pods, so that an address that leaks would be answered: it
is the servers that tell whom they saw.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bpf.harness import HOST, HOST_MAC, NODE, OBJECTS, ROUTER, SMALL, WORLD, Datapath
from cilia.kernel import netns
from cilia.kernel.links import Hook, attach_clsact, attach_device, has_tcx
from cilia.kernel.objects import BpfObject, Program

FAR = {4: "192.0.2.1", 6: "2001:db8::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_PODS = {"a": ("0a", 10), "b": ("14", 20)}
_DEVICES = ("lxca", "lxcb", "cilia_host", "eth0")
_PATIENCE_S = 10.0

_NODE = f"""
link set lo up
link add cilia_host address {HOST_MAC} type veth peer name cilia_net
link set cilia_host arp off up
link set cilia_net up
addr add {ROUTER[4]}/32 dev cilia_host
addr add {ROUTER[6]}/128 dev cilia_host nodad
link add eth0 type veth peer name eth0 netns {{world}}
link set eth0 up
addr add {NODE[4]}/24 dev eth0
addr add {NODE[6]}/64 dev eth0 nodad
route add 10.0.1.0/24 dev cilia_host src {ROUTER[4]}
route add fd00:10:0:1::/64 dev cilia_host
"""
_NODE_ROUTES = """
route add default via 172.30.0.1
route add default via fd00:30::1
"""
_WORLD = f"""
link set lo up
link set eth0 up
addr add 172.30.0.1/24 dev eth0
addr add fd00:30::1/64 dev eth0 nodad
addr add {WORLD[4]}/32 dev lo
addr add {WORLD[6]}/128 dev lo nodad
route add 10.0.1.0/24 via {NODE[4]}
route add fd00:10:0:1::/64 via {NODE[6]}
link add far mtu 1300 type veth peer name eth0 netns {{far}}
link set far up
addr add 192.0.2.254/24 dev far
addr add 2001:db8::fe/64 dev far nodad
"""
_FAR = f"""
link set lo up
link set eth0 mtu 1300 up
addr add {FAR[4]}/24 dev eth0
addr add {FAR[6]}/64 dev eth0 nodad
route add default via 192.0.2.254
route add default via 2001:db8::fe
"""
_POD = f"""
link set lo up
link set eth0 addrgenmode none
link set eth0 up
addr add 10.0.1.{{number}}/32 dev eth0
addr add fd00:10:0:1::{{number}}/128 dev eth0 nodad
route add {ROUTER[4]} dev eth0
route add default via {ROUTER[4]} dev eth0
route add {ROUTER[6]} dev eth0
route add default via {ROUTER[6]} dev eth0
"""
_LXC = """
link add lxc{pod} address 02:00:00:00:{mac}:02 type veth peer name eth0 \
address 02:00:00:00:{mac}:01 netns {name}
link set lxc{pod} addrgenmode none
link set lxc{pod} up
"""


class Live:
    """The namespaces, and the datapath in the node's."""

    def __init__(self, **config: Any) -> None:
        self._stack = ExitStack()
        try:
            self._lay_out()
            with netns.inside(self.path("node")):
                self._attach(config)
        except BaseException:
            self.close()
            raise

    def _lay_out(self) -> None:
        for place in ("node", "world", "far", "a", "b"):
            with netns.inside(netns.create(self.name(place))):
                # No duplicate detection: until it ends, a link-local address solicits nobody,
                # and the first second of a node that forwards IPv6 would be measured.
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
            self._stack.callback(netns.delete, self.name(place))
        self.ip("node", _NODE)
        self.ip("world", _WORLD)
        self.ip("far", _FAR)
        self.ip("node", _NODE_ROUTES)
        for pod, (mac, number) in _PODS.items():
            self.ip("node", _LXC.format(pod=pod, mac=mac, name=self.name(pod)))
            self.ip(pod, _POD.format(number=number))
        for place in ("node", "world"):
            with netns.inside(self.path(place)):
                for family in ("ipv4", "ipv6"):
                    Path(f"/proc/sys/net/{family}/conf/all/forwarding").write_text("1")

    def _attach(self, config: dict[str, Any]) -> None:
        room = {name: socket.if_nametoindex(name) for name in _DEVICES}
        self.datapath = Datapath("pod", room, SMALL, **config)
        self._stack.callback(self.datapath.close)
        for version, bits in ((4, 32), (6, 128)):
            for address in (ROUTER[version], NODE[version]):
                self.datapath.prefix(f"{address}/{bits}", HOST)
        with BpfObject(OBJECTS / "host.bpf.o") as opened:
            opened.set_global("config", self.datapath._config(room, config))
            for name in opened.map_names():
                if name in self.datapath.maps:
                    opened.reuse(name, self.datapath.maps[name])
                elif name in SMALL:
                    opened.resize(name, SMALL[name])
            opened.load()
            self.nat, programs = opened.maps["nat"], opened.programs
        plan: list[tuple[Program, str, Hook]] = [
            (self.datapath.programs["pod_from"], "lxca", Hook.TCX_INGRESS),
            (self.datapath.programs["pod_from"], "lxcb", Hook.TCX_INGRESS),
            (programs["host_to_pod"], "cilia_host", Hook.TCX_EGRESS),
            (programs["host_from_net"], "eth0", Hook.TCX_INGRESS),
            (programs["host_to_net"], "eth0", Hook.TCX_EGRESS),
        ]
        # As the agent attaches them: below kernel 6.6 there is clsact alone, which goes with its
        # device.
        tcx = has_tcx(self.datapath.programs["pod_from"])
        for program, device, hook in plan:
            if tcx:
                self._stack.callback(attach_device(program, room[device], hook).close)
            else:
                attach_clsact(program, room[device], hook)

    def close(self) -> None:
        """Leaves nothing behind."""
        self._stack.close()

    @staticmethod
    def name(place: str) -> str:
        """The namespace's name: node, world, far, a, b."""
        return f"ct-{os.getpid()}-{place}"

    def path(self, place: str) -> Path:
        """The namespace's path."""
        return netns.FOLDER / self.name(place)

    def ip(self, place: str, commands: str) -> None:
        """Runs lines of `ip -batch` there."""
        done = subprocess.run(
            ["ip", "-n", self.name(place), "-batch", "-"],
            input=commands.format(world=self.name("world"), far=self.name("far")),
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{place}: {done.stderr}"

    def run(self, place: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command there."""
        words = ["nsenter", f"--net={self.path(place)}", *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    def address(self, place: str, version: int) -> str:
        """The address of a place: those of the harness, and `far`."""
        return FAR[version] if place == "far" else self.datapath.address(place, version)

    def open(self, place: str, version: int, kind: int, port: int = 0) -> socket.socket:
        """A socket that lives there, bound to a port."""
        made = netns.open_socket(self.path(place), FAMILY[version], kind)
        made.settimeout(_PATIENCE_S)
        if port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::" if version == 6 else "0.0.0.0", port))
        return made

    @contextmanager
    def serve(
        self, place: str, version: int, port: int, answer: Callable[[socket.socket], None]
    ) -> Iterator[None]:
        """A TCP server there, with a thread for every client."""
        with self.open(place, version, socket.SOCK_STREAM, port) as listener:
            listener.listen()

            def accept() -> None:
                while True:
                    try:
                        client = listener.accept()[0]
                    except OSError:
                        return
                    client.settimeout(_PATIENCE_S)
                    with client:
                        answer(client)

            thread = threading.Thread(target=accept)
            thread.start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()
