"""IP prefixes in bulk: a million of them are one array.

The kernel's form of a prefix is a 16-byte address, IPv4 as ::ffff:a.b.c.d, and a
number of bits, 96 + n for IPv4. Here both are one 17-byte key, the address and then
the bits, so that sorting keys puts every prefix right before what it contains.
"""

import ipaddress
from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_pton

import numpy as np
from numpy.typing import NDArray

from cilia.model.errors import InvalidValue
from cilia.model.labels import Network

PREFIX_KEY = np.dtype("S17")
V4_BITS = 96
_V4_HEAD = bytes(10) + b"\xff\xff"
_MANY = 64
_V4_MARKS = np.frombuffer(b".../\n", dtype=np.uint8)
PrefixKeys = NDArray[np.bytes_]


def prefix_key(prefix: Network) -> bytes:
    """The 17-byte key of one prefix."""
    address = prefix.network_address.packed
    if prefix.version == 4:
        return _V4_HEAD + address + bytes((V4_BITS + prefix.prefixlen,))
    return address + bytes((prefix.prefixlen,))


def prefix_of_key(key: bytes) -> Network:
    """The prefix of a key; trailing zero bytes may be missing, as numpy leaves them out."""
    key = key.ljust(17, b"\0")
    if is_v4_key(key):
        return ipaddress.IPv4Network((key[12:16], key[16] - V4_BITS))
    return ipaddress.IPv6Network((key[:16], key[16]))


def is_v4_key(key: bytes) -> bool:
    """True if a full 17-byte key is of an IPv4 prefix."""
    return key.startswith(_V4_HEAD) and len(key) == 17 and key[16] >= V4_BITS


def parse_prefixes(texts: Sequence[str]) -> PrefixKeys:
    """The keys of many prefixes, in the order given, host bits cleared.

    Args:
        texts: `address/bits`, or a bare address, of either family.

    Returns:
        Shape `(n,)`, dtype `PREFIX_KEY`.

    Raises:
        InvalidValue: One is not a prefix; the message starts with its index and text.
    """
    fast = _parse_v4(texts) if len(texts) >= _MANY else None
    if fast is not None:
        return mask_keys(fast)
    return np.array([_parse_one(index, text) for index, text in enumerate(texts)], PREFIX_KEY)


def _parse_v4(texts: Sequence[str]) -> NDArray[np.uint8] | None:
    """IPv4 prefixes without a loop; None if any of them is anything else."""
    try:
        text = np.frombuffer("\n".join([*texts, ""]).encode("ascii"), dtype=np.uint8)
    except UnicodeEncodeError:
        return None
    ends = np.flatnonzero((text < ord("0")) | (text > ord("9")))
    if len(ends) != 5 * len(texts) or not (text[ends].reshape(-1, 5) == _V4_MARKS).all():
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    lengths = ends - starts
    leading_zero = (lengths > 1) & (text[np.minimum(starts, len(text) - 1)] == ord("0"))
    if ((lengths < 1) | (lengths > 3) | leading_zero).any():
        return None
    numbers = np.zeros(len(ends), dtype=np.int64)
    for place in range(3):
        here = lengths > place
        numbers[here] = numbers[here] * 10 + (text[starts[here] + place] - ord("0"))
    parts = numbers.reshape(-1, 5)
    if (parts[:, :4] > 255).any() or (parts[:, 4] > 32).any():
        return None
    raw = np.zeros((len(texts), 17), dtype=np.uint8)
    raw[:, :12] = np.frombuffer(_V4_HEAD, dtype=np.uint8)
    raw[:, 12:16] = parts[:, :4]
    raw[:, 16] = V4_BITS + parts[:, 4]
    return raw


