"""Events of the monitor taken apart: every field on a line, or the bytes of the record."""

import json
from typing import Any

from cilia.cli.output import printable

Json = Any

WIDTH = 16


def field_lines(event: Json) -> str:
    """Every field that says something, one a line, indented.

    >>> field_lines({"type": "drop", "source": {"ip": "10.0.0.1", "labels": []}, "length": 74})
    '\\n  type: drop\\n  source.ip: 10.0.0.1\\n  length: 74'
    """
    return "".join(f"\n  {name}: {value}" for name, value in _fields(event, ""))


def _fields(value: Json, name: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        prefix = f"{name}." if name else ""
        return [pair for key, inner in value.items() for pair in _fields(inner, f"{prefix}{key}")]
    if value in (None, "", [], {}):
        return []
    return [(printable(name), printable(value) if isinstance(value, str) else json.dumps(value))]


def hex_lines(event: Json) -> str:
    """A record's bytes, sixteen a line with their offset and their text, then what is known of
    the packet's; of an event that is no record, its JSON.
    """
    head = f"{event.get('time', '')} {event['type']}".strip()
    if "raw" not in event:
        return f"{head} {json.dumps(event)}"
    lines = _dump(f"{head}, record of", event["raw"])
    if event.get("packet"):
        lines += _dump("packet, first", event["packet"])
    return "\n".join(lines)


def _dump(title: str, text: str) -> list[str]:
    raw = bytes.fromhex(text)
    rows = (_row(raw[at : at + WIDTH], at) for at in range(0, len(raw), WIDTH))
    return [f"{title} {len(raw)} bytes", *rows]


def _row(part: bytes, offset: int) -> str:
    left, right = part[:8].hex(" "), part[8:].hex(" ")
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{offset:08x}  {left:<23}  {right:<23}  |{text}|"
