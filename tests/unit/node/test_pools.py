"""The node's pod networks: what is taken, what is refused, what is remembered."""

import asyncio
from pathlib import Path

import pytest

from cilia.model.errors import InvalidValue
from cilia.node.pools import PodNetworkMemory, parse_pod_networks, wait_pod_networks
from cilia.state import nodes
from cilia.state.nodes import Node


def test_the_first_network_of_each_enabled_family_counts() -> None:
    texts = ["10.0.1.0/24", "fd00:10:0:1::/64", "10.0.9.0/24"]
    assert parse_pod_networks(texts, ipv4=True, ipv6=True).texts == tuple(texts[:2])
    assert parse_pod_networks(texts, ipv4=False, ipv6=True).texts == (texts[1],)


@pytest.mark.parametrize("text", ["10.0.1.0/31", "10.0.1.7/24", "pods", ""])
def test_what_cannot_be_a_pod_network_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="pod network"):
        parse_pod_networks([text], ipv4=True, ipv6=True)


def test_networks_are_remembered_and_a_broken_file_is_as_none(tmp_path: Path) -> None:
    memory = PodNetworkMemory(tmp_path / "state" / "pod-networks.json")
    assert memory.load() == ()
    memory.save(("10.0.1.0/24",))
    assert memory.load() == ("10.0.1.0/24",)
    (tmp_path / "state" / "pod-networks.json").write_text('["10.0.')
    assert memory.load() == ()


def test_waiting_ends_when_our_node_has_networks() -> None:
    async def scene() -> tuple[str, ...]:
        table = nodes.table()
        table.upsert(Node("other", (), ("10.0.2.0/24",)), Node("own", (), ()))
        table.mark_synced()
        loop = asyncio.get_running_loop()
        loop.call_soon(table.upsert, Node("own", (), ("10.0.1.0/24",)))
        async with asyncio.timeout(5):
            return await wait_pod_networks(table, "own")

    assert asyncio.run(scene()) == ("10.0.1.0/24",)
