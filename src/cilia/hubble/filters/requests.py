"""Fields about requests (HTTP, DNS) and traces, on single messages."""

import re
from collections.abc import Sequence
from typing import Any

from cilia.hubble.filters.patterns import regular
from cilia.hubble.filters.terms import Match, MatchMaker
from cilia.hubble.proto.flow.flow_pb2 import Flow

HOST = re.compile(r"^\w+://[^/]*")


def _status(values: Sequence[str]) -> Match:
    """`200`, or `5+`: any that begins so."""

    def match(flow: Flow) -> bool:
        code = str(flow.l7.http.code or "")
        return bool(code) and any(
            code.startswith(value[:-1]) if value.endswith("+") else code == value
            for value in values
        )

    return match


def _method(values: Sequence[str]) -> Match:
    wanted = {value.lower() for value in values}
    return lambda flow: flow.l7.http.method.lower() in wanted


def _url(field: str, part: Any) -> MatchMaker:
    """A regular expression on a part of a request's URL, or of a question."""

    def make(values: Sequence[str]) -> Match:
        patterns = [regular(field, value) for value in values]

        def match(flow: Flow) -> bool:
            text = part(flow)
            return bool(text) and any(one.search(text) for one in patterns)

        return match

    return make


def _header(values: Sequence[Any]) -> Match:
    wanted = {(one.key.lower(), one.value) for one in values}
    return lambda flow: any((one.key.lower(), one.value) in wanted for one in flow.l7.http.headers)


def _path(flow: Flow) -> str:
    return HOST.sub("", flow.l7.http.url).partition("?")[0]


MAKERS: dict[str, MatchMaker] = {
    "http_status_code": _status,
    "http_method": _method,
    "http_path": _url("http_path", _path),
    "http_url": _url("http_url", lambda flow: flow.l7.http.url),
    "http_header": _header,
    "dns_query": _url("dns_query", lambda flow: flow.l7.dns.query),
    "trace_id": lambda values: lambda flow: flow.trace_context.parent.trace_id in values,
    "ip_trace_id": lambda values: lambda flow: flow.ip_trace_id.trace_id in values,
}
