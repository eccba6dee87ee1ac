"""Values to rows and back, without a kernel."""

import ipaddress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.datapath import config, layout
from cilia.datapath.config import DatapathConfig
from cilia.datapath.maps import conntrack, endpoints, ipcache, policy, service
from cilia.datapath.maps.endpoints import EndpointEntry
from cilia.datapath.maps.ipcache import IpcacheEntry
from cilia.datapath.maps.service import ServiceBackend, ServiceFrontend

U32 = st.integers(0, 2**32 - 1)
MACS = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
ENTRIES = st.builds(
    EndpointEntry,
    id=U32, ifindex=U32, identity=U32, policy=U32, generation=U32,
    v4=st.none() | st.ip_addresses(v=4).filter(int),
    v6=st.none() | st.ip_addresses(v=6).filter(int),
    mac=MACS, host_mac=MACS, ready=st.booleans(), ingress_enforced=st.booleans(),
    egress_enforced=st.booleans(), audit=st.booleans(),
)  # fmt: skip


@given(st.lists(ENTRIES, max_size=5))
def test_endpoints_come_back(entries: list[EndpointEntry]) -> None:
    assert [endpoints.decode(row) for row in endpoints.encode(entries)] == entries


PREFIXES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
).map(lambda pair: ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False))


@given(
    st.lists(
        st.builds(
            IpcacheEntry,
            prefix=PREFIXES,
            identity=U32,
            policy_class=U32,
            tunnel=st.none() | st.ip_addresses(v=4).filter(int),
            flags=U32,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_prefixes_come_back(entries: list[IpcacheEntry]) -> None:
    mapped = ipaddress.ip_network("::ffff:0:0/96")
    plain = [
        one for one in entries
        if one.prefix.version == 4 or not one.prefix.overlaps(mapped)
    ]  # fmt: skip
    if plain:
        keys, values = ipcache.encode(plain)
        found = [ipcache.decode(key, value) for key, value in zip(keys, values, strict=True)]
        assert found == plain


FRONTENDS = st.lists(
    st.builds(
        ServiceFrontend,
        address=st.ip_addresses(v=4).map(str),
        port=st.integers(0, 65535),
        protocol=st.sampled_from([6, 17, 132]),
        reverse=st.integers(1, 65535),
        backends=st.lists(U32, max_size=5).map(tuple),
        flags=U32,
        affinity_s=U32,
    ),
    max_size=4,
)


@given(FRONTENDS)
def test_each_frontend_is_its_slots_and_then_its_header(frontends: list[ServiceFrontend]) -> None:
    keys, values = service.encode_frontends(frontends)
    at = 0
    for one in frontends:
        rows = slice(at, at := at + len(one.backends) + 1)
        assert keys["slot"][rows].tolist() == [*range(1, len(one.backends) + 1), 0]
        assert values["backend"][rows].tolist() == [*one.backends, one.affinity_s]
        assert values["count"][rows][-1] == len(one.backends)
        assert set(keys["port"][rows].tolist()) == {one.port}
    assert at == len(keys)


def test_backends_come_back() -> None:
    many = [ServiceBackend(1, "10.0.0.1", 80, 6), ServiceBackend(2, "fd00::1", 53, 17, 1)]
    rows = service.encode_backends(many)
    assert [service.decode_backend(n + 1, row) for n, row in enumerate(rows)] == many


def test_ports_are_in_network_order_in_the_bytes_alone() -> None:
    keys, _ = service.encode_frontends([ServiceFrontend("10.0.0.1", 80, 6, 1)])
    assert keys["port"][0] == 80
    assert keys.tobytes()[16:18] == b"\x00\x50"


def test_expired_connections() -> None:
    values = np.zeros(3, layout.map_types("conntrack")[1])
    values["expires_s"] = [9, 10, 11]
    assert conntrack.expired(values, 10).tolist() == [True, False, False]


def test_connections_of_an_address() -> None:
    keys = np.zeros(3, layout.map_types("conntrack")[0])
    keys["low"] = layout.encode_addresses(["10.0.0.1", "10.0.0.2", "fd00::1"])
    keys["high"] = layout.encode_addresses(["10.0.0.9", "10.0.0.1", "fd00::2"])
    wanted = [layout.encode_address("10.0.0.1"), layout.encode_address("fd00::2")]
    assert conntrack.touches(keys, wanted).tolist() == [True, True, True]
    assert conntrack.touches(keys, wanted[1:]).tolist() == [False, False, True]
    assert conntrack.touches(keys, []).tolist() == [False] * 3


def test_a_connection_is_shown_from_who_began_it() -> None:
    key, value = (np.zeros((), one) for one in layout.map_types("conntrack"))
    key["low"], key["low_port"] = layout.encode_address("10.0.0.1"), 80
    key["high"], key["high_port"] = layout.encode_address("10.0.0.2"), 40000
    value["packets"], value["expires_s"] = (5, 4), 100
    found = conntrack.decode(key, value, 90 * 10**9)
    assert (found.source, found.source_port) == ("10.0.0.2", 40000)
    assert (found.packets, found.expires_in_s) == ((5, 4), 10)
    value["flags"] = layout.constant("CONNTRACK_LOW_BEGAN")
    assert conntrack.decode(key, value, 0).source == "10.0.0.1"


def test_a_policy_row_in_words() -> None:
    key, value = (np.zeros((), each) for each in layout.map_types("policy"))
    key["prefixlen"], key["policy"], key["direction"] = 96, 7, 1
    key["protocol"], key["port"] = 6, 80
    value["verdict"] = layout.constant("POLICY_VERDICT_DEFAULT_DENY")
    found = policy.decode(key, value)
    assert (found.direction, found.port, found.port_bits) == ("egress", 80, 16)
    assert found.verdict == "default-deny"


CONFIG = DatapathConfig(
    node_v4=ipaddress.IPv4Address("172.30.0.11"), node_v6=None,
    router_v4=ipaddress.IPv4Address("10.0.1.1"), router_v6=None,
    pods_v4=ipaddress.IPv4Network("10.0.0.0/16"), pods_v6=None,
    net_ifindex=5, host_ifindex=6, host_mac="02:00:00:00:00:01",
)  # fmt: skip


def test_the_configuration_is_the_struct() -> None:
    cell = np.frombuffer(config.encode(CONFIG), layout.struct("config"))[0]
    assert cell["node_v4"].item() == layout.encode_address("172.30.0.11")
    assert cell["node_v6"].item() == bytes(16)
    assert (cell["pods_v4_bits"], cell["pods_v6_bits"]) == (112, 0)
    assert (cell["net_ifindex"], cell["host_ifindex"], cell["events"]) == (5, 6, 1)
    assert bytes(cell["host_mac"]) == bytes([2, 0, 0, 0, 0, 1])
    quiet = config.encode(msgspec.structs.replace(CONFIG, events=False))
    assert quiet != config.encode(CONFIG)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_prefix_columns_keep_their_order(count: int) -> None:
    networks = [ipaddress.ip_network(f"10.{n // 256}.{n % 256}.0/24") for n in range(count)]
    keys, _ = ipcache.encode([IpcacheEntry(one, 5) for one in networks])
    assert [ipcache.decode_prefix(key) for key in keys] == networks


def test_ids_tell_connections_apart() -> None:
    keys = np.zeros(20_000, "V40")
    raw = keys.view("u1").reshape(-1, 40)
    raw[:, 32:34] = np.arange(20_000, dtype="<u2").view("u1").reshape(-1, 2)
    same_time = conntrack.connection_ids(keys, np.full(20_000, 5))
    assert len(set(same_time.tolist())) == 20_000
    assert conntrack.connection_ids(keys[:1], np.array([6]))[0] != same_time[0]
