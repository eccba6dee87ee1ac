"""The node's programs: loaded, pinned, adopted, replaced under traffic; its maps."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cilia.datapath import layout, loader, records
from cilia.datapath.attach import Attacher, cgroup_plan, ensure_host_device, host_plan, pod_plan
from cilia.datapath.config import DatapathConfig
from cilia.datapath.maps.capacity import usages
from cilia.datapath.maps.conntrack import ConntrackMap
from cilia.datapath.maps.ended import EndedMap
from cilia.datapath.maps.endpoints import EndpointEntry, EndpointMap
from cilia.datapath.maps.ipcache import IpcacheEntry, IpcacheMap
from cilia.datapath.maps.metric import MetricMap, event_stats
from cilia.datapath.maps.nat import NatMap
from cilia.datapath.maps.policy import PolicyMap
from cilia.datapath.maps.service import ServiceBackend, ServiceFrontend, ServiceMap
from cilia.kernel import links, netns, sysctl
from cilia.kernel.errors import MapFullError, NotFoundError
from cilia.kernel.maps import Map, MapKind
from cilia.kernel.netlink import NetlinkSocket
from cilia.kernel.objects import Program
from cilia.kernel.rtnetlink import VethEnd, create_veth, delete_link, link, set_link
from cilia.kernel.testrun import test_run as run
from cilia.model.errors import InvalidValue
from cilia.model.prefixes import parse_prefixes
from cilia.model.site import NodeSite
from kernel.node import programs_at, site_of

FRAME = bytes.fromhex(
    "02000000000102000000000208004500001c000040004011000001020304050607080035003500080000"
)
"""An empty UDP datagram from 1.2.3.4 to 5.6.7.8."""
SIZES = {"conntrack": 1024, "nat": 1024, "endpoint": 4}


@pytest.fixture
def site(name: str, namespace: Path, tmp_path: Path, cgroup: Path) -> Iterator[NodeSite]:
    one = site_of(name, namespace, tmp_path, cgroup)
    yield one
    loader.unload(one)
    assert not one.bpffs.exists()


@pytest.fixture
def config(site: NodeSite) -> DatapathConfig:
    with NetlinkSocket(site.netns) as connection:
        host = ensure_host_device(connection, 1500)
        assert ensure_host_device(connection, 1500) == link(connection, "cilia_host")
        ends = VethEnd("eth0", "02:00:00:00:00:0a"), VethEnd("net", "02:00:00:00:00:0b")
        connection.commit(create_veth(*ends, 1500))
        net = link(connection, "eth0")
    assert net is not None
    return DatapathConfig(
        node_v4=ipaddress.IPv4Address("172.30.0.11"), node_v6=None,
        router_v4=ipaddress.IPv4Address("10.0.1.1"), router_v6=None,
        pods_v4=ipaddress.IPv4Network("10.0.0.0/16"), pods_v6=None,
        net_ifindex=net.index, host_ifindex=host.index, host_mac=host.mac,
    )  # fmt: skip


def attach_all(site: NodeSite, loaded: loader.Loaded, config: DatapathConfig) -> Attacher:
    attacher = Attacher(site, loaded.programs)
    attacher.apply(*host_plan(config.host_ifindex, "eth0", config.net_ifindex))
    attacher.apply(*cgroup_plan(site.cgroup))
    return attacher


def test_the_same_objects_and_configuration_are_adopted(
    site: NodeSite, config: DatapathConfig
) -> None:
    first = loader.load(site, config, capacities=SIZES)
    attacher = attach_all(site, first, config)
    before = attacher.attached()
    on_cgroup, on_devices = 8, 3
    assert len(before) == on_cgroup + (on_devices if attacher.has_tcx else 0)
    again = loader.load(site, config, capacities=SIZES)
    assert again.adopted
    assert not first.adopted
    assert attach_all(site, again, config).attached() == before
    assert {name: one.id for name, one in again.maps.items()} == {
        name: one.id for name, one in first.maps.items()
    }
    assert again.maps["endpoint"].max_entries == 4


def test_another_configuration_takes_the_place_of_the_first(
    site: NodeSite, config: DatapathConfig
) -> None:
    first = loader.load(site, config, capacities=SIZES)
    before = attach_all(site, first, config).attached()
    IpcacheMap(first.maps).write([IpcacheEntry(ipaddress.ip_network("10.0.0.0/8"), 7)])
    second = loader.load(site, msgspec.structs.replace(config, mtu=1400), capacities=SIZES)
    after = Attacher(site, second.programs).attached()
    assert not second.adopted
    assert {pin: facts.id for pin, facts in after.items()} == {
        pin: facts.id for pin, facts in before.items()
    }
    assert all(after[pin].program_id != before[pin].program_id for pin in before)
    assert IpcacheMap(second.maps).entries()[0].identity == 7
    for name, program in second.programs.items():
        assert Program.open(loader.pins(site, "progs") / name).facts() == program.facts()


def test_a_map_that_shall_be_larger_grows_and_keeps_its_rows(
    site: NodeSite, config: DatapathConfig
) -> None:
    first = loader.load(site, config, capacities=SIZES)
    links = set(attach_all(site, first, config).attached())
    entry = IpcacheEntry(ipaddress.ip_network("10.0.0.0/8"), 7)
    IpcacheMap(first.maps).write([entry])
    larger = {**SIZES, **{name: first.maps[name].max_entries + 5 for name in ("ipcache", "policy")}}
    second = loader.load(site, config, capacities=larger)
    assert not second.adopted
    assert set(Attacher(site, second.programs).attached()) == links
    assert IpcacheMap(second.maps).entries() == [entry]
    for name in ("ipcache", "policy"):
        grown = second.maps[name]
        assert grown.max_entries == larger[name]
        assert loader.open_map(site, name).id == grown.id != first.maps[name].id
        assert grown.id in second.programs["pod_from"].facts().map_ids
    assert second.maps["endpoint"].id == first.maps["endpoint"].id
    third = loader.load(site, config, capacities=larger)
    assert third.adopted
    assert third.maps["ipcache"].id == second.maps["ipcache"].id


@pytest.mark.parametrize(
    ("sizes", "says"), [({"polcy": 9}, "no map 'polcy'"), ({"policy": 0}, "policy=0")]
)
def test_a_size_of_no_map_is_refused(
    site: NodeSite, config: DatapathConfig, sizes: dict[str, int], says: str
) -> None:
    with pytest.raises(InvalidValue, match=says):
        loader.load(site, config, capacities=sizes)


def test_traffic_never_meets_no_program_while_they_are_replaced(
    site: NodeSite, config: DatapathConfig
) -> None:
    loaded = loader.load(site, config, capacities=SIZES)
    attach_all(site, loaded, config)
    with NetlinkSocket(site.netns) as connection:
        pair = VethEnd("lxc0", "02:00:00:00:00:01"), VethEnd("pod", "02:00:00:00:00:02")
        connection.commit(create_veth(*pair, 1500))
        outer, inner = link(connection, "lxc0"), link(connection, "pod")
        assert outer is not None
        assert inner is not None
        Attacher(site, loaded.programs).apply(*pod_plan("lxc0", outer.index))
        for device in ("lxc0", "pod"):  # nothing but our frames
            sysctl.write(f"ipv6/conf/{device}/disable_ipv6", 1, site.netns)
        connection.commit(set_link(outer.index, up=True), set_link(inner.index, up=True))
    sent, stop = [0], threading.Event()
    sender = netns.open_socket(site.netns, socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind(("pod", 0x0800))

    def flood() -> None:
        while not stop.is_set():
            sent[0] += sender.send(FRAME) > 0

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        for mtu in range(1400, 1406):
            later = loader.load(site, msgspec.structs.replace(config, mtu=mtu))
            # On TCX they have been replaced by now.
            Attacher(site, later.programs).apply(*pod_plan("lxc0", outer.index))
    finally:
        stop.set()
        thread.join()
        sender.close()
    reason = layout.constant("DROP_EP_NOT_READY")

    def closed() -> int:
        rows = MetricMap(loaded.maps).rows()
        return sum(row.packets for row in rows if row.reason == reason)

    deadline = time.monotonic() + 5
    while closed() < sent[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed() == sent[0] > 100  # every single one was dropped: the pod has no row
    stats = event_stats(loaded.maps)
    assert sum(stats.sent) >= sent[0]


def test_a_pinned_map_of_another_shape_is_refused(site: NodeSite, config: DatapathConfig) -> None:
    loader.load(site, config, capacities=SIZES)
    pin = loader.pins(site, "maps") / "policy_class"
    pin.unlink()
    plain = np.dtype("<u8")
    with Map.create(MapKind.HASH, "policy_class", plain, plain, 4) as other:
        other.pin(pin)
    for changed in (config, msgspec.structs.replace(config, mtu=1400)):
        with pytest.raises(layout.LayoutError, match=r"policy_class.*\(8, 8\).*\(4, 4\)"):
            loader.load(site, changed)


def test_attaching_twice_changes_nothing_and_a_new_device_is_noticed(
    site: NodeSite, config: DatapathConfig
) -> None:
    loaded = loader.load(site, config, capacities=SIZES)
    attacher = attach_all(site, loaded, config)
    plan = host_plan(config.host_ifindex, "eth0", config.net_ifindex)
    expected = [loaded.programs[one.program].facts().id for one in plan]
    before = attacher.attached()
    attacher.apply(*plan)
    assert (attacher.attached(), programs_at(site, attacher, *plan)) == (before, expected)
    with NetlinkSocket(site.netns) as connection:
        connection.commit(delete_link("eth0"))
        assert programs_at(site, attacher, *plan) == [expected[0], 0, 0]
        ends = VethEnd("eth0", "02:00:00:00:00:0a"), VethEnd("net", "02:00:00:00:00:0b")
        connection.commit(create_veth(*ends, 1500))
        fresh = link(connection, "eth0")
    assert fresh is not None
    plan = host_plan(config.host_ifindex, "eth0", fresh.index)
    attacher.apply(*plan)
    assert programs_at(site, attacher, *plan) == expected
    attacher.detach("eth0")
    assert not any(pin.startswith("eth0_") for pin in attacher.attached())
    with pytest.raises(NotFoundError):
        attacher.apply(*pod_plan("lxc9", 9999))


def test_below_6_6_the_same_plan_goes_through_clsact(
    site: NodeSite, config: DatapathConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "has_tcx", lambda _: False)
    plan = host_plan(config.host_ifindex, "eth0", config.net_ifindex)
    for mtu in (1500, 1400):
        loaded = loader.load(site, msgspec.structs.replace(config, mtu=mtu), capacities=SIZES)
        attacher = Attacher(site, loaded.programs)
        for _ in range(2):
            attacher.apply(*plan)
        assert programs_at(site, attacher, *plan) == [
            loaded.programs[one.program].facts().id for one in plan
        ]
        assert attacher.attached() == {}


def test_unfinished_business_does_not_stand_in_the_way(
    site: NodeSite, config: DatapathConfig
) -> None:
    loaded = loader.load(site, config, capacities=SIZES)
    loaded.programs["pod_from"].pin(loader.pins(site, "progs") / "pod_from_new")
    (site.run / "datapath.json").unlink()
    assert not loader.load(site, config).adopted
    assert loader.load(site, config).adopted


def test_the_maps_as_values(site: NodeSite, config: DatapathConfig) -> None:
    maps = loader.load(site, config, capacities=SIZES).maps
    pods = EndpointMap(maps)
    many = [
        EndpointEntry(
            id=n, ifindex=100 + n, v4=ipaddress.IPv4Address(f"10.0.1.{n}"),
            v6=ipaddress.IPv6Address(f"fd00::{n}"), mac="02:00:00:00:00:01",
            host_mac="02:00:00:00:00:02", ready=True,
        )
        for n in range(1, 6)
    ]  # fmt: skip
    with pytest.raises(MapFullError, match="update map endpoint"):
        pods.write(many)
    pods.write(many[:4])
    assert pods.entries() == many[:4]
    moved = msgspec.structs.replace(many[0], id=9, ifindex=101)
    pods.delete([moved])  # another pod's addresses stay with that pod
    assert maps["endpoint_addr"].lookup(many[0].addresses[0])["id"] == 1
    assert pods.stray_addresses() == many[0].addresses or set(pods.stray_addresses()) == set(
        many[0].addresses
    )
    assert pods.delete_addresses(pods.stray_addresses()) == 2

    services = ServiceMap(maps)
    fronts = [
        ServiceFrontend("10.96.0.1", 443, 6, 1, (1, 2), 1),
        ServiceFrontend("fd00:96::1", 53, 17, 2, (3,)),
    ]
    backs = [ServiceBackend(n, f"10.0.0.{n}", 80, 6) for n in (1, 2, 3)]
    services.write(fronts, backs)
    assert services.frontends() == fronts
    assert services.backends() == {one.id: one for one in backs}
    assert services.prune(fronts[:1]) == 3
    assert services.frontends() == fronts[:1]
    assert services.delete(fronts) == 3

    policy = PolicyMap(maps)
    keys, values = np.zeros(3, policy.rows.key), np.zeros(3, policy.rows.value)
    keys["prefixlen"], keys["policy"] = 72, [1, 2, 2]
    keys["direction"] = [0, 0, 1]
    values["verdict"] = 1
    policy.write(keys, values)
    assert policy.numbers() == {1, 2}
    assert policy.delete_policy(2) == 2
    policy.write_classes([300, 301], [7, 8])
    assert policy.class_of() == {300: 7, 301: 8}
    assert policy.delete_classes([301, 999]) == 1
    assert {one.name: one.rows for one in usages(maps)}["policy"] == 1
    assert usages(maps)[0].pressure > 0


def test_a_hundred_thousand_prefixes(site: NodeSite, config: DatapathConfig) -> None:
    rows = IpcacheMap(loader.load(site, config, capacities=SIZES).maps)
    prefixes = parse_prefixes([f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(100_000)])
    rows.write_columns(prefixes, np.arange(100_000, dtype="<u4"), 5)
    assert len(rows.columns()[0]) == 100_000
    assert rows.rows.lookup((128, layout.encode_address("10.1.2.3")))["identity"] == 0x10203
    assert rows.delete_keys(prefixes[::2]) == 50_000
    assert set(rows.columns()[0].tolist()) == set(prefixes[1::2].tolist())


def test_sweeping_connections_and_masquerade(site: NodeSite, config: DatapathConfig) -> None:
    maps = loader.load(site, config, capacities=SIZES).maps
    tracked, nat = ConntrackMap(maps), NatMap(maps)
    keys, values = np.zeros(10, tracked.rows.key), np.zeros(10, tracked.rows.value)
    keys["low"] = layout.encode_addresses(f"10.0.1.{n}" for n in range(10))
    values["expires_s"] = [100 + n for n in range(10)]
    tracked.rows.put(keys, values)
    assert tracked.sweep(now_s=105) == 5
    assert {one.source for one in tracked.connections()} | {
        one.destination for one in tracked.connections()
    } >= {"10.0.1.9"}
    assert tracked.delete_addresses([layout.encode_address("10.0.1.9")]) == 1
    assert len(tracked.columns()[0]) == 4
    _, kept, last = EndedMap(maps).read()
    assert sorted(last["expires_s"].tolist()) == [100, 101, 102, 103, 104, 109]
    assert {bytes(row) for row in kept["low"]} == {
        bytes(keys["low"][n]) for n in (0, 1, 2, 3, 4, 9)
    }
    assert tracked.clear() == 4
    assert len(EndedMap(maps).read()[0]) == 10

    def begins_anew(found: np.ndarray, held: np.ndarray) -> None:
        """As programs do: one connection takes an expired one's place, another one is removed."""
        fresh = held[:1].copy()
        fresh["first_seen"], fresh["expires_s"] = 7, 1000
        tracked.rows.put(found[:1], fresh)
        tracked.rows.drop(found[1:2])

    tracked.rows.put(keys[:5], values[:5])
    assert EndedMap(maps).drop(EndedMap(maps).read()[0]) == 10
    assert tracked.sweep(now_s=200, seen=begins_anew) == 3
    assert tracked.columns()[1]["first_seen"].tolist() == [7]
    assert len(EndedMap(maps).read()[0]) == 3
    assert tracked.clear() == 1

    keys, values = np.zeros(4, nat.rows.key), np.zeros(4, nat.rows.value)
    keys["source_port"] = range(4)
    keys["direction"] = [0, 1, 0, 1]
    pod, node = layout.encode_address("10.0.1.5"), layout.encode_address("172.30.0.11")
    keys["source"][:2], keys["destination"][:2] = [pod, node], [node, node]
    values["address"][:2] = [node, pod]
    values["last_seen"] = [10**9, 10**9, 9 * 10**9, 9 * 10**9]
    nat.rows.put(keys, values)
    assert {one.direction for one in nat.entries()} == {"in", "out"}
    assert nat.delete_addresses([pod]) == 2
    assert nat.sweep(5, now_ns=10 * 10**9) == 0
    assert nat.sweep(0, now_ns=10 * 10**9) == 2


def test_a_record_of_a_closed_pod_arrives(site: NodeSite, config: DatapathConfig) -> None:
    loaded = loader.load(site, config, capacities=SIZES)
    with netns.inside(site.netns):
        from_pod = Program.open(loader.pins(site, "progs") / "pod_from")
        run(from_pod, FRAME, ifindex=config.host_ifindex)
    rings = records.EventRings(site)
    try:
        ((_, found),) = list(rings.read())
    finally:
        rings.close()
    assert (found[0]["type"], found[0]["subtype"]) == (
        layout.constant("EVENT_DROP"),
        layout.constant("DROP_EP_NOT_READY"),
    )
    assert abs(int(found[0]["time"]) - time.monotonic_ns()) < 60 * 10**9
    stats = event_stats(loaded.maps)
    assert (sum(stats.sent), sum(stats.lost)) == (1, 0)
