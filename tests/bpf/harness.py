"""One object with fresh maps, two pods, and packets through its programs.

`Datapath` loads an object, writes rows as the agent would, sends one frame as a
device would, and tells what came out: the answer, the frame, the events, the
rows. The devices are those of the `room` fixture, a network namespace.
"""

import ipaddress
import select
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from cilia.kernel.btf import Btf
from cilia.kernel.libbpf import bpf, check
from cilia.kernel.maps import Map, MapKind
from cilia.kernel.objects import BpfObject
from cilia.kernel.rings import Ring, WakeUps
from cilia.kernel.testrun import test_run as run_program

OBJECTS = Path(__file__).parents[2] / "src/cilia/datapath/objects"
BTF = Btf.from_object(OBJECTS / "layout.bpf.o")
C = BTF.constants()
"""Every enum value of the kernel side by its C name."""

HOST, WORLD_V4, WORLD_V6 = 1, 9, 10
GATEWAY_MAC, HOST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
ROUTER = {4: "10.0.1.1", 6: "fd00:10:0:1::1"}
NODE = {4: "172.30.0.11", 6: "fd00:30::11"}
WORLD = {4: "1.1.1.1", 6: "2606:4700:4700::1111"}
STRANGER = {4: "10.0.1.99", 6: "fd00:10:0:1::99"}
"""In this node's pod network, but nobody's."""
SMALL = {
    "conntrack": 512, "nat": 512, "fragment": 64, "ipcache": 512, "policy": 512,
    "policy_class": 512, "endpoint": 64, "endpoint_addr": 64, "service": 512,
    "service_backend": 512, "backend": 512, "service_reverse": 512,
}  # fmt: skip
_ACTIONS = {-1: "next", 0: "pass", 2: "drop", 7: "redirect"}


class Pod(msgspec.Struct, frozen=True):
    """One of the two pods; `device` is its host-side interface's index."""

    name: str
    device: int
    id: int
    identity: int
    policy: int
    mac: str
    host_mac: str
    address: dict[int, str]
    generation: int = 1
    flags: int = 1

    def with_flags(self, flags: int) -> "Pod":
        """The same pod with other flags in its row."""
        return msgspec.structs.replace(self, flags=flags)


