"""Hides what requests carry of secrets, before a flow is kept, shown or written anywhere.

No node reports requests yet. Whoever takes them in calls `Redaction.redact` on the record
first, and makes the flow's summary from what is left.

Source:
    Cilium's documentation, "Hubble redact"; proto/flow/flow.proto, Layer7.
"""

import re

import msgspec

from cilia.hubble.proto.flow.flow_pb2 import HTTP, Layer7

REDACTED = "HUBBLE_REDACTED"
"""What stands in the place of a value."""

PASSWORD = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#@:]*:)[^/?#]*@")
"""Up to the last `@` before the path: a password may hold one, if its writer was careless."""
QUERY = re.compile(r"[?#].*", re.DOTALL)


class Redaction(msgspec.Struct, frozen=True):
    """What is hidden.

    Raises:
        ValueError: Headers are named as kept and as hidden at once.
    """

    enabled: bool = False
    http_urlquery: bool = False
    """The query and the fragment of URLs; they go altogether."""
    http_userinfo: bool = True
    """Passwords in URLs."""
    http_headers_allow: tuple[str, ...] = ()
    """Headers whose values stay; with any, those of all others are hidden."""
    http_headers_deny: tuple[str, ...] = ()
    """Headers whose values are hidden; without either list, those of all are."""
    kafka_apikey: bool = False

    def __post_init__(self) -> None:
        if self.http_headers_allow and self.http_headers_deny:
            raise ValueError("http-headers-allow and http-headers-deny exclude each other")

    def redact(self, record: Layer7) -> None:
        """Hides in place what is to be hidden."""
        if not self.enabled:
            return
        if record.HasField("http"):
            self._redact_http(record.http)
        if self.kafka_apikey and record.HasField("kafka") and record.kafka.api_key:
            record.kafka.api_key = REDACTED

    def _redact_http(self, request: HTTP) -> None:
        if self.http_urlquery:
            request.url = QUERY.sub("", request.url)
        if self.http_userinfo:
            request.url = PASSWORD.sub(rf"\g<1>{REDACTED}@", request.url)
        for header in request.headers:
            if self._is_hidden(header.key):
                header.value = REDACTED

    def _is_hidden(self, name: str) -> bool:
        if self.http_headers_deny:
            return _is_among(name, self.http_headers_deny)
        return not _is_among(name, self.http_headers_allow)


def _is_among(name: str, names: tuple[str, ...]) -> bool:
    """Names of headers are the same in any case (RFC 9110, section 5.1)."""
    return name.lower() in {one.lower() for one in names}
