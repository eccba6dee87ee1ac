"""Garbage collection: dependents go with their owners; events go with time.

Source:
    https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

import asyncio
import logging
import time
from collections import deque
from datetime import datetime

from .deletion import FOREGROUND, ORPHAN, DeleteOptions, Deleter
from .errors import Json, StatusError
from .objects import copy
from .options import WriteOptions
from .resources import Registry, Resource
from .rest import Rest, key_of
from .storage import Change, Key, Store

log = logging.getLogger(__name__)

EVENT_SECONDS = 3600
"""Age at which an event is deleted."""
SWEEP_SECONDS = 60.0
_BATCH = 50

Place = tuple[str, Key]
"""Resource key and object key."""


class Garbage:
    """Follows the store; acts on what became garbage, a few objects at a time."""

    def __init__(self, store: Store, registry: Registry, rest: Rest, deleter: Deleter) -> None:
        self._store = store
        self._registry = registry
        self._rest = rest
        self._deleter = deleter
        self._places: dict[str, Place] = {}
        self._dependents: dict[str, dict[Place, None]] = {}
        self._suspects: deque[Place] = deque()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Works until cancelled."""
        for resource in self._store.resources():
            for item in self._store.items(resource):
                self._index(resource, item)
        subscription = self._store.subscribe("", self._follow)
        try:
            while True:
                try:
                    async with asyncio.timeout(SWEEP_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    self._sweep_events()
                    continue
                self._wake.clear()
                while self._suspects:
                    for _ in range(min(_BATCH, len(self._suspects))):
                        self._attempt(*self._suspects.popleft())
                    await asyncio.sleep(0)
        finally:
            self._store.unsubscribe(subscription)

    def _suspect(self, place: Place) -> None:
        self._suspects.append(place)
        self._wake.set()

    def _index(self, resource: str, item: Json) -> None:
        place = (resource, key_of(item))
        metadata = item["metadata"]
        self._places[metadata["uid"]] = place
        for owner in metadata.get("ownerReferences") or []:
            self._dependents.setdefault(owner["uid"], {})[place] = None
        if metadata.get("ownerReferences") or _waits(metadata):
            self._suspect(place)

    def _follow(self, change: Change) -> None:
        if change.type != "DELETED":
            self._index(change.resource, change.object)
            return
        metadata = change.object["metadata"]
        place = (change.resource, key_of(change.object))
        self._places.pop(metadata["uid"], None)
        for dependent in self._dependents.pop(metadata["uid"], {}):
            self._suspect(dependent)
        for owner in metadata.get("ownerReferences") or []:
            self._dependents.get(owner["uid"], {}).pop(place, None)
            if owner["uid"] in self._places:
                self._suspect(self._places[owner["uid"]])

    def _attempt(self, resource_key: str, key: Key) -> None:
        item = self._store.get(resource_key, key)
        plural, _, group = resource_key.partition(".")
        resource = self._registry.any_version(group, plural)
        if item is None or resource is None:
            return
        try:
            self._judge(resource, key, item)
        except StatusError as error:
            log.warning(
                "garbage stays",
                extra={"resource": resource_key, "object": key[1], "why": str(error)},
            )

    def _judge(self, resource: Resource, key: Key, item: Json) -> None:
        metadata = item["metadata"]
        owners = metadata.get("ownerReferences") or []
        if owners and "deletionTimestamp" not in metadata:
            living = [owner for owner in owners if self._lives(owner["uid"])]
            if not living:
                self._delete(resource, key, metadata)
                return
            if len(living) < len(owners):
                self._write(resource, item, {"ownerReferences": living})
                return
        finalizers = metadata.get("finalizers") or []
        if "deletionTimestamp" in metadata and ORPHAN in finalizers:
            self._orphan(metadata["uid"])
            self._finish(resource, key, ORPHAN)
        elif (
            "deletionTimestamp" in metadata
            and FOREGROUND in finalizers
            and not self._delete_dependents(metadata["uid"])
        ):
            self._finish(resource, key, FOREGROUND)

    def _lives(self, uid: str) -> bool:
        """Whether an owner exists and does not wait for its dependents to go."""
        place = self._places.get(uid)
        owner = self._store.get(*place) if place else None
        if owner is None or owner["metadata"]["uid"] != uid:
            return False
        metadata = owner["metadata"]
        return not (
            "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or [])
        )

    def _delete(self, resource: Resource, key: Key, metadata: Json) -> None:
        policy = "Background"
        if any(self._waits_for_us(owner) for owner in metadata["ownerReferences"]):
            policy = "Foreground"
        options = DeleteOptions(propagation_policy=policy, preconditions={"uid": metadata["uid"]})
        self._deleter.delete(resource, key, options, WriteOptions())

    def _waits_for_us(self, owner: Json) -> bool:
        return bool(owner.get("blockOwnerDeletion")) and owner["uid"] in self._places

    def _delete_dependents(self, uid: str) -> bool:
        """Whether dependents are left that block their owner."""
        blocking = False
        for place in list(self._dependents.get(uid, {})):
            item = self._store.get(*place)
            if item is None:
                continue
            for owner in item["metadata"].get("ownerReferences") or []:
                blocking |= owner["uid"] == uid and bool(owner.get("blockOwnerDeletion"))
            if "deletionTimestamp" not in item["metadata"]:
                self._suspect(place)
        return blocking

    def _orphan(self, uid: str) -> None:
        for resource_key, key in list(self._dependents.get(uid, {})):
            item = self._store.get(resource_key, key)
            plural, _, group = resource_key.partition(".")
            resource = self._registry.any_version(group, plural)
            if item is None or resource is None:
                continue
            owners = item["metadata"].get("ownerReferences") or []
            kept = [owner for owner in owners if owner["uid"] != uid]
            self._write(resource, item, {"ownerReferences": kept})

    def _finish(self, resource: Resource, key: Key, finalizer: str) -> None:
        item = self._store.get(resource.key, key)
        if item is None:
            return
        finalizers = item["metadata"].get("finalizers") or []
        kept = [name for name in finalizers if name != finalizer]
        self._write(resource, item, {"finalizers": kept})

    def _write(self, resource: Resource, item: Json, metadata: Json) -> None:
        changed = copy(item)
        changed["metadata"] |= metadata
        changed["apiVersion"] = resource.api_version
        self._rest.update(resource, key_of(item), changed, WriteOptions())

    def _sweep_events(self) -> None:
        resource = self._registry.find("", "v1", "events")
        assert resource is not None
        oldest = time.time() - EVENT_SECONDS
        for item in list(self._store.items("events")):
            stamp = item.get("lastTimestamp") or item["metadata"]["creationTimestamp"]
            if datetime.fromisoformat(stamp).timestamp() < oldest:
                self._store.delete("events", key_of(item))


def _waits(metadata: Json) -> bool:
    finalizers = metadata.get("finalizers") or []
    return "deletionTimestamp" in metadata and (FOREGROUND in finalizers or ORPHAN in finalizers)
