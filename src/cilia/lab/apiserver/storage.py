"""The objects: SQLite below, dictionaries above, one revision counter.

A write is a SQLite transaction (write-ahead log) before it is visible to any
reader, so what a client saw or was told survives `kill -9`. The last changes
are kept as well, in the same transaction, so that watches resume across a
restart.
"""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from .errors import Json, expired

HISTORY = 10_000
"""How many changes are kept for watches that resume."""
TRIM_EVERY = 1_000
"""Changes between two deletions of old ones on disk."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
  revision INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
  revision INTEGER PRIMARY KEY, resource TEXT NOT NULL, type TEXT NOT NULL,
  namespace TEXT NOT NULL, body BLOB NOT NULL);
"""

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class Change(msgspec.Struct, frozen=True):
    """One committed write. The objects are shared: never change them."""

    revision: int
    resource: str
    """`pods`, `deployments.apps` …"""
    type: str
    """`ADDED`, `MODIFIED` or `DELETED`."""
    namespace: str
    object: Json
    previous: Json | None
    """The object before; None for an addition, or when it is no longer known."""


Listener = Callable[[Change], None]


class Store:
    """All objects of one cluster."""

    def __init__(self, path: Path) -> None:
        """Opens the database, and reads everything in it.

        Raises:
            sqlite3.Error: The file is no database, or another process holds it.
        """
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        # The kernel keeps what a killed process wrote; only a power cut needs FULL.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._objects: dict[str, dict[Key, Json]] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._listeners: dict[int, tuple[str, Listener]] = {}
        self._next_listener = 0
        self.revision = 0
        self._load()

    def _load(self) -> None:
        for resource, namespace, name, revision, body in self._db.execute(
            "SELECT resource, namespace, name, revision, body FROM objects"
        ):
            self._objects.setdefault(resource, {})[namespace, name] = decode(body)
            self.revision = max(self.revision, revision)
        latest: dict[tuple[str, str, str], Json] = {}
        for revision, resource, kind, namespace, body in self._db.execute(
            "SELECT revision, resource, type, namespace, body FROM changes ORDER BY revision"
        ):
            item = decode(body)
            key = (resource, namespace, item["metadata"]["name"])
            change = Change(revision, resource, kind, namespace, item, latest.get(key))
            if kind == "DELETED":
                latest.pop(key, None)
            else:
                latest[key] = item
            self._history.append(change)
            self.revision = max(self.revision, revision)

    def close(self) -> None:
        """Closes the database; everything is on disk already."""
        self._db.close()

    def get(self, resource: str, key: Key) -> Json | None:
        """The object, shared: copy it before changing it."""
        return self._objects.get(resource, {}).get(key)

    def items(self, resource: str, namespace: str = "") -> Iterator[Json]:
        """All objects of a resource, by namespace and name; shared, as `get`."""
        table = self._objects.get(resource, {})
        for key in sorted(table):
            if not namespace or key[0] == namespace:
                yield table[key]

    def resources(self) -> list[str]:
        """Names of the resources that have objects."""
        return [name for name, table in self._objects.items() if table]

    def put(self, resource: str, item: Json) -> Json:
        """Writes an object, stamps its revision into it and tells the listeners.

        Args:
            resource: Its resource.
            item: The whole object; the store keeps it.
        """
        key = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
        previous = self.get(resource, key)
        revision = self.revision + 1
        item["metadata"]["resourceVersion"] = str(revision)
        body = encode(item)
        kind = "MODIFIED" if previous else "ADDED"
        self._commit(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
            (resource, *key, revision, body),
            (revision, resource, kind, key[0], body),
        )
        self._objects.setdefault(resource, {})[key] = item
        self._publish(Change(revision, resource, kind, key[0], item, previous))
        return item

    def delete(self, resource: str, key: Key) -> Json:
        """Removes an object; returns its last state, with the revision of the removal."""
        previous = self._objects[resource][key]
        revision = self.revision + 1
        metadata = previous["metadata"] | {"resourceVersion": str(revision)}
        item = previous | {"metadata": metadata}
        self._commit(
            "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?",
            (resource, *key),
            (revision, resource, "DELETED", key[0], encode(item)),
        )
        del self._objects[resource][key]
        self._publish(Change(revision, resource, "DELETED", key[0], item, previous))
        return item

    def _commit(self, statement: str, row: tuple[object, ...], change: tuple[object, ...]) -> None:
        revision = self.revision + 1
        self._db.execute("BEGIN")
        try:
            self._db.execute(statement, row)
            self._db.execute("INSERT INTO changes VALUES (?, ?, ?, ?, ?)", change)
            if revision % TRIM_EVERY == 0:
                self._db.execute("DELETE FROM changes WHERE revision <= ?", (revision - HISTORY,))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _publish(self, change: Change) -> None:
        self.revision = change.revision
        self._history.append(change)
        for resource, listener in list(self._listeners.values()):
            if resource in ("", change.resource):
                listener(change)

    def since(self, resource: str, revision: int) -> list[Change]:
        """The changes of a resource after a revision, oldest first.

        Raises:
            StatusError: Changes after that revision are no longer kept (410).
        """
        oldest = self._history[0].revision - 1 if self._history else self.revision
        if revision < oldest:
            raise expired(oldest, revision)
        return [
            change
            for change in self._history
            if change.revision > revision and change.resource == resource
        ]

    def subscribe(self, resource: str, listener: Listener) -> int:
        """Calls the listener after each commit to a resource (or, empty, to any).

        Returns:
            What `unsubscribe` takes.
        """
        self._next_listener += 1
        self._listeners[self._next_listener] = (resource, listener)
        return self._next_listener

    def unsubscribe(self, subscription: int) -> None:
        """Ends a subscription."""
        self._listeners.pop(subscription, None)
