"""Fields about requests. They are checked; no flow carries a request yet."""

import re

from cilia.hubble.filters.patterns import regular
from cilia.hubble.filters.terms import InvalidFilterError
from cilia.hubble.proto.flow import flow_pb2

REQUEST = 129
STATUS = re.compile(r"[1-5][0-9]{2}|[1-5][0-9]?\+")
HTTP_FIELDS = ("http_status_code", "http_method", "http_path", "http_url", "http_header")


def check_layer7(wanted: flow_pb2.FlowFilter) -> bool:
    """Whether the filter wants requests only.

    Raises:
        InvalidFilterError: One of its fields cannot be understood.
    """
    for value in wanted.http_status_code:
        if not STATUS.fullmatch(value):
            raise InvalidFilterError(f"http_status_code {value!r}: wants 200, 40+ or 5+")
    for field in ("http_path", "http_url", "dns_query"):
        for value in getattr(wanted, field):
            regular(field, value)
    http = any(len(getattr(wanted, field)) for field in HTTP_FIELDS)
    types = {value.type for value in wanted.event_type}
    if http and types and REQUEST not in types:
        raise InvalidFilterError(f"http_*: event_type must include {REQUEST} (l7)")
    return http or bool(wanted.dns_query)
