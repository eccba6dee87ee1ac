"""Tables: what one room knows, written as rows for the others to read.

A table lives in one event loop. Reads need no lock: between two awaits nothing
changes, so whatever is read without awaiting is one snapshot.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from cilia.model.errors import CiliaError

Row = TypeVar("Row")


class TableError(CiliaError):
    """A table was wired or asked in a way that it does not support."""


class Change(NamedTuple, Generic[Row]):
    """How one row moved between two looks at it."""

    key: Hashable
    old: Row | None
    """The row when the watcher last saw it; None: it had none."""
    new: Row | None
    """The row now; None: it is gone."""


class Changes(NamedTuple, Generic[Row]):
    """Everything that changed since the watcher's last batch, a row at most once."""

    revision: int
    """The table's revision that this batch brings the watcher to."""
    changes: list[Change[Row]]
    synced: bool
    """Whether the table has heard all of its source at least once."""


class Table(Generic[Row]):
    """Rows by primary key, with secondary indexes, revisions and change feeds.

    Args:
        name: What the rows are, in the plural; appears in errors and in `cilia status`.
        key: Gives a row's primary key. Keys are unique.
        indexes: Name of an index to a function that gives the values under which a
            row is found.
        writer: The one room that may write (see `claim`).
    """

    def __init__(
        self,
        name: str,
        key: Callable[[Row], Hashable],
        *,
        indexes: Mapping[str, Callable[[Row], Iterable[Hashable]]] | None = None,
        writer: str = "",
    ) -> None:
        self.name = name
        self.writer = writer
        self.revision = 0
        self.synced = asyncio.Event()
        self._key = key
        self._rows: dict[Hashable, Row] = {}
        self._index_of = dict(indexes or {})
        self._found: dict[str, dict[Hashable, dict[Hashable, None]]] = {
            index: {} for index in self._index_of
        }
        self._watches: list[Watch[Row]] = []
        self._reconciled: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._claimed = False

    def claim(self, room: str) -> "Table[Row]":
        """Returns the table for writing to the one room that owns it.

        Raises:
            TableError: `room` is not the writer, or somebody claimed it before.
        """
        if room != self.writer or self._claimed:
            raise TableError(
                f"table {self.name} is written by {self.writer}, and by nobody else: "
                f"{room} cannot claim it{' again' if self._claimed else ''}"
            )
        self._claimed = True
        return self

    # Reading

    def get(self, key: Hashable) -> Row | None:
        """Returns the row with this primary key, or None."""
        return self._rows.get(key)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def snapshot(self) -> list[Row]:
        """Returns all rows as they are now; later writes do not reach the list."""
        return list(self._rows.values())

    def by(self, index: str, value: Hashable) -> list[Row]:
        """Returns the rows that an index holds under `value`, in order of insertion."""
        rows = self._rows
        return [rows[key] for key in self._found[index].get(value, ())]

    # Writing

    def upsert(self, *rows: Row) -> int:
        """Inserts or replaces rows; one that equals what is there changes nothing.

        Returns:
            The table's revision afterwards.
        """
        dirty = False
        for row in rows:
            key = self._key(row)
            old = self._rows.get(key)
            if old is not None and old == row:
                continue
            if not dirty:
                dirty = True
                self.revision += 1
            self._put(key, old, row)
        if dirty:
            self._wake()
        return self.revision

    def delete(self, *keys: Hashable) -> int:
        """Removes the rows with these keys, and returns the revision afterwards."""
        present = [key for key in keys if key in self._rows]
        if present:
            self.revision += 1
            for key in present:
                self._put(key, self._rows[key], None)
            self._wake()
        return self.revision

    def replace(self, rows: Iterable[Row], among: Collection[Hashable] | None = None) -> int:
        """Makes `rows` the whole content: what a list call against the source found.

        Args:
            rows: The new content.
            among: Only these keys may be removed; None: any.
        """
        fresh = list(rows)
        kept = {self._key(row) for row in fresh}
        candidates = self._rows if among is None else among
        self.upsert(*fresh)
        self.delete(*[key for key in candidates if key not in kept])
        return self.revision

    def mark_synced(self) -> None:
        """Says that the source has told everything once: from now on absence is a fact."""
        if not self.synced.is_set():
            self.synced.set()
            self._wake()

    def _put(self, key: Hashable, old: Row | None, new: Row | None) -> None:
        if self._index_of:
            self._index(key, old, new)
        if new is None:
            del self._rows[key]
        else:
            self._rows[key] = new
        for watch in self._watches:
            watch.seen.setdefault(key, old)

    def _index(self, key: Hashable, old: Row | None, new: Row | None) -> None:
        for name, values_of in self._index_of.items():
            found = self._found[name]
            if old is None and new is not None:
                for value in values_of(new):
                    found.setdefault(value, {})[key] = None
                continue
            before = set(values_of(old)) if old is not None else set()
            after = set(values_of(new)) if new is not None else set()
            for value in before - after:
                keys = found[value]
                del keys[key]
                if not keys:
                    del found[value]
            for value in after - before:
                found.setdefault(value, {})[key] = None

    def _wake(self) -> None:
        for watch in self._watches:
            watch.pending.set()

    # Following

    def watch(self) -> "Watch[Row]":
        """Returns a feed of changes that begins with every row there is.

        The feed coalesces: a slow reader gets the latest row of each key and never
        a backlog. Close it (or leave its `with` block) to stop paying for it.
        """
        watch = Watch(self)
        self._watches.append(watch)
        return watch

    def _unwatch(self, watch: "Watch[Row]") -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    def reconciled(self, by: str, revision: int) -> None:
        """Records that reconciler `by` has brought the outside to `revision`."""
        if revision > self._reconciled.get(by, -1):
            self._reconciled[by] = revision
            self._moved.set()
            self._moved = asyncio.Event()

    def reconciled_revision(self, by: str) -> int:
        """Returns the revision that reconciler `by` has reached; -1 before its first."""
        return self._reconciled.get(by, -1)

    async def wait_reconciled(self, revision: int, by: str | None = None) -> None:
        """Waits until `by` (None: every reconciler that reports) has reached `revision`."""
        while not self._has_reached(revision, by):
            await self._moved.wait()

    def _has_reached(self, revision: int, by: str | None) -> bool:
        if by is not None:
            return self.reconciled_revision(by) >= revision
        return bool(self._reconciled) and min(self._reconciled.values()) >= revision


class Watch(Generic[Row]):
    """An async iterator of `Changes`; also a context manager that ends the feed."""

    def __init__(self, table: Table[Row]) -> None:
        self._table = table
        self.seen: dict[Hashable, Row | None] = dict.fromkeys(table._rows)
        self.pending = asyncio.Event()
        self.pending.set()

    def __enter__(self) -> "Watch[Row]":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the feed; a reader that waits goes on waiting, so cancel it first."""
        self._table._unwatch(self)

    def __aiter__(self) -> "Watch[Row]":
        return self

    async def __anext__(self) -> Changes[Row]:
        await self.pending.wait()
        return self.take()

    def take(self) -> Changes[Row]:
        """Returns what has changed until now, without waiting; may be empty."""
        self.pending.clear()
        seen, self.seen = self.seen, {}
        rows = self._table._rows
        changes = [
            Change(key, old, new)
            for key, old in seen.items()
            if (new := rows.get(key)) is not old and new != old
        ]
        return Changes(self._table.revision, changes, self._table.synced.is_set())
