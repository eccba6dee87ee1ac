"""Reads objects in Kubernetes' protobuf encoding, which typed clients send.

The envelope is `k8s\\0` and a `runtime.Unknown`: type (1), raw object (2).
Field numbers come from the generated `schemas/wire.json`.

Source:
    https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding-idl
"""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .errors import Json, bad_request
from .objects import timestamp

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
_MAX_DEPTH = 60
_MESSAGES: dict[str, dict[str, list[str]]] = msgspec.json.decode(
    (Path(__file__).parent / "schemas" / "wire.json").read_bytes(),
    type=dict[str, dict[str, list[str]]],
)
_PACKAGES = {
    "": "core", "networking.k8s.io": "networking", "discovery.k8s.io": "discovery",
    "coordination.k8s.io": "coordination", "rbac.authorization.k8s.io": "rbac",
    "authorization.k8s.io": "authorization", "authentication.k8s.io": "authentication",
}  # fmt: skip
_EMPTY = ("", 0, False, b"")


def decode_object(raw: bytes) -> Json:
    """The object in a request's body, as its JSON would be.

    Raises:
        StatusError: The bytes are no such object, or of a kind unknown here (400).
    """
    if not raw.startswith(MAGIC):
        raise bad_request("the request body does not begin as Kubernetes' protobuf does")
    try:
        envelope = dict(_fields(raw[len(MAGIC) :]))
        kind = {number: _text(value) for number, value in _fields(_bytes(envelope.get(1, b"")))}
        api_version, name = kind.get(1, ""), kind.get(2, "")
        message = _message_name(api_version, name)
        if message not in _MESSAGES:
            raise bad_request(f"{api_version} {name} cannot be read from protobuf; send JSON")
        item = _message(_bytes(envelope.get(2, b"")), message, 0)
    except (ValueError, IndexError, OverflowError, OSError) as error:
        raise bad_request(f"the request body is not valid protobuf: {error}") from error
    return {"apiVersion": api_version, "kind": name} | item


def _message_name(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return "meta.v1.DeleteOptions"
    group, _, version = api_version.rpartition("/")
    return f"{_PACKAGES.get(group, group)}.{version}.{kind}"


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a message, in the order on the wire."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        wire = tag & 7
        value: int | bytes
        if wire == 0:
            value, at = _varint(raw, at)
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire, 0)
            if wire == 2:
                length, at = _varint(raw, at)
            value = raw[at : at + length]
            at += length
            if at > len(raw):
                raise ValueError("the message ends in the middle of a field")
        else:
            raise ValueError(f"wire type {wire} is not known")
        yield tag >> 3, value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


def _message(raw: bytes, name: str, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise ValueError("messages are nested too deep")
    layout = _MESSAGES[name]
    item: Json = {}
    for number, value in _fields(raw):
        field, kind = layout.get(str(number), ("?", ""))
        if not kind:
            continue
        kept = kind.startswith("*")
        kind = kind.removeprefix("*")
        if kind.startswith("[]"):
            item.setdefault(field, []).append(_value(value, kind[2:].lstrip("*"), depth))
        elif kind.startswith("{}"):
            entry = dict(_fields(_bytes(value)))
            content = _value(entry.get(2, b""), kind[2:], depth)
            item.setdefault(field, {})[_text(entry.get(1, b""))] = content
        elif not field:
            item |= _message(_bytes(value), kind, depth + 1)
        else:
            decoded = _value(value, kind, depth)
            if kept or decoded not in (*_EMPTY, None, {}, []):
                item[field] = decoded
    return item


def _value(value: int | bytes, kind: str, depth: int) -> Any:
    if kind == "i":
        return _signed(value)
    if kind == "b":
        return bool(_signed(value))
    raw = _bytes(value)
    if kind == "s":
        return raw.decode()
    if kind == "y":
        return b64encode(raw).decode()
    if kind.startswith("[]"):
        return [_value(part, kind[2:], depth + 1) for _, part in _fields(raw)]
    if kind in _SPECIAL:
        return _SPECIAL[kind](dict(_fields(raw)))
    return _message(raw, kind, depth + 1)


def _signed(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number should be")
    return value - (1 << 64) if value >> 63 else value


def _time(fields: dict[int, int | bytes]) -> str | None:
    return timestamp(_signed(fields.get(1, 0))) if fields else None


def _micro_time(fields: dict[int, int | bytes]) -> str | None:
    if not fields:
        return None
    micros = _signed(fields.get(2, 0)) // 1000
    return f"{timestamp(_signed(fields.get(1, 0)))[:-1]}.{micros:06d}Z"


def _int_or_string(fields: dict[int, int | bytes]) -> int | str:
    return _text(fields.get(3, b"")) if fields.get(1) else _signed(fields.get(2, 0))


_SPECIAL: dict[str, Any] = {
    "resource.Quantity": lambda fields: _text(fields.get(1, b"")),
    "meta.v1.Time": _time,
    "meta.v1.MicroTime": _micro_time,
    "intstr.IntOrString": _int_or_string,
    "runtime.RawExtension": lambda fields: msgspec.json.decode(_bytes(fields.get(1, b"{}"))),
}
