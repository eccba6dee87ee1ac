"""HTTP/1.0 as bytes: enough to ask a local server one thing over one connection.

The answer ends with the connection, so there is nothing to frame. Clients that
must start fast (commands) or stay small (the observer) use it where a full
HTTP client would cost more in imports than the request takes.

Source: RFC 1945.
"""

import json
from typing import Any
from urllib.parse import quote

Json = Any


def encode_request(method: str, path: str, query: dict[str, str], body: Json) -> bytes:
    """One request, complete; `body` as JSON, or None for none."""
    target = quote(path)
    if query:
        target += "?" + "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items())
    payload = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {target} HTTP/1.0\r\nHost: cilia\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def decode_answer(answer: bytes) -> tuple[int, bytes]:
    """Status code and body of a whole answer.

    Raises:
        ValueError: it does not begin as an HTTP answer does.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("not an HTTP answer")
    return int(words[1]), body


def error_text(body: bytes) -> str:
    """The text of an error answer: its `message` or `error`, or the plain body."""
    try:
        decoded = json.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip()
    if isinstance(decoded, dict):
        return str(decoded.get("message") or decoded.get("error") or decoded)
    return str(decoded)
