"""The eBPF side of a pod: its row, its program, its connections."""

import ipaddress
import threading
from collections.abc import Iterable, Mapping

from cilia.datapath import loader
from cilia.datapath.attach import Attacher, pod_plan
from cilia.datapath.maps.conntrack import ConntrackMap
from cilia.datapath.maps.endpoints import EndpointEntry, EndpointMap, EndpointVerdict
from cilia.datapath.maps.nat import NatMap
from cilia.endpoint.ports import Assignment
from cilia.endpoint.store import EndpointRecord
from cilia.kernel.maps import Map
from cilia.model.site import NodeSite


class PodKernel:
    """Rows and links of this node's pods."""

    def __init__(self, site: NodeSite, maps: Mapping[str, Map], attacher: Attacher) -> None:
        self.rows = EndpointMap(maps)
        self._conntrack = ConntrackMap(maps)
        self._nat = NatMap(maps)
        self._attacher = attacher
        self._site = site
        self._forgotten: set[bytes] = set()
        self._noting, self._reading = threading.Lock(), threading.Lock()

    def close(self, record: EndpointRecord, ifindex: int) -> None:
        """Writes the pod's row, closed.

        Raises:
            MapFullError: The node has as many pods as the map has rows.
        """
        self.rows.write([closed_entry(record, ifindex)])

    def attach(self, record: EndpointRecord, ifindex: int) -> None:
        """Attaches the program to the pod's host-side device."""
        self._attacher.apply(*pod_plan(record.device, ifindex))

    def adopt(self, record: EndpointRecord) -> EndpointEntry:
        """The row that a pod has after a restart, with its program in place.

        A row that is missing, or another pod's, is written anew, closed.
        """
        entry = self.rows.read(record.ifindex)
        if entry is None or entry.id != record.id:
            entry = closed_entry(record, record.ifindex)
        self.rows.write([entry])
        self.attach(record, record.ifindex)
        return entry

    def assign(self, assignments: Mapping[int, Assignment], identities: Mapping[int, int]) -> None:
        """Opens pods: ifindex -> what policy says, ifindex -> identity. One batch."""
        self.rows.open(
            [
                EndpointVerdict(
                    ifindex=ifindex,
                    identity=identities[ifindex],
                    policy=one.policy,
                    generation=one.generation,
                    ingress_enforced=one.ingress_enforced,
                    egress_enforced=one.egress_enforced,
                    audit=one.audit,
                )
                for ifindex, one in assignments.items()
            ]
        )

    def remove(self, record: EndpointRecord) -> None:
        """Takes the pod's row and link away, then what connections left behind."""
        self.rows.delete([closed_entry(record, record.ifindex)])
        self._attacher.detach(record.device)
        self.forget_connections(closed_entry(record, record.ifindex).addresses)

    def forget_connections(self, addresses: Iterable[bytes]) -> None:
        """Removes connections and masquerade entries of addresses that change owner.

        Reads both maps whole, so callers on several threads share one reading: who waits
        finds its addresses done by the one before.
        """
        with self._noting:
            self._forgotten.update(addresses)
        with self._reading:
            with self._noting:
                wanted, self._forgotten = self._forgotten, set()
            if wanted:
                self._conntrack.delete_addresses(wanted)
                self._nat.delete_addresses(wanted)

    def prune(self, devices: Iterable[str], ifindexes: Iterable[int]) -> int:
        """Removes rows and links of pods that are not among these; how many."""
        known, names = set(ifindexes), set(devices)
        strays = [entry for entry in self.rows.entries() if entry.ifindex not in known]
        self.rows.delete(strays)
        self.forget_connections(one for entry in strays for one in entry.addresses)
        lost = self.rows.stray_addresses()
        self.rows.delete_addresses(lost)
        gone = 0
        for pin in loader.links(self._site):
            device = pin.name.removesuffix("_pod_from")
            if device != pin.name and device not in names:
                self._attacher.detach(device)
                gone += 1
        return len(strays) + len(lost) + gone


def closed_entry(record: EndpointRecord, ifindex: int) -> EndpointEntry:
    """A pod's row before its policy is known: nothing passes."""
    return EndpointEntry(
        id=record.id,
        ifindex=ifindex,
        v4=ipaddress.IPv4Address(record.v4) if record.v4 else None,
        v6=ipaddress.IPv6Address(record.v6) if record.v6 else None,
        mac=record.mac,
        host_mac=record.host_mac,
        identity=record.identity or 0,
    )
