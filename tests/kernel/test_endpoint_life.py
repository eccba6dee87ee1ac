"""A pod's life through the real plugin: closed, open, restarted, gone."""

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cilia.datapath import layout, loader
from cilia.datapath.config import GATEWAY_MAC
from cilia.datapath.maps.endpoints import EndpointMap
from cilia.kernel import netns
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.rtnetlink import delete_link, links
from cilia.model.site import NodeSite
from cilia.state.endpoints import EndpointState
from kernel.node import ROUTERS, Allowed, Node, Runtime, site_of


@pytest.fixture
def site(name: str, namespace: Path, tmp_path: Path, cgroup: Path) -> Iterator[NodeSite]:
    one = site_of(name, namespace, tmp_path, cgroup)
    yield one
    loader.unload(one)


@pytest.fixture
def pod_namespace(name: str) -> Iterator[Callable[[str], Path]]:
    made = []

    def make(pod: str) -> Path:
        made.append(f"{name}-{pod}")
        return netns.create(made[-1])

    yield make
    for one in made:
        netns.delete(one)


@pytest.fixture
def runtime(site: NodeSite, tmp_path: Path) -> Runtime:
    return Runtime(site, tmp_path / "cni")


async def until(condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while not (found := condition()):
            await asyncio.sleep(0.005)
    return found


def devices(site: NodeSite) -> set[str]:
    with NetlinkSocket(site.netns) as connection:
        return {row.name for row in links(connection) if row.name.startswith("lxc")}


def addresses_of(result: Any) -> list[str]:
    return [one["address"].split("/")[0] for one in result["ips"]]


async def talk(client: Path, server: Path, address: str) -> bytes:
    """What a server in one pod gets from a client in another, over TCP."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = netns.open_socket(server, family, socket.SOCK_STREAM)
    caller = netns.open_socket(client, family, socket.SOCK_STREAM)
    loop = asyncio.get_running_loop()
    for one in (listener, caller):
        one.setblocking(False)
    with listener, caller:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, 80))
        listener.listen()
        async with asyncio.timeout(5):
            await loop.sock_connect(caller, (address, 80))
            await loop.sock_sendall(caller, b"hello")
            accepted, _ = await loop.sock_accept(listener)
            with accepted:
                return await loop.sock_recv(accepted, 100)


async def test_from_add_to_del(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    one, two = pod_namespace("one"), pod_namespace("two")
    async with Node(site).running() as node:
        node.place_pod("one", app="a")
        node.place_pod("two", app="b")
        status, result = await runtime.run("ADD", "one", one)
        assert status == 0
        assert addresses_of(result) == ["10.0.1.2", "fd00:10:0:1::2"]
        assert result["interfaces"][1]["sandbox"] == str(one)
        _, second = await runtime.run("ADD", "two", two)
        (row,) = node.tables.endpoints.by("pod", ("default", "one"))
        assert (row.state, row.identity, row.policy_revision) == (EndpointState.READY, 256, 1)
        assert [entry.state for entry in reversed(node.endpoints.journal.of(row.id))] == [
            "waiting-for-identity", "waiting-to-regenerate", "regenerating", "ready",
        ]  # fmt: skip
        assert (await runtime.run("CHECK", "one", one, prevResult=result))[0] == 0
        for address in addresses_of(second):
            assert await talk(one, two, address) == b"hello"
        assert node.loaded.maps["conntrack"].count() >= 2
        assert await runtime.run("DEL", "one", one) == (0, None)
        assert await runtime.run("DEL", "one", one) == (0, None)
        assert node.tables.endpoints.get(row.id) is None
        assert node.loaded.maps["conntrack"].count() == 0
        assert len(devices(site)) == 1
        assert len(node.identities.held) == 1
        assert EndpointMap(node.loaded.maps).read(row.ifindex) is None
        assert (await runtime.run("CHECK", "one", one))[1]["code"] == 3
        await runtime.run("DEL", "two", two)
        assert devices(site) == set()
        assert node.addresses.v4 is not None
        assert node.addresses.v4.used == 0
        assert node.loaded.maps["endpoint_addr"].count() == 0


def neighbours(namespace: Path) -> dict[str, tuple[str, list[str]]]:
    listing = subprocess.run(
        ["nsenter", f"--net={namespace}", "ip", "-j", "neigh", "show", "dev", "eth0"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {row["dst"]: (row["lladdr"], row["state"]) for row in json.loads(listing.stdout)}


async def test_a_pod_never_has_to_ask_for_its_router(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    one = pod_namespace("one")
    async with Node(site).running() as node:
        node.place_pod("one", app="a")
        await runtime.run("ADD", "one", one)
        known = (GATEWAY_MAC, ["PERMANENT"])
        assert neighbours(one) == {str(router): known for router in ROUTERS}
        await runtime.run("DEL", "one", one)


async def test_closed_until_its_policy_is_in(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    one, two = pod_namespace("one"), pod_namespace("two")
    node = Node(site, wait_s=0)
    node.allow.clear()
    async with node.running():
        for pod, place in (("one", one), ("two", two)):
            node.place_pod(pod)
            _, result = await runtime.run("ADD", pod, place)
        await until(lambda: all(r.identity for r in node.tables.endpoints.snapshot()))
        assert not any(e.ready for e in EndpointMap(node.loaded.maps).entries())
        with netns.open_socket(one, socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"early", (addresses_of(result)[0], 9))
        drops = node.loaded.maps["metric"].entries()[1]["packets"].sum(axis=1)
        width = layout.constant("METRIC_DIRECTIONS")
        reason = layout.constant("DROP_EP_NOT_READY")
        assert drops[reason * width : (reason + 1) * width].sum() > 0
        node.allow.set()
        await until(lambda: all(e.ready for e in EndpointMap(node.loaded.maps).entries()))
        assert await talk(one, two, addresses_of(result)[0]) == b"hello"


async def test_another_agent_adopts_everything(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    one, two = pod_namespace("one"), pod_namespace("two")
    async with Node(site).running() as node:
        for pod, place in (("one", one), ("two", two)):
            node.place_pod(pod, app=pod)
            _, result = await runtime.run("ADD", pod, place)
        before = node.attacher.attached(), EndpointMap(node.loaded.maps).entries()
        rows = node.tables.endpoints.snapshot()
    address = addresses_of(result)[0]
    assert await talk(one, two, address) == b"hello"  # nobody is there but the kernel
    async with Node(site).running() as again:
        assert again.loaded.adopted
        assert (again.attacher.attached(), EndpointMap(again.loaded.maps).entries()) == before
        restored = again.tables.endpoints.snapshot()
        assert {row.state for row in restored} == {EndpointState.RESTORING}
        assert [msgspec.structs.replace(r, state=rows[0].state) for r in restored] == [
            msgspec.structs.replace(r, named_ports=()) for r in rows
        ]
        assert again.tables.endpoints.synced.is_set()
        assert len(again.identities.held) == 2
        again.endpoints.assign({row.id: _allowed() for row in restored})
        assert {r.state for r in again.tables.endpoints.snapshot()} == {EndpointState.READY}
        assert await talk(one, two, address) == b"hello"
        third = pod_namespace("three")
        again.place_pod("three")
        _, result = await runtime.run("ADD", "three", third)
        assert addresses_of(result)[0] == "10.0.1.4"


def _allowed() -> Any:
    return Allowed(generation=2)


async def test_a_restart_clears_away_what_died_meanwhile(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    async with Node(site).running() as node:
        for pod in ("one", "two"):
            node.place_pod(pod)
            await runtime.run("ADD", pod, pod_namespace(pod))
        dead = node.endpoints.find("box-one")[0]
    with NetlinkSocket(site.netns) as connection:
        connection.commit(delete_link(dead.device))
    async with Node(site).running() as again:
        assert [row.pod for row in again.tables.endpoints.snapshot()] == ["two"]
        assert [e.id for e in EndpointMap(again.loaded.maps).entries()] == [2]
        assert again.loaded.maps["endpoint_addr"].count() == 2
        assert again.guarded() == 1
        assert again.addresses.v4 is not None
        assert again.addresses.v4.owner(ip_address(dead.v4 or "")) is None


async def test_the_identity_waits_for_the_api_server_and_follows_labels(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    node = Node(site, wait_s=0)
    async with node.running():
        node.identities.answering.clear()
        status, _ = await runtime.run("ADD", "one", pod_namespace("one"))
        assert status == 0
        (row,) = node.tables.endpoints.snapshot()
        assert row.state is EndpointState.WAITING_FOR_IDENTITY
        node.place_pod("one", app="a")
        await asyncio.sleep(0)
        node.place_pod("one", app="b")
        node.identities.answering.set()
        await until(lambda: node.tables.endpoints.snapshot()[0].state is EndpointState.READY)
        assert "k8s:app=b" in node.tables.endpoints.snapshot()[0].labels
        first = node.tables.endpoints.snapshot()[0].identity
        node.place_pod("one", app="c")
        await until(lambda: node.tables.endpoints.snapshot()[0].identity != first)
        assert len(node.identities.held) == 1


async def test_what_cannot_be_done_leaves_nothing(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    node = Node(site, wait_s=0, bits=30)
    async with node.running():
        one, two = pod_namespace("one"), pod_namespace("two")
        assert (await runtime.run("ADD", "one", "/run/netns/ct-none"))[1]["code"] == 4
        assert (await runtime.run("ADD", "one", site.netns or ""))[1]["code"] == 4
        assert (await runtime.run("ADD", "../x", one))[1]["code"] == 4
        assert (await runtime.run("ADD", "one", one, cniVersion="9.9"))[1]["code"] == 1
        assert devices(site) == set()
        assert node.addresses.v4 is not None
        assert node.addresses.v4.used == 0
        assert list((site.state / "endpoints").glob("*")) == []
        assert (await runtime.run("ADD", "one", one))[0] == 0
        assert (await runtime.run("ADD", "one", one))[0] == 0  # once more: made anew
        assert len(devices(site)) == 1
        status, refusal = await runtime.run("ADD", "two", two)
        assert (status, refusal["code"]) == (1, 11)
        assert "in use by default/one" in refusal["msg"]


async def test_collecting_what_the_runtime_forgot(
    site: NodeSite, runtime: Runtime, pod_namespace: Callable[[str], Path]
) -> None:
    node = Node(site, wait_s=0)
    async with node.running():
        for pod in ("one", "two"):
            await runtime.run("ADD", pod, pod_namespace(pod))
        valid = [{"containerID": "box-two", "ifname": "eth0"}]
        assert (await runtime.run("GC", "", **{"cni.dev/valid-attachments": valid}))[0] == 0
        assert [row.pod for row in node.tables.endpoints.snapshot()] == ["two"]
        assert (await runtime.run("GC"))[1]["code"] == 7
        assert (await runtime.run("STATUS"))[0] == 0


async def test_without_an_agent(site: NodeSite, runtime: Runtime) -> None:
    status, refusal = await runtime.run("ADD", "one", "/run/netns/x")
    assert (status, refusal["code"]) == (1, 11)
    assert "does not answer" in refusal["msg"]
    assert "start the agent" in refusal["details"]
    assert (await runtime.run("STATUS"))[1]["code"] == 50
    assert await runtime.run("DEL", "one", "/run/netns/x") == (0, None)
    assert (await runtime.run("VERSION"))[1]["supportedVersions"][-1] == "1.1.0"
