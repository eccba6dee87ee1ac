"""What must be known again after a restart: one small file a pod.

Written before the kernel is touched and replaced as a whole, so that a crash at
any moment leaves either a file that names what may exist, or nothing at all.
"""

import logging
import os
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)


class EndpointRecord(msgspec.Struct, frozen=True):
    """One pod as it was connected."""

    id: int
    namespace: str
    pod: str
    uid: str
    container: str
    ifname: str
    """Inside the pod."""
    netns: str
    device: str
    """The host-side interface."""
    mac: str
    host_mac: str
    v4: str | None
    v6: str | None
    mtu: int
    ifindex: int = 0
    """Of the host-side interface; 0: ADD did not finish."""
    identity: int | None = None
    labels: tuple[str, ...] = ()
    given_labels: tuple[tuple[str, str], ...] = ()
    """As the container runtime gave them at ADD."""
    audit: bool = False
    """Audit mode was chosen for it."""


class EndpointStore:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, record: EndpointRecord) -> None:
        """Writes a record in place of the one with its id."""
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".{record.id}"
        fresh.write_bytes(msgspec.json.encode(record))
        os.replace(fresh, self._folder / f"{record.id}.json")

    def delete(self, endpoint: int) -> None:
        """Removes a record; it may be gone."""
        (self._folder / f"{endpoint}.json").unlink(missing_ok=True)

    def load(self) -> list[EndpointRecord]:
        """Every record, by id. One that cannot be read is reported and left out."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=EndpointRecord))
            except msgspec.DecodeError as error:
                log.error("endpoint record unreadable", extra={"path": str(path), "error": error})
        return sorted(found, key=lambda one: one.id)
