"""Devices, addresses, routes, neighbours, sysctls, namespaces: as `ip` sees them."""

import ipaddress
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cilia.kernel import mounts, netns, sysctl
from cilia.kernel.errors import ExistsError, NotFoundError
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.rtnetlink import (
    VethEnd,
    add_address,
    add_neighbour,
    add_route,
    addresses,
    create_veth,
    delete_link,
    delete_route,
    disable_link_local,
    link,
    routes,
    set_link,
)
from cilia.model.errors import KernelError

OUT, IN = "02:00:00:00:00:01", "02:00:00:00:00:02"


def ip(name: str, *words: str) -> Any:
    output = subprocess.run(
        ["ip", "-n", name, "-j", *words], capture_output=True, text=True, check=True
    ).stdout
    return json.loads(output)


@pytest.fixture
def pod(name: str) -> Any:
    path = netns.create(f"{name}p")
    yield path
    netns.delete(f"{name}p")


def test_a_pair_reaches_from_one_namespace_into_another(
    name: str, namespace: Path, pod: Path
) -> None:
    handle = netns.open_namespace(pod)
    with NetlinkSocket(namespace) as host, NetlinkSocket(pod) as inside:
        host.commit(create_veth(VethEnd("lxc0", OUT), VethEnd("eth0", IN, handle), 1400))
        os.close(handle)
        outer, inner = link(host, "lxc0"), link(inside, "eth0")
        assert outer is not None
        assert inner is not None
        assert (outer.mac, outer.mtu, outer.up, outer.kind) == (OUT, 1400, False, "veth")
        assert (inner.mac, inner.peer) == (IN, outer.index)
        host.commit(disable_link_local(outer.index), set_link(outer.index, up=True))
        inside.commit(
            disable_link_local(inner.index),
            set_link(inner.index, up=True),
            add_address(inner.index, ipaddress.ip_interface("10.0.1.5/32")),
            add_address(inner.index, ipaddress.ip_interface("fd00::5/128")),
            add_route(ipaddress.ip_network("10.0.1.1/32"), inner.index),
            add_route(
                ipaddress.ip_network("0.0.0.0/0"),
                inner.index,
                via=ipaddress.ip_address("10.0.1.1"),
                mtu=1300,
            ),
            add_neighbour(inner.index, ipaddress.ip_address("10.0.1.1"), OUT),
        )
        found = {str(one) for index, one in addresses(inside) if index == inner.index}
        assert found == {"10.0.1.5/32", "fd00::5/128"}
        assert {str(row.destination) for row in routes(inside)} >= {"10.0.1.1/32", "0.0.0.0/0"}
    assert ip(name, "addr", "show", "lxc0")[0]["addr_info"] == []
    default = ip(f"{name}p", "route", "show", "default")[0]
    assert (default["gateway"], default["metrics"]) == ("10.0.1.1", [{"mtu": 1300}])
    (neighbour,) = ip(f"{name}p", "neigh")
    assert (neighbour["dst"], neighbour["lladdr"]) == ("10.0.1.1", OUT)


def test_doing_it_twice_is_no_error(namespace: Path) -> None:
    with NetlinkSocket(namespace) as host:
        loopback = ipaddress.ip_interface("10.9.9.9/32")
        host.commit(create_veth(VethEnd("a", OUT), VethEnd("b", IN), 1500))
        for _ in range(2):
            host.commit(add_address(1, loopback))
        for _ in range(2):
            host.commit(delete_link("a"))
        assert link(host, "a") is None


def test_routes_come_and_go(namespace: Path) -> None:
    with NetlinkSocket(namespace) as host:
        host.commit(create_veth(VethEnd("a", OUT), VethEnd("b", IN), 1500))
        row = link(host, "a")
        assert row is not None
        host.commit(set_link(row.index, up=True))
        networks = [ipaddress.ip_network(text) for text in ("10.7.0.0/16", "fd07::/64")]
        for network in networks:
            host.commit(add_route(network, row.index))
        assert {one.destination for one in routes(host)} >= set(networks)
        for network in networks:
            host.commit(delete_route(network, row.index), delete_route(network, row.index))
        assert not {one.destination for one in routes(host)} & set(networks)


def test_a_refusal_carries_the_kernels_words_and_names_the_first(namespace: Path) -> None:
    with NetlinkSocket(namespace) as host:
        away = add_route(
            ipaddress.ip_network("10.0.0.0/8"), 1, via=ipaddress.ip_address("11.0.0.1")
        )
        with pytest.raises(KernelError, match=r"add route to 10\.0\.0\.0/8: .*(gateway|unreach)"):
            host.commit(set_link(1, up=True), away, set_link(1, mtu=1400))
        row = link(host, "lo")
        assert row is not None
        assert (row.up, row.mtu) == (True, 1400)


def test_names_that_linux_does_not_take_are_refused_before_it_is_asked() -> None:
    for bad in ("", "x" * 16, "a/b", ".", ".."):
        with pytest.raises(ValueError, match="device name"):
            create_veth(VethEnd(bad, OUT), VethEnd("b", IN), 1500)


def test_sysctls_belong_to_a_namespace(namespace: Path) -> None:
    before = sysctl.read("ipv4/ip_forward")
    sysctl.write("ipv4/ip_forward", 1, namespace)
    assert sysctl.read("ipv4/ip_forward", namespace) == "1"
    assert sysctl.read("ipv4/ip_forward") == before
    with pytest.raises(NotFoundError, match="net/ipv4/nothing"):
        sysctl.write("ipv4/nothing", 1, namespace)


def test_entering_a_namespace_comes_back_even_after_an_error(namespace: Path) -> None:
    home = netns.identity(None)

    def fail() -> None:
        assert netns.identity(None) == netns.identity(namespace) != home
        raise RuntimeError

    with pytest.raises(RuntimeError):
        netns.run(namespace, fail)
    assert netns.identity(None) == home
    with pytest.raises(NotFoundError), netns.inside("/run/netns/ct-nothing"):
        pass
    with pytest.raises(KernelError, match="enter network namespace"), netns.inside("/etc/passwd"):
        pass


def test_a_socket_stays_in_the_namespace_where_it_was_opened(namespace: Path) -> None:
    with netns.open_socket(namespace, socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind(("127.0.0.1", 0))
        taken = one.getsockname()[1]
        with socket.socket() as here:
            here.bind(("127.0.0.1", taken))


def test_a_name_is_taken_once(name: str, namespace: Path) -> None:
    assert namespace.exists()
    with pytest.raises(ExistsError):
        netns.create(name)
    assert not netns.delete(f"{name}-never")


def test_where_things_are_mounted(pins: Path, tmp_path: Path) -> None:
    assert mounts.is_bpffs(pins / "not" / "yet")
    assert not mounts.is_bpffs(tmp_path)
    assert (mounts.cgroup2_root() / "cgroup.procs").exists()


def test_a_bpf_file_system_of_ones_own(tmp_path: Path) -> None:
    place = tmp_path / "bpf"
    mounts.mount_bpffs(place)
    try:
        assert mounts.is_bpffs(place)
    finally:
        mounts.unmount(place)
    assert not mounts.is_bpffs(place)