def _parse_one(index: int, text: str) -> bytes:
    address, slash, bits = text.partition("/")
    try:
        if ":" in address:
            packed, limit, offset = inet_pton(AF_INET6, address), 128, 0
            if packed.startswith(_V4_HEAD):
                raise OSError("IPv4 in IPv6 form")
        else:
            packed, limit, offset = _V4_HEAD + inet_pton(AF_INET, address), 32, V4_BITS
        length = (int(bits) if bits.isascii() and bits.isdigit() else -1) if slash else limit
        if not 0 <= length <= limit:
            raise OSError("bits out of range")
    except (OSError, ValueError) as error:
        raise InvalidValue(_prefix_problem(index, text)) from error
    rest = 128 - offset - length
    masked = int.from_bytes(packed) >> rest << rest
    return masked.to_bytes(16) + bytes((offset + length,))


def _prefix_problem(index: int, text: str) -> str:
    if text.lower().startswith("::ffff:"):
        return f"{index}: {text!r}: an IPv4 prefix in IPv6 form; write it as a.b.c.d/n"
    return f"{index}: {text!r} is not a prefix; write address/bits, as 10.0.0.0/8 or fd00::/8"


def mask_keys(raw: NDArray[np.uint8]) -> PrefixKeys:
    """Keys with the bits behind each prefix cleared.

    Args:
        raw: Shape `(n, 17)`, 16 bytes of address and one of bits.
    """
    masked = raw.copy()
    masked[:, :16] &= _mask_bytes(raw[:, 16])
    return as_keys(masked)


def last_keys(keys: PrefixKeys) -> PrefixKeys:
    """For each prefix the greatest key that it contains: its last address, whole."""
    raw = as_bytes(keys).copy()
    raw[:, :16] |= ~_mask_bytes(raw[:, 16])
    raw[:, 16] = 128
    return as_keys(raw)


def as_bytes(keys: PrefixKeys) -> NDArray[np.uint8]:
    """Keys as bytes, shape `(n, 17)`, sharing memory where that is possible."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 17)


def as_keys(raw: NDArray[np.uint8]) -> PrefixKeys:
    """Bytes of shape `(n, 17)` as keys of shape `(n,)`."""
    keys: PrefixKeys = np.ascontiguousarray(raw).view(PREFIX_KEY).reshape(-1)
    return keys


def are_v4(keys: PrefixKeys) -> NDArray[np.bool_]:
    """Which keys are of IPv4 prefixes."""
    raw = as_bytes(keys)
    head = np.frombuffer(_V4_HEAD, dtype=np.uint8)
    result: NDArray[np.bool_] = (raw[:, :12] == head).all(axis=1) & (raw[:, 16] >= V4_BITS)
    return result


def distinct(keys: PrefixKeys) -> PrefixKeys:
    """Keys sorted, each once; quick where they are nearly sorted already."""
    ordered = np.sort(keys, kind="stable")
    kept = np.ones(len(ordered), dtype=np.bool_)
    kept[1:] = ordered[1:] != ordered[:-1]
    result: PrefixKeys = ordered[kept]
    return result


def are_among(keys: PrefixKeys, ordered: PrefixKeys) -> NDArray[np.bool_]:
    """Which keys are among sorted ones."""
    if len(ordered) == 0:
        return np.zeros(len(keys), dtype=np.bool_)
    place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    result: NDArray[np.bool_] = ordered[place] == keys
    return result


def longest_matches(ordered: PrefixKeys, keys: PrefixKeys) -> NDArray[np.int64]:
    """For each key the place of the longest of some prefixes that contains it.

    Args:
        ordered: The prefixes, sorted, each once.
        keys: What to look up; a key contains itself.

    Returns:
        Shape of `keys`; -1 where none does.
    """
    result = np.full(len(keys), -1, dtype=np.int64)
    raw = as_bytes(keys)
    for length in np.unique(as_bytes(ordered)[:, 16])[::-1].tolist():
        open_ = np.flatnonzero((result < 0) & (raw[:, 16] >= length))
        cut = raw[open_].copy()
        cut[:, 16] = length
        masked = mask_keys(cut)
        place = np.minimum(np.searchsorted(ordered, masked), len(ordered) - 1)
        found = ordered[place] == masked
        result[open_[found]] = place[found]
    return result


_MASKS = np.array(
    [list((((1 << n) - 1) << (128 - n)).to_bytes(16, "big")) for n in range(129)], dtype=np.uint8
)


def _mask_bytes(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _MASKS[bits]
