"""The 16-byte address, and what C's numbers are in Python."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.datapath import layout

ADDRESSES = st.ip_addresses()
MAPPED = ipaddress.ip_network("::ffff:0:0/96")


@given(ADDRESSES)
def test_addresses_come_back(address: layout.Address) -> None:
    raw = layout.encode_address(address)
    assert len(raw) == 16
    found = layout.decode_address(raw)
    if address.version == 6 and address in MAPPED:
        assert found == address.ipv4_mapped
    else:
        assert found == address


@given(st.lists(ADDRESSES, max_size=20))
def test_a_column_of_addresses_finds_each(addresses: list[layout.Address]) -> None:
    column = layout.encode_addresses(addresses)
    assert column.shape == (len(addresses),)
    for address in addresses:
        wanted = np.void(layout.encode_address(address))
        assert bool((column == wanted).any())


def test_no_address_is_all_zero() -> None:
    assert layout.encode_address(None) == bytes(16)
    assert layout.encode_addresses([]).shape == (0,)


def test_macs_come_back() -> None:
    assert layout.decode_mac(layout.encode_mac("02:00:63:69:6c:61")) == "02:00:63:69:6c:61"


def test_numbers_of_c() -> None:
    assert layout.constant("DROP_EP_NOT_READY") == 203
    assert layout.constant("POLICY_FULL_BITS") == 96
    assert layout.struct("event_record").itemsize == 120
    assert layout.map_types("endpoint_addr")[0] == np.dtype("V16")
    with pytest.raises(KeyError):
        layout.constant("NOTHING")
