"""Reading container logs back: what `kubectl logs` asks for.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
(read log of the specified Pod: query parameters).
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cilia.lab.kubelet.shim.log import MAX_FILES
from cilia.model.errors import InvalidValue

_POLL_S = 0.1


class LogOptions(msgspec.Struct, frozen=True):
    """What part of a log is wanted, and how."""

    follow: bool = False
    tail_lines: int | None = None
    since: float | None = None
    """Seconds since the epoch."""
    timestamps: bool = False
    previous: bool = False
    limit_bytes: int | None = None


def parse_options(query: Mapping[str, str], now: float) -> LogOptions:
    """The options in a request's query.

    Raises:
        InvalidValue: One of them is not what it should be.
    """

    def flag(name: str) -> bool:
        return query.get(name, "false") in ("true", "1", "")

    def number(name: str) -> int | None:
        text = query.get(name)
        if text is None:
            return None
        if not text.isdecimal():
            raise InvalidValue(f"{name} is {text!r}; it must be a number, 0 or more")
        return int(text)

    seconds = number("sinceSeconds")
    since = now - seconds if seconds is not None else None
    if "sinceTime" in query:
        try:
            moment = datetime.fromisoformat(query["sinceTime"])
        except ValueError as error:
            raise InvalidValue(f"sinceTime {query['sinceTime']!r}: {error}") from error
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return LogOptions(
        follow=flag("follow") if "follow" in query else False,
        tail_lines=number("tailLines"),
        since=since,
        timestamps=flag("timestamps") if "timestamps" in query else False,
        previous=flag("previous") if "previous" in query else False,
        limit_bytes=number("limitBytes"),
    )


class LineRenderer:
    """Turns CRI lines into what the reader gets."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._partial: dict[bytes, bool] = {}

    def render(self, line: bytes) -> bytes:
        """One stored line (without newline) as output; empty when it is too old."""
        stamp, stream, tag, text = (*line.split(b" ", 3), b"", b"", b"")[:4]
        if not tag:
            return b""
        if self._options.since is not None and moment(stamp) < self._options.since:
            return b""
        continues = self._partial.get(stream, False)
        self._partial[stream] = tag == b"P"
        head = stamp + b" " if self._options.timestamps and not continues else b""
        return head + text + (b"" if tag == b"P" else b"\n")


def moment(stamp: bytes) -> float:
    """A CRI time stamp in seconds since the epoch.

    >>> moment(b"1970-01-01T00:00:01.500000000Z")
    1.5
    """
    whole, _, rest = stamp.decode().rstrip("Z").partition(".")
    base = datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp()
    return base + float(f"0.{rest or 0}")


async def read_log(
    path: Path, options: LogOptions, is_running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yields the wanted part of a log.

    Args:
        path: The current file of a container's run.
        options: What is wanted.
        is_running: Whether more can come.
    """
    renderer = LineRenderer(options)
    left = options.limit_bytes
    source = Follower(path)
    history: Iterator[bytes] = (renderer.render(line) for line in source.history())
    if options.tail_lines is not None:
        history = iter(deque(history, maxlen=options.tail_lines))
    for chunk in history:
        if left is not None:
            chunk, left = chunk[:left], max(left - len(chunk), 0)
        if chunk:
            yield chunk
        if left == 0:
            return
    while options.follow:
        running = is_running()
        lines = source.more()
        out = b"".join(renderer.render(line) for line in lines)
        if out:
            yield out
        elif not running:
            return
        else:
            await asyncio.sleep(_POLL_S)


class Follower:
    """Reads a log that still grows, across rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._rest = b""

    def history(self) -> Iterator[bytes]:
        """What is there now."""
        for age in range(MAX_FILES, 0, -1):
            yield from self._older(age)
        yield from self.more()

    def more(self) -> list[bytes]:
        """The whole lines that came since."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            inode = os.fstat(file.fileno()).st_ino
            out: list[bytes] = []
            if self._inode and inode != self._inode:
                out = self._rotated()
            self._inode = inode
            file.seek(self._offset)
            return out + self._cut(file.read())

    def _rotated(self) -> list[bytes]:
        """The rest of the file that we read, now under another name."""
        offset, self._offset = self._offset, 0
        try:
            with self._path.with_name(f"{self._path.name}.1").open("rb") as old:
                if os.fstat(old.fileno()).st_ino == self._inode:
                    old.seek(offset)
                    lines = self._cut(old.read())
                    self._offset = 0
                    return lines
        except FileNotFoundError:
            pass
        return []

    def _cut(self, chunk: bytes) -> list[bytes]:
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return lines

    def _older(self, age: int) -> Iterator[bytes]:
        try:
            with self._path.with_name(f"{self._path.name}.{age}").open("rb") as file:
                for line in file:
                    yield line.rstrip(b"\n")
        except FileNotFoundError:
            return
