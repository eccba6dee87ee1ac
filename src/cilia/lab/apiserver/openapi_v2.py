"""OpenAPI v2, for clients that look for it before they use v3: the frame, no schemas.

Source:
    https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto (fields 1 and 2)
"""

from .errors import Json

PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_TITLE, _VERSION = "Kubernetes", "v1.32.4"


def json_v2() -> Json:
    """The document in JSON."""
    return {
        "swagger": "2.0",
        "info": {"title": _TITLE, "version": _VERSION},
        "paths": {},
        "definitions": {},
    }


def protobuf_v2() -> bytes:
    """The document as gnostic's protobuf message."""
    title = _field(1, _TITLE.encode()) + _field(2, _VERSION.encode())
    return _field(1, b"2.0") + _field(2, title) + _field(8, b"")


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field; the values here are shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value