class Result(msgspec.Struct, frozen=True):
    """What came out of one run."""

    action: str
    packet: Packet
    events: list[dict[str, Any]]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The events of one type: DROP, TRACE, POLICY_VERDICT."""
        return [event for event in self.events if event["type"] == C[f"EVENT_{kind}"]]

    @property
    def drop_reason(self) -> int | None:
        """Of the one drop event, if the packet was dropped."""
        drops = self.of_type("DROP")
        assert len(drops) == (self.action == "drop"), "exactly one drop event per drop"
        return drops[0]["subtype"] if drops else None

    @property
    def trace_points(self) -> list[int]:
        """Where trace events saw the packet."""
        return [event["subtype"] for event in self.of_type("TRACE")]


def address_bytes(text: str) -> bytes:
    """The 16 bytes of an address: IPv4 as ::ffff:a.b.c.d."""
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def mac_array(text: str) -> list[int]:
    """The bytes of a MAC as numbers, as a row takes them."""
    return list(bytes.fromhex(text.replace(":", "")))


def frame(version: int, source: str, destination: str, **fields: Any) -> Packet:
    """Ethernet and IP headers, as a pod addresses them to its gateway."""
    layer = IP if version == 4 else IPv6
    return Ether(dst=GATEWAY_MAC, src="02:00:00:00:0a:0a") / layer(
        src=source, dst=destination, **fields
    )


class Datapath:
    """A loaded object, its maps, and the pods `a` and `b` of this node."""

    def __init__(
        self,
        name: str,
        room: dict[str, int],
        small: dict[str, int],
        full: tuple[str, ...] = (),
        **config: Any,
    ) -> None:
        """Loads `<name>.bpf.o` with maps of the capacities in `small`; `full` ones take no row."""
        self.room = room
        with BpfObject(OBJECTS / f"{name}.bpf.o") as opened:
            self.config = self._config(room, config)
            opened.set_global("config", self.config)
            for one in opened.map_names():
                if one in small:
                    opened.resize(one, small[one])
            self._full = [_full_map(opened, one) for one in full]
            opened.load()
            self.maps, self.programs = opened.maps, opened.programs
        record = BTF.struct("event_record")
        self._ring_maps = self._make_rings()
        self.rings = [Ring(one, record) for one in self._ring_maps]
        self.wakeups = WakeUps(self.rings)
        self.a = self._pod("a", room["lxca"], 10)
        self.b = self._pod("b", room["lxcb"], 20)
        for pod in (self.a, self.b):
            self.write(pod)

    def close(self) -> None:
        """Lets go of everything that the kernel holds for us."""
        self.wakeups.close()
        for ring in self.rings:
            ring.close()
        for one in [*self.maps.values(), *self._ring_maps, *self._full, *self.programs.values()]:
            one.close()

    @staticmethod
    def _pod(name: str, device: int, number: int) -> Pod:
        return Pod(
            name=name,
            device=device,
            id=number,
            identity=number * 100,
            policy=number * 10,
            mac=f"02:00:00:00:{number:02x}:01",
            host_mac=f"02:00:00:00:{number:02x}:02",
            address={4: f"10.0.1.{number}", 6: f"fd00:10:0:1::{number}"},
        )

    def _config(self, room: dict[str, int], changes: dict[str, Any]) -> bytes:
        config = np.zeros((), BTF.struct("config"))
        values: dict[str, Any] = {
            "node_v4": address_bytes(NODE[4]), "node_v6": address_bytes(NODE[6]),
            "router_v4": address_bytes(ROUTER[4]), "router_v6": address_bytes(ROUTER[6]),
            "pods_v4": address_bytes("10.0.0.0"), "pods_v6": address_bytes("fd00:10::"),
            "pods_v4_bits": 112, "pods_v6_bits": 48,
            "net_ifindex": room["eth0"], "host_ifindex": room["cilia_host"], "mtu": 1500,
            "trace_interval_s": 5, "host_mac": mac_array(HOST_MAC),
            "gateway_mac": mac_array(GATEWAY_MAC), "events": 1, "allow_host": 1,
            "masquerade_v4": 1, "masquerade_v6": 1, "tcp_established_s": 8000,
            "tcp_syn_s": 60, "tcp_closing_s": 10, "any_s": 90,
            "nat_port_min": 32768, "nat_port_max": 65535,
        }  # fmt: skip
        for field, value in (values | changes).items():
            config[field] = value
        return config.tobytes()

    def _make_rings(self) -> list[Map]:
        made = []
        for cpu in range(min(self.maps["event_rings"].max_entries, 64)):
            nothing = np.dtype("V1")
            ring = Map.create(MapKind.RINGBUF, "event_ring", nothing, nothing, 1 << 16)
            self.maps["event_rings"].update(cpu, np.array(ring.fd, "<u4").tobytes())
            made.append(ring)
            if cpu + 1 >= _cpus():
                break
        return made

    # rows, as the agent writes them

    def write(self, pod: Pod) -> Pod:
        """Writes a pod's rows: by device and by both addresses."""
        row = np.zeros((), BTF.struct("endpoint"))
        row["v4"], row["v6"] = address_bytes(pod.address[4]), address_bytes(pod.address[6])
        row["id"], row["identity"], row["ifindex"] = pod.id, pod.identity, pod.device
        row["policy"], row["generation"], row["flags"] = pod.policy, pod.generation, pod.flags
        row["mac"], row["host_mac"] = mac_array(pod.mac), mac_array(pod.host_mac)
        if "endpoint" in self.maps:
            self.maps["endpoint"].update(pod.device, row[()])
        for address in pod.address.values():
            self.maps["endpoint_addr"].update(address_bytes(address), row[()])
        return pod

    def enforce(self, name: str, *flags: str, **changes: Any) -> Pod:
        """Sets flags of a pod's row besides READY: "INGRESS_ENFORCED", "AUDIT", ..."""
        bits = C["ENDPOINT_READY"] + sum(C[f"ENDPOINT_{flag}"] for flag in flags)
        pod = msgspec.structs.replace(getattr(self, name), flags=bits, **changes)
        setattr(self, name, pod)
        return self.write(pod)

    def remove(self, name: str) -> None:
        """Deletes a pod's rows."""
        pod = getattr(self, name)
        self.maps["endpoint"].delete(pod.device)
        for address in pod.address.values():
            self.maps["endpoint_addr"].delete(address_bytes(address))

    def classify(self, identity: int, number: int) -> None:
        """Puts an identity into a class."""
        self.maps["policy_class"].update(identity, number)

    def prefix(self, network: str, identity: int, number: int = 0) -> None:
        """Gives a prefix an identity, and a class of its own if it has one."""
        parsed = ipaddress.ip_network(network)
        key = np.zeros((), BTF.struct("ipcache_key"))
        key["prefixlen"] = parsed.prefixlen + (96 if parsed.version == 4 else 0)
        key["addr"] = address_bytes(str(parsed.network_address))
        self.maps["ipcache"].update(key[()], (identity, number, 0, 0))

    def rule(
        self,
        pod: Pod,
        direction: str,
        verdict: str,
        *,
        peer: int = 0,
        protocol: int = 0,
        port: int = 0,
        bits: int | None = None,
        **row: int,
    ) -> None:
        """Writes a policy row; how much of the key counts follows from what is given."""
        if bits is None:
            bits = 96 if port else 80 if protocol else 72
        key = np.zeros((), BTF.struct("policy_key"))
        key["prefixlen"], key["policy"], key["class"] = bits, pod.policy, peer
        key["direction"] = C[f"POLICY_{direction}"]
        key["protocol"], key["port"] = protocol, port
        entry = np.zeros((), BTF.struct("policy_entry"))
        entry["verdict"], entry["prefixlen"] = C[f"POLICY_VERDICT_{verdict}"], bits
        for field, value in row.items():
            entry[field] = value
        self.maps["policy"].update(key[()], entry[()])

    # packets

    def frame(self, version: int, source: str, destination: str, **fields: Any) -> Packet:
        """Headers from one place to another: "a", "b", "world", "router", "node", "stranger"."""
        return frame(
            version, self.address(source, version), self.address(destination, version), **fields
        )

    def address(self, place: str, version: int) -> str:
        """The address of a place by its name; an address is itself."""
        places = {"world": WORLD, "router": ROUTER, "node": NODE, "stranger": STRANGER}
        if place in ("a", "b"):
            found: str = getattr(self, place).address[version]
            return found
        return places[place][version] if place in places else place

    def run(
        self, program: str, packet: Packet | bytes, device: str = "lxca", **context: Any
    ) -> Result:
        """Sends a frame through a program as if it passed a device's hook."""
        raw = packet if isinstance(packet, bytes) else bytes(packet)
        index = self.room[device]
        devices = {"ifindex": index, "ingress_ifindex": index}
        done = run_program(self.programs[program], raw, **devices | context)
        return Result(_ACTIONS[done.verdict], Ether(done.packet), self.events())

    def flood(self, program: str, packet: bytes, count: int) -> None:
        """Sends one frame many times, on one CPU, and leaves the events unread."""
        index = self.room["lxca"]
        run_program(
            self.programs[program], packet, repeat=count, ifindex=index, ingress_ifindex=index
        )

    def is_woken(self) -> bool:
        """Has a program asked for a reader since the last question?"""
        woken = bool(select.select([self.wakeups], [], [], 0)[0])
        self.wakeups.clear()
        return woken

    def events(self) -> list[dict[str, Any]]:
        """The records that wait in all rings, oldest first; reading takes them out."""
        found: list[dict[str, Any]] = []
        for ring in self.rings:
            rows = ring.read()
            found += [{name: row[name].item() for name in rows.dtype.names} for row in rows]
        return sorted(found, key=lambda one: one["time"])

    # what programs wrote

    def connections(self) -> list[dict[str, Any]]:
        """Rows of conntrack: key and entry as one dict each, pairs as lists."""
        return [
            {name: cell[name].tolist() for cell in pair for name in cell.dtype.names}
            for pair in zip(*self.maps["conntrack"].entries(), strict=True)
        ]

    def edit_connections(self, **fields: Any) -> None:
        """Overwrites fields of every connection, as time would."""
        keys, values = self.maps["conntrack"].entries()
        for name, value in fields.items():
            values[name] = value
        self.maps["conntrack"].put(keys, values)

    def counted(self, reason: int, direction: str) -> tuple[int, int]:
        """Packets and bytes of a metric row, over all CPUs."""
        index = reason * C["METRIC_DIRECTIONS"] + C[f"METRIC_{direction}"]
        rows = self.maps["metric"].lookup(index)
        return int(rows["packets"].sum()), int(rows["bytes"].sum())

    def stat(self, name: str) -> int:
        """EVENT_STAT_SENT or EVENT_STAT_LOST over all CPUs."""
        return int(self.maps["event_stats"].lookup(C[f"EVENT_STAT_{name}"]).sum())

    def remove_rings(self) -> None:
        """Leaves the programs without a reader."""
        for cpu in range(len(self.rings)):
            self.maps["event_rings"].delete(cpu)


def _full_map(opened: BpfObject, name: str) -> Map:
    """Puts a plain hash with one row, taken, in the place of a map that makes room by itself."""
    key, value = opened.btf.map_types(name)
    assert key is not None
    assert value is not None
    made = Map.create(MapKind.HASH, name, key, value, 1)
    made.update(bytes([255]) * key.itemsize, bytes(value.itemsize))
    check(bpf.bpf_map__reuse_fd(opened._map(name), made.fd), "reuse", name)
    return made


def _cpus() -> int:
    return len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1
