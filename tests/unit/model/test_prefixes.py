"""Prefixes in bulk and port ranges, against Python's own arithmetic."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.model.cidrs import cidr_set, plain_cidr_set, require_inside
from cilia.model.errors import InvalidValue
from cilia.model.ports import port_masks
from cilia.model.prefixes import (
    are_v4,
    distinct,
    last_keys,
    longest_matches,
    parse_prefixes,
    prefix_key,
    prefix_of_key,
)

V4 = st.builds(lambda a, b: ipaddress.ip_network((a, b), strict=False),
               st.integers(0, 2**32 - 1), st.integers(0, 32))  # fmt: skip
V6 = st.builds(lambda a, b: ipaddress.ip_network((a, b), strict=False),
               st.integers(2**64, 2**128 - 1), st.integers(0, 128))  # fmt: skip
NETWORKS = V4 | V6


@given(NETWORKS)
def test_a_key_names_its_prefix(network):
    key = prefix_key(network)
    assert len(key) == 17
    assert prefix_of_key(key) == network
    assert prefix_of_key(key.rstrip(b"\0")) == network


@given(st.lists(NETWORKS, max_size=100))
def test_many_are_parsed_as_one_by_one(networks):
    keys = parse_prefixes([str(network) for network in networks])
    assert [prefix_of_key(key) for key in keys.tolist()] == networks
    assert are_v4(keys).tolist() == [network.version == 4 for network in networks]


@settings(max_examples=50)
@given(st.lists(V4, min_size=64, max_size=80), st.integers(0, 2**32 - 1))
def test_the_quick_way_clears_host_bits_too(networks, address):
    texts = [str(network) for network in networks]
    texts[0] = f"{ipaddress.ip_address(address)}/7"
    keys = parse_prefixes(texts)
    expected = [ipaddress.ip_network(text, strict=False) for text in texts]
    assert [prefix_of_key(key) for key in keys.tolist()] == expected


BAD = ["", "10.0.0.0/33", "10.0.0/8", "010.0.0.0/8", "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/",
       "1.2.3.4/8\n5.6.7.8/8", "256.0.0.0/8", "::/129", "fd00::g/8", "::ffff:10.0.0.0/104",
       "10.0.0.0.0/8", "٣.0.0.0/8", "10.0.0.0/٣"]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("others", [0, 100])
def test_what_is_no_prefix_is_named(bad, others):
    with pytest.raises(InvalidValue, match=rf"^{others}: "):
        parse_prefixes(["10.0.0.0/8"] * others + [bad])


@given(NETWORKS)
def test_the_last_key_is_the_last_address(network):
    last = last_keys(parse_prefixes([str(network)]))
    whole = 32 if network.version == 4 else 128
    expected = ipaddress.ip_network((int(network.broadcast_address), whole))
    if network.version == 6:
        expected = ipaddress.IPv6Network((int(network.broadcast_address), whole))
    assert prefix_of_key(last.tolist()[0]) == expected


@given(st.lists(V4, max_size=30))
def test_distinct_keys_are_sorted_and_each_once(networks):
    keys = parse_prefixes([str(n) for n in networks])
    assert np.array_equal(distinct(keys), np.unique(keys))


NEAR = st.builds(
    lambda a, b: ipaddress.ip_network((f"10.{a}.0.0", b), strict=False),
    st.sampled_from([0, 1, 128]),
    st.integers(6, 18),
)


def mapped(network):
    if network.version == 6:
        return network
    return ipaddress.ip_network(f"::ffff:{network.network_address}/{96 + network.prefixlen}")


@given(st.lists(NEAR | NETWORKS, max_size=12), st.lists(NEAR | NETWORKS, min_size=1, max_size=6))
def test_the_longest_match_is_the_longest_that_contains(table, asked):
    """As in the kernel, where an IPv6 prefix may contain the IPv4-mapped addresses."""
    ordered = distinct(parse_prefixes([str(n) for n in table]))
    found = longest_matches(ordered, parse_prefixes([str(n) for n in asked]))
    for place, network in zip(found.tolist(), asked, strict=True):
        over = [t for t in table if mapped(network).subnet_of(mapped(t))]
        expected = max(over, key=lambda t: mapped(t).prefixlen, default=None)
        assert (prefix_of_key(ordered[place]) if place >= 0 else None) == expected


@given(NETWORKS, st.lists(NETWORKS, min_size=1, max_size=4))
def test_a_set_covers_what_its_items_contain(network, items):
    found = plain_cidr_set([str(item) for item in items])
    expected = any(i.version == network.version and network.subnet_of(i) for i in items)
    assert found.covers(network) == expected
    assert found == plain_cidr_set([str(item) for item in reversed(items)])


def test_exceptions_belong_to_their_item():
    found = cidr_set([("10.0.0.0/8", ["10.1.0.0/16"]), ("10.1.2.0/24", [])])
    assert found.covers(ipaddress.ip_network("10.2.0.0/16"))
    assert not found.covers(ipaddress.ip_network("10.1.3.0/24"))
    assert found.covers(ipaddress.ip_network("10.1.2.3/32"))
    with pytest.raises(InvalidValue, match="not inside"):
        require_inside("10.0.0.0/8", "fd00::/8")


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_port_masks_are_the_range_and_no_port_twice(one, other):
    first, last = sorted((one, other))
    ports = [range(port, port + (1 << (16 - bits))) for port, bits in port_masks(first, last)]
    assert [p.start for p in ports] == [first, *[p.stop for p in ports[:-1]]]
    assert ports[-1].stop == last + 1
    assert all(p.start % len(p) == 0 for p in ports)
    assert len(ports) <= 30
