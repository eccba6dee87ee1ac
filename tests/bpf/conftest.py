"""A network namespace with a node's devices and routes, and objects with fresh maps."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpf.harness import HOST_MAC, NODE, SMALL, Datapath
from cilia.kernel import netns

_DEVICES = ("lxca", "lxcb", "cilia_host", "eth0")
_SET_UP = f"""
link add lxca type veth peer name lxca_peer
link add lxcb type veth peer name lxcb_peer
link add cilia_host address {HOST_MAC} type veth peer name cilia_net
link add eth0 address 02:00:00:00:00:03 type veth peer name eth0_peer
link set lo up
link set lxca up
link set lxca_peer up
link set lxcb up
link set lxcb_peer up
link set cilia_host up
link set cilia_net up
link set eth0 up
link set eth0_peer up
addr add 10.0.1.1/32 dev cilia_host
addr add fd00:10:0:1::1/128 dev cilia_host nodad
addr add {NODE[4]}/24 dev eth0
addr add {NODE[6]}/64 dev eth0 nodad
route add 10.0.1.0/24 dev cilia_host
route add fd00:10:0:1::/64 dev cilia_host
route add default via 172.30.0.1 dev eth0
route add default via fd00:30::1 dev eth0
route add unreachable 192.0.2.0/24
route add unreachable 2001:db8::/32
neigh add 172.30.0.1 lladdr 02:00:00:00:00:99 dev eth0
neigh add fd00:30::1 lladdr 02:00:00:00:00:99 dev eth0
"""
_FORWARDING = ("ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding")


@pytest.fixture(scope="session")
def namespace() -> Iterator[Path]:
    """A network namespace with a node's devices and routes."""
    name = f"ct-{os.getpid()}-bpf"
    path = netns.create(name)
    try:
        commands = ["ip", "-n", name, "-batch", "-"]
        subprocess.run(commands, input=_SET_UP, text=True, check=True, stdout=subprocess.PIPE)
        with netns.inside(path):
            for setting in _FORWARDING:
                Path("/proc/sys/net", setting).write_text("1")
        yield path
    finally:
        netns.delete(name)


@pytest.fixture
def room(namespace: Path) -> Iterator[dict[str, int]]:
    """Indexes of the node's devices by name; the test runs inside their namespace."""
    with netns.inside(namespace):
        yield {name: socket.if_nametoindex(name) for name in _DEVICES}


@pytest.fixture
def load(room: dict[str, int]) -> Iterator[Callable[..., Datapath]]:
    """Loads an object with fresh maps: `load("pod", capacities={...}, events=0, ...)`."""
    loaded: list[Datapath] = []

    def one(name: str, capacities: dict[str, int] | None = None, **config: Any) -> Datapath:
        loaded.append(Datapath(name, room, SMALL | (capacities or {}), **config))
        return loaded[-1]

    yield one
    for datapath in loaded:
        datapath.close()


@pytest.fixture
def pod(load: Callable[..., Datapath]) -> Datapath:
    """pod.bpf.c with two pods that enforce nothing."""
    return load("pod")


@pytest.fixture
def host(load: Callable[..., Datapath]) -> Datapath:
    """host.bpf.c with two pods that enforce nothing."""
    return load("host")


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def version(request: pytest.FixtureRequest) -> int:
    """Both IP versions, one after the other."""
    return int(request.param)
