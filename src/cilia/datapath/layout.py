"""Layouts and numbers that programs and Python share, read from one object's BTF."""

import functools
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cilia.kernel.btf import Btf, DType
from cilia.model.errors import CiliaError

OBJECTS = Path(__file__).parent / "objects"
"""Where the compiled objects lie."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NO_ADDRESS = bytes(16)
_V4_HEAD = bytes(10) + b"\xff\xff"


class LayoutError(CiliaError):
    """Objects, pinned maps and this version of Python do not belong together."""


@functools.cache
def btf() -> Btf:
    """The shared types.

    Raises:
        LayoutError: The objects have not been built.
    """
    path = OBJECTS / "layout.bpf.o"
    if not path.exists():
        raise LayoutError(f"{path} is missing: build the kernel objects with `make -C bpf`")
    return Btf.from_object(path)


@functools.cache
def struct(name: str) -> DType:
    """The dtype of a shared struct, such as `event_record`."""
    return btf().struct(name)


@functools.cache
def map_types(name: str) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """dtypes of a map's key and value; an array of maps holds ids."""
    key, value = btf().map_types(name)
    return key or np.dtype("<u4"), value or np.dtype("<u4")


@functools.cache
def constants() -> dict[str, int]:
    """Every enum value that C declares: `constants()["ENDPOINT_READY"]`."""
    return btf().constants()


def constant(name: str) -> int:
    """One of them."""
    return constants()[name]


def encode_address(address: Address | str | None) -> bytes:
    """The kernel's 16 bytes of an address, IPv4 as ::ffff:a.b.c.d; None: all zero.

    >>> encode_address("10.0.0.1").hex()
    '00000000000000000000ffff0a000001'
    """
    if address is None:
        return NO_ADDRESS
    if isinstance(address, str):
        return _encode_text(address)
    return _V4_HEAD + address.packed if address.version == 4 else address.packed


def _encode_text(text: str) -> bytes:
    """The same from text; ten times as fast as by way of an ipaddress object."""
    try:
        return inet_pton(AF_INET6, text) if ":" in text else _V4_HEAD + inet_pton(AF_INET, text)
    except OSError as error:
        raise ValueError(f"{text!r} is not an address") from error


def decode_address(raw: bytes) -> Address:
    """The address of 16 bytes; only the mapped form is IPv4.

    >>> decode_address(bytes(10) + bytes.fromhex("ffff0a000001"))
    IPv4Address('10.0.0.1')
    """
    if raw.startswith(_V4_HEAD):
        return ipaddress.IPv4Address(raw[12:])
    return ipaddress.IPv6Address(raw)


def encode_addresses(addresses: Iterable[Address | str | None]) -> NDArray[np.void]:
    """Many addresses as one column, shape (n,), dtype V16."""
    return np.frombuffer(b"".join(map(encode_address, addresses)), "V16")


def encode_mac(mac: str) -> list[int]:
    """The 6 numbers of "02:00:00:00:00:01"."""
    return list(bytes.fromhex(mac.replace(":", "")))


def decode_mac(raw: Any) -> str:
    """A MAC column's cell as text."""
    return bytes(raw).hex(":")
