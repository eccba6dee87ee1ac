"""All that touches the kernel for a pod, in the order that keeps it closed.

Blocking: the Service calls it on its threads.
"""

import contextlib
import logging

import msgspec

from cilia.datapath.maps.endpoints import EndpointEntry
from cilia.endpoint.devices import PodDevices
from cilia.endpoint.kernel import PodKernel
from cilia.endpoint.store import EndpointRecord, EndpointStore
from cilia.model.errors import CiliaError

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

    def connect(self, record: EndpointRecord) -> EndpointRecord:
        """Connects a pod, closed; the record with its ifindex.

        Raises:
            CiliaError: Something refused; nothing of the pod is left.
        """
        self.store.save(record)
        placed = record

        def close(ifindex: int) -> None:
            nonlocal placed
            placed = msgspec.structs.replace(record, ifindex=ifindex)
            self.kernel.close(placed, ifindex)

        try:
            self.devices.connect(record, close)
            self.store.save(placed)
        except BaseException:
            with contextlib.suppress(CiliaError):
                self.disconnect(placed)
            raise
        return placed

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
