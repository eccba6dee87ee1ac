"""Container output as CRI log lines: time, stream, full or partial, text.

Source: Kubernetes design "CRI logging"; kubelet's containerLogMaxSize (10 Mi)
and containerLogMaxFiles (5).
"""

import os
import time

MAX_LINE_BYTES = 16 * 1024
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_FILES = 5


def timestamp(now_ns: int) -> bytes:
    """RFC 3339 time in UTC with nanoseconds.

    >>> timestamp(1)
    b'1970-01-01T00:00:00.000000001Z'
    """
    seconds, rest = divmod(now_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest:09d}Z".encode()


class Framer:
    """Cuts one stream's bytes into CRI lines."""

    def __init__(self, stream: str) -> None:
        self._stream = stream.encode()
        self._pending = b""

    def feed(self, chunk: bytes, now_ns: int) -> bytes:
        """The CRI lines that `chunk` completes; what is left waits for more."""
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        head = timestamp(now_ns) + b" " + self._stream
        out = [self._line(head, line) for line in lines]
        while len(self._pending) >= MAX_LINE_BYTES:
            part, self._pending = self._pending[:MAX_LINE_BYTES], self._pending[MAX_LINE_BYTES:]
            out.append(head + b" P " + part + b"\n")
        return b"".join(out)

    def finish(self, now_ns: int) -> bytes:
        """The last line, when the stream ended without a newline."""
        rest, self._pending = self._pending, b""
        return self._line(timestamp(now_ns) + b" " + self._stream, rest) if rest else b""

    @staticmethod
    def _line(head: bytes, line: bytes) -> bytes:
        out = b""
        while len(line) > MAX_LINE_BYTES:
            out += head + b" P " + line[:MAX_LINE_BYTES] + b"\n"
            line = line[MAX_LINE_BYTES:]
        return out + head + b" F " + line + b"\n"


class LogFile:
    """One container's log file, which gives way to a fresh one when it is full."""

    def __init__(self, path: str, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def write(self, lines: bytes) -> None:
        """Appends whole lines; a full disk loses lines, never the container."""
        if not lines:
            return
        if self._size + len(lines) > self._max_bytes and self._size:
            self._rotate()
        try:
            self._size += os.write(self._fd, lines)
        except OSError:
            return

    def close(self) -> None:
        """Closes the file; what was written stays."""
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _rotate(self) -> None:
        os.close(self._fd)
        for age in range(MAX_FILES - 2, -1, -1):
            older = f"{self._path}.{age}" if age else self._path
            if os.path.exists(older):
                os.replace(older, f"{self._path}.{age + 1}")
        self._fd = self._open()
        self._size = 0
