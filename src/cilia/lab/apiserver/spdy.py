"""SPDY/3.1 framing, as far as kubectl's exec, attach and port-forward use it.

Bytes in, frames out, and back; no sockets here.

Source:
    https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

import struct
import zlib
from collections.abc import Mapping

import msgspec

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location "
    "max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after "
    "server te trailer transfer-encoding upgrade user-agent vary via warning "
    "www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    "Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 "
    "Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, "
    "Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()
    )
    + _TAIL.encode()
)
"""The preset dictionary of header compression (draft, section 2.6.10.1)."""

_CONTROL = 0x80030000
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
FIN = 1
MAX_FRAME_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 16
DATA_CHUNK_BYTES = 32 * 1024


class SpdyError(Exception):
    """The peer sends what is no SPDY/3.1."""


class Opened(msgspec.Struct, frozen=True):
    """The peer opens a stream."""

    stream: int
    headers: dict[str, str]
    ended: bool


class Data(msgspec.Struct, frozen=True):
    """Bytes on a stream."""

    stream: int
    payload: bytes
    ended: bool
    """Whether these are the last ones."""


class Reset(msgspec.Struct, frozen=True):
    """The peer gives a stream up."""

    stream: int


class Ping(msgspec.Struct, frozen=True):
    """The peer wants this number back."""

    number: int


class Away(msgspec.Struct, frozen=True):
    """The peer is about to close."""


Frame = Opened | Data | Reset | Ping | Away


class Decoder:
    """Turns the peer's bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, raw: bytes) -> list[Frame]:
        """The frames that these bytes complete, frames of no interest left out.

        Raises:
            SpdyError: The bytes are no SPDY/3.1, or a frame is too large.
        """
        self._rest += raw
        frames: list[Frame] = []
        while len(self._rest) >= 8:
            head, tail = struct.unpack_from(">II", self._rest)
            length = tail & 0xFFFFFF
            if length > MAX_FRAME_BYTES:
                raise SpdyError(f"frame of {length} bytes; {MAX_FRAME_BYTES} are allowed")
            if len(self._rest) < 8 + length:
                break
            body = bytes(self._rest[8 : 8 + length])
            del self._rest[: 8 + length]
            try:
                frame = self._frame(head, tail >> 24, body)
            except (struct.error, zlib.error, UnicodeDecodeError) as error:
                raise SpdyError(f"malformed frame: {error}") from error
            if frame is not None:
                frames.append(frame)
        return frames

    def _frame(self, head: int, flags: int, body: bytes) -> Frame | None:
        if not head >> 31:
            return Data(head, body, bool(flags & FIN))
        if head >> 16 != _CONTROL >> 16:
            raise SpdyError(f"version {head >> 16 & 0x7FFF} of SPDY, not 3")
        kind = head & 0xFFFF
        if kind == SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            return Opened(stream & 0x7FFFFFFF, self._headers(body[10:]), bool(flags & FIN))
        if kind in (SYN_REPLY, HEADERS):
            # Of no interest, but the compression state must see every header block.
            self._headers(body[4:])
        if kind == RST_STREAM:
            return Reset(struct.unpack_from(">I", body)[0] & 0x7FFFFFFF)
        if kind == PING:
            return Ping(struct.unpack_from(">I", body)[0])
        return Away() if kind == GOAWAY else None

    def _headers(self, packed: bytes) -> dict[str, str]:
        block = self._inflate.decompress(packed, MAX_HEADER_BYTES)
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers are larger than {MAX_HEADER_BYTES} bytes")
        (count,) = struct.unpack_from(">I", block)
        texts, at = [], 4
        for _ in range(2 * min(count, MAX_HEADER_BYTES)):
            (length,) = struct.unpack_from(">I", block, at)
            texts.append(block[at + 4 : at + 4 + length].decode())
            at += 4 + length
        return dict(zip((name.lower() for name in texts[::2]), texts[1::2], strict=True))


class Encoder:
    """Makes the bytes of our frames. Headers share one compression state: keep the order."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.encode(), value.encode()):
                block += struct.pack(">I", len(text)) + text
        return self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def open(self, stream: int, headers: Mapping[str, str]) -> bytes:
        """SYN_STREAM: opens a stream (what clients do, and our tests)."""
        body = struct.pack(">IIH", stream, 0, 0) + self._pack(headers)
        return struct.pack(">II", _CONTROL | SYN_STREAM, len(body)) + body

    def reply(self, stream: int) -> bytes:
        """SYN_REPLY: accepts a stream."""
        body = struct.pack(">I", stream) + self._pack({})
        return struct.pack(">II", _CONTROL | SYN_REPLY, len(body)) + body

    def data(self, stream: int, payload: bytes, *, end: bool = False) -> bytes:
        """DATA frames with the payload, in chunks; with `end`, the last one closes our half."""
        chunks = [
            payload[at : at + DATA_CHUNK_BYTES] for at in range(0, len(payload), DATA_CHUNK_BYTES)
        ] or [b""]
        flags = [0] * (len(chunks) - 1) + [FIN if end else 0]
        return b"".join(
            struct.pack(">II", stream, flag << 24 | len(chunk)) + chunk
            for flag, chunk in zip(flags, chunks, strict=True)
        )

    def ping(self, number: int) -> bytes:
        """PING: gives the peer's number back."""
        return struct.pack(">III", _CONTROL | PING, 4, number)

    def reset(self, stream: int) -> bytes:
        """RST_STREAM with CANCEL."""
        return struct.pack(">IIII", _CONTROL | RST_STREAM, 8, stream, 5)

    def away(self) -> bytes:
        """GOAWAY: we are about to close."""
        return struct.pack(">IIII", _CONTROL | GOAWAY, 8, 0, 0)
