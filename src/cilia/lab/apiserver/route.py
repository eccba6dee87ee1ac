"""What a path means: which resource, object and subresource."""

import re
from urllib.parse import unquote

import msgspec

from .errors import bad_request

_SEGMENT = re.compile(r"[^\x00-\x1f\x7f/%]{1,253}\Z")


class Route(msgspec.Struct, frozen=True):
    """A path below `/api/v1` or `/apis/<group>/<version>`."""

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource (for `proxy`)."""


def parse_path(raw_path: str) -> list[str]:
    """The decoded segments of a path.

    Raises:
        StatusError: A segment holds control characters or is too long (400).
    """
    segments = [unquote(part, errors="replace") for part in raw_path.strip("/").split("/")]
    for segment in segments:
        if segment and not _SEGMENT.match(segment):
            raise bad_request("the path of the request holds a segment that is not valid")
    return segments


def resource_route(segments: list[str]) -> Route | None:
    """The route of a path's segments; None when they lie outside the API."""
    if segments[:1] == ["api"] and len(segments) >= 2:
        group, version, parts = "", segments[1], segments[2:]
    elif segments[:1] == ["apis"] and len(segments) >= 3:
        group, version, parts = segments[1], segments[2], segments[3:]
    else:
        return None
    if "" in parts:
        return None
    namespace = ""
    inside = len(parts) >= 3 and not (len(parts) == 3 and parts[2] in ("status", "finalize"))
    if parts[:1] == ["namespaces"] and inside:
        namespace, parts = parts[1], parts[2:]
    parts = parts + [""] * (3 - len(parts))
    return Route(group, version, parts[0], namespace, parts[1], parts[2], "/".join(parts[3:]))
