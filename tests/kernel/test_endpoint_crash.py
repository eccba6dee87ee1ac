"""An agent that dies at any moment of ADD or DEL leaves nothing that the next one keeps wrongly."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cilia.datapath import loader
from cilia.datapath.maps.endpoints import EndpointMap
from cilia.endpoint.cni import PodRequest
from cilia.endpoint.devices import PodDevices, device_name
from cilia.endpoint.kernel import closed_entry
from cilia.endpoint.store import EndpointRecord, EndpointStore
from cilia.kernel import netns
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.rtnetlink import links
from cilia.model.errors import CiliaError
from cilia.model.site import NodeSite
from kernel.node import Node, Runtime, site_of


@pytest.fixture
def site(name: str, namespace: Path, tmp_path: Path, cgroup: Path) -> Iterator[NodeSite]:
    one = site_of(name, namespace, tmp_path, cgroup)
    yield one
    loader.unload(one)


@pytest.fixture
def pods(name: str) -> Iterator[list[Path]]:
    paths = [netns.create(f"{name}-p{number}") for number in range(12)]
    yield paths
    for path in paths:
        netns.delete(path.name)


def record(place: Path) -> EndpointRecord:
    return EndpointRecord(
        id=7, namespace="default", pod="one", uid="", container="box-one", ifname="eth0",
        netns=str(place), device=device_name("box-one", "eth0"), mac="02:00:00:00:00:07",
        host_mac="02:00:00:00:00:08", v4="10.0.1.9", v6="fd00:10:0:1::9", mtu=1500,
    )  # fmt: skip


def devices(site: NodeSite) -> list[str]:
    with NetlinkSocket(site.netns) as connection:
        return [row.name for row in links(connection) if row.name.startswith("lxc")]


@pytest.mark.parametrize("stage", ["named", "plugged", "closed"])
async def test_an_add_that_did_not_finish_is_cleared_away(
    site: NodeSite, pods: list[Path], stage: str
) -> None:
    dying = Node(site)
    plumbing = dying.endpoints._plumbing
    one = record(pods[0])
    plumbing.store.save(one)
    if stage != "named":

        def close(ifindex: int) -> None:
            if stage == "closed":
                plumbing.kernel.close(one, ifindex)
                plumbing.kernel.attach(one, ifindex)

        plumbing.devices.connect(one, close)
        assert len(devices(site)) == 1
    async with Node(site).running() as node:
        assert devices(site) == []
        assert node.tables.endpoints.snapshot() == []
        assert node.loaded.maps["endpoint"].count() == 0
        assert node.loaded.maps["endpoint_addr"].count() == 0
        assert node.attacher.attached() == {}
        assert EndpointStore(site.state / "endpoints").load() == []


async def test_a_del_that_did_not_finish_leaves_the_pod_closed_until_it_is_repeated(
    site: NodeSite, pods: list[Path], tmp_path: Path
) -> None:
    runtime = Runtime(site, tmp_path / "cni")
    async with Node(site).running() as node:
        node.place_pod("one")
        assert (await runtime.run("ADD", "one", pods[0]))[0] == 0
        (one,) = node.endpoints.records.values()
        node.endpoints._plumbing.kernel.remove(one)
    async with Node(site).running() as again:
        (entry,) = EndpointMap(again.loaded.maps).entries()
        assert not entry.ready
        assert again.guarded() == 1
        assert await runtime.run("DEL", "one") == (0, None)
        assert devices(site) == []


async def test_rows_without_a_record_go(site: NodeSite, pods: list[Path]) -> None:
    dying = Node(site)
    one = msgspec.structs.replace(record(pods[0]), ifindex=4242)
    EndpointMap(dying.loaded.maps).write([closed_entry(one, one.ifindex)])
    async with Node(site).running() as node:
        assert EndpointMap(node.loaded.maps).entries() == []
        assert node.loaded.maps["endpoint_addr"].count() == 0


async def test_many_at_once_and_the_same_one_twice(site: NodeSite, pods: list[Path]) -> None:
    async with Node(site).running() as node:

        def request(number: int) -> PodRequest:
            node.place_pod(f"p{number}")
            return PodRequest(f"box-{number}", str(pods[number]), "eth0", "default", f"p{number}")

        results = await asyncio.gather(*(node.endpoints.add(request(n % 10)) for n in range(20)))
        assert len({one.host_device for one in results}) == 10
        rows = node.tables.endpoints.snapshot()
        assert len(rows) == len({row.v4 for row in rows}) == len(devices(site)) == 10
        assert node.guarded() == 10
        gone = await asyncio.gather(*(node.endpoints.delete(f"box-{n % 10}") for n in range(30)))
        assert sum(gone) == 10
        assert devices(site) == []
        assert node.attacher.attached() == {}
        assert node.addresses.v4 is not None
        assert node.addresses.v4.used == 0
        assert node.identities.held == []


async def test_a_pod_whose_interface_is_taken_is_refused_whole(
    site: NodeSite, pods: list[Path]
) -> None:
    async with Node(site).running() as node:
        other = PodDevices(site.netns, (None, None))
        stranger = msgspec.structs.replace(record(pods[0]), device="stranger0")
        other.connect(stranger, lambda _: None)
        request = PodRequest("box", str(pods[0]), "eth0", "default", "p")
        with pytest.raises(CiliaError, match="create veth lxc"):
            await node.endpoints.add(request)
        assert devices(site) == []
        assert node.loaded.maps["endpoint"].count() == 0
        other.disconnect("stranger0")
