"""Which shape and encoding a client wants; which one it sent."""

from typing import Any

import msgspec
import yaml
from aiohttp import web

from .errors import StatusError, bad_request, too_large, unsupported_media
from .protobuf import MEDIA_TYPE, decode_object
from .storage import decode

MAX_BODY_BYTES = 3 * 1024 * 1024
MAX_DEPTH = 200
_READABLE = f"application/json, application/yaml, {MEDIA_TYPE}"


class Shape(msgspec.Struct, frozen=True):
    """What an answer should look like."""

    kind: str = ""
    """Empty: the object itself; `Table`; `PartialObjectMetadata` (or its list)."""
    discovery: str = ""
    """Version of aggregated discovery that the client reads; empty: none."""


def shape(accept: str) -> Shape:
    """The first shape in an Accept header that the server can give.

    Raises:
        StatusError: There is none (406).
    """
    if not accept:
        return Shape()
    for entry in accept.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        if media not in ("application/json", "application/*", "*/*"):
            continue
        values = dict(part.split("=", 1) for part in parameters if "=" in part)
        asked = values.get("as", "")
        if not asked:
            return Shape()
        if asked == "APIGroupDiscoveryList" and values.get("v") in ("v2", "v2beta1"):
            return Shape(discovery=values["v"])
        if values.get("g") == "meta.k8s.io" and values.get("v") in ("v1", "v1beta1"):
            return Shape(kind=asked.removesuffix("List") if asked != "Table" else asked)
    raise StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    )


async def read_body(request: web.BaseRequest) -> Any:
    """The decoded body; None when there is none.

    Raises:
        StatusError: It is too large (413), of an unknown type (415), or malformed (400).
    """
    raw = await _read(request)
    if not raw:
        return None
    media = request.content_type
    if media in ("application/yaml", "application/apply-patch+yaml", "application/x-yaml"):
        return _parse_yaml(raw)
    if media == MEDIA_TYPE:
        value = decode_object(raw)
        check_depth(value)
        return value
    if media.endswith("json") or media == "application/octet-stream":
        return _parse_json(raw)
    raise unsupported_media(media, _READABLE)


async def _read(request: web.BaseRequest) -> bytes:
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise too_large(MAX_BODY_BYTES)
    parts = bytearray()
    async for chunk in request.content.iter_any():
        parts += chunk
        if len(parts) > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
    return bytes(parts)


def _parse_json(raw: bytes) -> Any:
    try:
        value = decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"the request body is not valid JSON: {error}") from error
    check_depth(value)
    return value


def _parse_yaml(raw: bytes) -> Any:
    try:
        return _parse_json(raw)
    except StatusError:
        pass
    try:
        text = raw.decode()
        # An alias may repeat a large part many times: no client of ours sends one.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.CSafeLoader)):
            raise bad_request("the request body has YAML aliases, which are not supported")
        value = yaml.load(text, yaml.CSafeLoader)
        # Through JSON: no dates, no sets, no keys other than text.
        value = msgspec.json.decode(msgspec.json.encode(value))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise bad_request(f"the request body is not valid YAML: {error}") from error
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Refuses values so deep that walking them would exhaust the stack (400)."""
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                deeper.extend(node.values())
            elif isinstance(node, list):
                deeper.extend(node)
        if not deeper:
            return
        level = deeper
    raise bad_request(f"the request body is nested deeper than {MAX_DEPTH} levels")
