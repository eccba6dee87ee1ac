"""All that touches the kernel for a pod, in the order that keeps it closed.

Blocking: the Service calls it on its threads.
"""

import logging
from collections.abc import Callable

import msgspec

from cilia.datapath.maps.endpoints import EndpointEntry
from cilia.endpoint.devices import PodDevices
from cilia.endpoint.kernel import PodKernel
from cilia.endpoint.store import EndpointRecord, EndpointStore

log = logging.getLogger(__name__)


class Restored(msgspec.Struct, frozen=True):
    """What a restart found."""

    living: list[tuple[EndpointRecord, EndpointEntry]]
    """Pods that are there, with their rows as they were adopted."""
    gone: list[EndpointRecord]
    """Pods whose interface went away meanwhile; nothing is left of them."""


class Plumbing:
    """Record first, kernel second; and the reverse."""

    def __init__(self, devices: PodDevices, kernel: PodKernel, store: EndpointStore) -> None:
        self.devices = devices
        self.kernel = kernel
        self.store = store

    def connect(
        self, record: EndpointRecord, placed: Callable[[EndpointRecord], None]
    ) -> EndpointRecord:
        """Connects a pod, closed; the record with its ifindex.

        Args:
            record: The pod.
            placed: Called with that record as soon as the pod has its row. Its identity
                and policy may be found out meanwhile: attaching makes the kernel wait
                for all processors, and a row that is open early lets nothing through,
                since the interface comes up last.

        Raises:
            CiliaError: Something refused; `disconnect` removes what there is by then.
        """
        self.store.save(record)
        made = record

        def close(ifindex: int) -> None:
            nonlocal made
            made = msgspec.structs.replace(record, ifindex=ifindex)
            self.kernel.close(made, ifindex)
            self.store.save(made)
            placed(made)
            self.kernel.attach(made, ifindex)

        self.devices.connect(record, close)
        return made

    def disconnect(self, record: EndpointRecord) -> None:
        """Removes everything of a pod; what is gone already is no error."""
        self.kernel.remove(record)
        self.devices.disconnect(record.device)
        self.store.delete(record.id)

    def restore(self) -> Restored:
        """Adopts the pods of the last run, and removes what belongs to none."""
        devices = self.devices.existing()
        living, gone = [], []
        for record in self.store.load():
            device = devices.get(record.device)
            if device is not None and record.ifindex and device.index == record.ifindex:
                living.append((record, self.kernel.adopt(record)))
            else:
                self.disconnect(record)
                gone.append(record)
        strays = self.kernel.prune(
            [record.device for record, _ in living], [record.ifindex for record, _ in living]
        )
        log.info(
            "endpoints restored",
            extra={"living": len(living), "gone": len(gone), "strays": strays},
        )
        return Restored(living, gone)
