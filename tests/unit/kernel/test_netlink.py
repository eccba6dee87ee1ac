"""The netlink codec: what goes in comes out, and garbage does no harm."""

import struct
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.kernel import rtnetlink
from cilia.kernel.netlink import attribute, attributes, nested


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=70), max_size=8))
def test_attributes_come_back(values: dict[int, bytes]) -> None:
    raw = b"".join(attribute(kind, payload) for kind, payload in values.items())
    assert len(raw) % 4 == 0
    assert attributes(raw) == values


@given(st.binary(max_size=100))
def test_garbage_is_read_as_far_as_it_makes_sense(raw: bytes) -> None:
    assert all(len(value) <= len(raw) for value in attributes(raw).values())


def test_nested_attributes() -> None:
    outer = attributes(nested(18, attribute(1, "veth"), nested(2, attribute(4, 1500))))
    inner = attributes(outer[18])
    assert inner[1] == b"veth\0"
    assert attributes(inner[2])[4] == struct.pack("<I", 1500)


def test_a_route_by_way_of_a_gateway() -> None:
    request = rtnetlink.add_route(ip_network("10.0.0.0/8"), 7, via=ip_address("10.0.0.1"), mtu=1400)
    family, bits = request.body[0], request.body[1]
    found = attributes(request.body[12:])
    assert (family, bits) == (2, 8)
    assert found[1] == bytes([10, 0, 0, 0])
    assert found[5] == bytes([10, 0, 0, 1])
    assert struct.unpack("<I", found[4]) == (7,)
    assert request.subject == "add route to 10.0.0.0/8"


def test_an_address_is_never_probed_for_duplicates() -> None:
    request = rtnetlink.add_address(3, ip_interface("fd00::5/128"))
    assert attributes(request.body[8:])[8] == struct.pack("<I", 2)


@pytest.mark.parametrize("mac", ["02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"])
def test_macs(mac: str) -> None:
    assert rtnetlink.mac_text(rtnetlink.mac_bytes(mac)) == mac
