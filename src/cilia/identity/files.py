"""A lone node's identities: one small file each, in a folder."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from cilia.identity.ports import Listed, NumberTaken, Removed, StoreAway, Stored, StoredIdentity
from cilia.model.labels import LabelSet

log = logging.getLogger(__name__)


class FileIdentities:
    """An IdentityStore for one agent that has no cluster.

    A file that cannot be read is reported and taken for none: numbers that pods carry are
    in the pods' records too, and are made again under the same number.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = {each.number: each for each in _read(folder)}
        self._events: asyncio.Queue[Stored | Removed] = asyncio.Queue()

    async def create(self, number: int, labels: LabelSet) -> StoredIdentity:
        """Takes a number for a label set."""
        held = self._held.get(number)
        if held is None:
            return self._save(StoredIdentity(number, labels))
        if held.labels != labels:
            raise NumberTaken(f"identity {number} belongs to another label set")
        return held

    async def mark_unused(self, identity: StoredIdentity, since: float) -> None:
        """Sets or clears the mark, unless the identity was written meanwhile."""
        if self._held.get(identity.number) == identity:
            self._save(msgspec.structs.replace(identity, unused_since=since))

    async def remove(self, identity: StoredIdentity) -> None:
        """Deletes the file, unless the identity was written meanwhile."""
        if self._held.get(identity.number) != identity:
            return
        try:
            self._path(identity.number).unlink(missing_ok=True)
        except OSError as error:
            raise StoreAway(f"delete identity {identity.number}: {error}") from error
        del self._held[identity.number]
        self._events.put_nowait(Removed(identity.number))

    async def follow(self) -> AsyncIterator[Listed | Stored | Removed]:
        """Yields all identities and then their changes, for ever."""
        yield Listed(tuple(self._held.values()))
        while True:
            yield await self._events.get()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _save(self, identity: StoredIdentity) -> StoredIdentity:
        version = int(identity.version or 0) + 1
        stored = msgspec.structs.replace(identity, version=str(version))
        fresh = self._folder / f".{stored.number}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(stored))
            os.replace(fresh, self._path(stored.number))
        except OSError as error:
            raise StoreAway(f"write identity {stored.number}: {error}; free the disk") from error
        self._held[stored.number] = stored
        self._events.put_nowait(Stored(stored))
        return stored


def _read(folder: Path) -> list[StoredIdentity]:
    found = []
    for path in sorted(folder.glob("[0-9]*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=StoredIdentity))
        except (msgspec.DecodeError, OSError) as error:
            log.error("identity unreadable", extra={"path": str(path), "error": str(error)})
    return found
