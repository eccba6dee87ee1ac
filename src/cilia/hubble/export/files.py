"""A file of lines that is rotated by size, and mended where a line was torn.

A line is written whole or not at all, as far as a reader can tell after the next start:
what a crash or a full disk left of a line is cut off before anything follows it. Data is
forced to disk (fsync) when a file is rotated or closed, not at every batch: a killed
process loses nothing that was written, a power cut what the kernel had not written yet.
"""

import gzip
import os
import shutil
import stat
from pathlib import Path

from cilia.hubble.export.lines import STARTS

MODE = 0o600
BLOCK = 1 << 16
LONGEST_LINE = 1 << 24


class NotOursError(OSError):
    """A path that holds something else than our lines, and is left alone."""


class RotatingFile:
    """Lines in `path`; older ones in `path.1` (the newest) and so on.

    Args:
        path: Made with its folder when the first line comes.
        max_bytes: It is rotated before it would grow beyond; 0: never. One batch that is
            larger makes one larger file.
        max_backups: So many rotated files are kept; 0: all.
        compress: Whether they are gzipped: `path.1.gz`.
    """

    def __init__(self, path: Path, max_bytes: int, max_backups: int, compress: bool) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_backups = max_backups
        self._compress = compress
        self._fd = -1
        self.torn = 0
        """Bytes of torn lines that were cut off."""
        self.rotations = 0

    def open(self) -> bool:
        """Opens and mends the file; whether lines were in it already.

        Raises:
            NotOursError: It is no file of our lines.
            OSError: It cannot be opened.
        """
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, MODE)
        try:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise NotOursError(None, "not a regular file; `stdout` is written as that word")
            self._mend()
        except OSError:
            self._close_now()
            raise
        self._backup(1, ".gz.part").unlink(missing_ok=True)
        return self._size() > 0

    def append(self, data: bytes) -> None:
        """Writes whole lines; when it raises, none of a line's bytes stay.

        Raises:
            OSError: The disk is full, the file cannot be opened … It may be tried again.
        """
        if self._fd < 0 or self._is_gone():
            self.close()
            self.open()
        size = self._size()
        if self._max_bytes and size and size + len(data) > self._max_bytes:
            self._rotate()
            self.open()
            size = 0
        self._write(data, size)

    def close(self) -> None:
        """Forces what was written to disk, and closes; it may be opened again."""
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            finally:
                self._close_now()

    def _close_now(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _size(self) -> int:
        return os.fstat(self._fd).st_size

    def _is_gone(self) -> bool:
        """Whether somebody moved or removed it (another tool that rotates)."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def _write(self, data: bytes, size: int) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            try:
                os.ftruncate(self._fd, size)
            finally:
                self._close_now()  # opened and mended again by the next `append`
            raise

    def _mend(self) -> None:
        """Cuts off what follows the last end of a line, if it is the start of a line of ours."""
        size = end = self._size()
        tail = b""
        while end and b"\n" not in tail:
            if len(tail) > LONGEST_LINE:
                raise NotOursError(None, f"its last line is longer than {LONGEST_LINE} bytes")
            begin = max(0, end - BLOCK)
            tail = os.pread(self._fd, end - begin, begin) + tail
            end = begin
        torn = tail.rpartition(b"\n")[2]
        if not torn:
            return
        text = torn.rstrip(b"\0")  # what a power cut may leave at the end
        if text and not any(one.startswith(text[: len(one)]) for one in STARTS):
            raise NotOursError(None, "does not hold flows as JSON lines; choose another file")
        self.torn += len(torn)
        os.ftruncate(self._fd, size - len(torn))

    def _backup(self, number: int, suffix: str = "") -> Path:
        return self._path.with_name(f"{self._path.name}.{number}{suffix}")

    def _holders(self, number: int) -> list[Path]:
        """The files of a number; two only after a crash between compressing and removing."""
        found = [self._backup(number, suffix) for suffix in (".gz", "")]
        return [path for path in found if path.exists()]

    def _rotate(self) -> None:
        """Moves every backup one number up, from the oldest that must move, and begins anew."""
        self.close()
        free = 1
        while self._holders(free) and free != self._max_backups:
            free += 1
        for path in self._holders(free):
            path.unlink()
        for number in range(free - 1, 0, -1):
            whole, *doubled = self._holders(number)
            for path in doubled:
                path.unlink()
            whole.rename(self._backup(number + 1, ".gz" if whole.suffix == ".gz" else ""))
        self._path.rename(self._backup(1))
        self.rotations += 1
        if self._compress:
            self._compress_newest()

    def _compress_newest(self) -> None:
        plain, part = self._backup(1), self._backup(1, ".gz.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        with os.fdopen(descriptor, "wb") as raw, plain.open("rb") as source:
            with gzip.GzipFile(plain.name, "wb", fileobj=raw) as packed:
                shutil.copyfileobj(source, packed, BLOCK)
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(self._backup(1, ".gz"))
        plain.unlink()


class StandardOutput:
    """Lines on this process's standard output; the same seam as `RotatingFile`."""

    torn = rotations = 0

    def open(self) -> bool:
        """Nothing to do."""
        return False

    def append(self, data: bytes) -> None:
        """Writes whole lines."""
        left = memoryview(data)
        while left:
            left = left[os.write(1, left) :]

    def close(self) -> None:
        """Nothing to do: it is not ours to close."""
