"""Requests: DNS, HTTP and Kafka. Their metrics are there, and fill once requests are seen.

Source:
    https://docs.cilium.io/en/stable/observability/metrics/#hubble-exported-metrics
    RFC 1035, 4.1.1 and the registry of DNS RCODEs at IANA, for the names of answers.
"""

from collections.abc import Iterable

from cilia.hubble.metrics.durations import Durations
from cilia.hubble.metrics.facts import DROPPED, L7, FlowFacts
from cilia.hubble.metrics.handlers import Handler
from cilia.hubble.metrics.options import MetricConfig
from cilia.hubble.metrics.series import Cells, Counter
from cilia.hubble.proto.flow import flow_pb2

RCODES = {
    0: "No Error", 1: "Format Error", 2: "Server Failure", 3: "Non-Existent Domain",
    4: "Not Implemented", 5: "Query Refused", 6: "Name Exists when it should not",
    7: "RR Set Exists when it should not", 8: "RR Set that should exist does not",
    9: "Server Not Authoritative for zone", 10: "Name not contained in zone",
    16: "Bad OPT Version", 17: "Key not recognized", 18: "Signature out of time window",
    19: "Bad TKEY Mode", 20: "Duplicate key name", 21: "Algorithm not supported",
    22: "Bad Truncation", 23: "Bad/missing Server Cookie",
}  # fmt: skip
REQUEST, RESPONSE = flow_pb2.REQUEST, flow_pb2.RESPONSE


class Dns(Handler):
    """DNS queries and answers."""

    name = "dns"
    own_options = ("query", "ignoreaaaa")

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self.kinds = frozenset((L7,))
        self._shows_query = "query" in self.options
        query = ("query",) if self._shows_query else ()
        self._queries = self._dns_counter(
            "hubble_dns_queries_total", "DNS queries.", "rcode", "qtypes", "ips_returned", *query
        )
        self._answers = self._dns_counter(
            "hubble_dns_responses_total", "DNS answers.", "rcode", "qtypes", "ips_returned", *query
        )
        self._types = self._dns_counter(
            "hubble_dns_response_types_total", "Records in DNS answers.", "type", "qtypes", *query
        )

    def _dns_counter(self, name: str, text: str, *own: str) -> Counter:
        wide = ("qtypes", "ips_returned", "query")
        return self._counter(name, text, *own, wide=wide, is_context_first=True)

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a query or answer, and one a record of an answer."""
        if facts.request != "dns" or facts.layer7 is None:
            return ()
        dns = facts.layer7.dns
        if "ignoreaaaa" in self.options and list(dns.qtypes) == ["AAAA"]:
            return ()
        query = (dns.query,) if self._shows_query else ()
        asked, addresses = ",".join(dns.qtypes), str(len(dns.ips))
        if facts.verdict == DROPPED or facts.reply != 1:
            code = "Policy denied" if facts.verdict == DROPPED else ""
            return self._add(self._queries, facts, code, asked, addresses, *query)
        code = RCODES.get(dns.rcode, "")
        cells = self._add(self._answers, facts, code, asked, addresses, *query)
        for kind in dns.rrtypes:
            cells += self._add(self._types, facts, kind, asked, *query)
        return cells


class Http(Handler):
    """HTTP requests and responses, each as seen."""

    name = "http"
    own_options = ("exemplars",)
    AFTER_METHOD: tuple[str, ...] = ("protocol", "reporter")

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self.kinds = frozenset((L7,))
        self._requests = self._http_counter(
            "hubble_http_requests_total", "HTTP requests.", *self.AFTER_METHOD
        )
        described = self._described(
            "hubble_http_request_duration_seconds",
            "How long HTTP requests took.",
            "method", "reporter",
            wide=("method",),
            is_context_first=True,
        )  # fmt: skip
        self._durations = Durations(described, limit)
        self.durations = (self._durations,)
        self._responses = self._response_counter()

    def _response_counter(self) -> Counter:
        return self._http_counter(
            "hubble_http_responses_total", "HTTP responses.", "protocol", "status", "reporter"
        )

    def _http_counter(self, name: str, text: str, *own: str) -> Counter:
        wide = ("method", "protocol", "status")
        return self._counter(name, text, "method", *own, wide=wide, is_context_first=True)

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a request or response."""
        if facts.request != "http" or facts.layer7 is None:
            return ()
        http = facts.layer7.http
        if facts.layer7.type == REQUEST:
            return self._add(self._requests, facts, http.method, http.protocol, facts.reporter)
        if facts.layer7.type != RESPONSE:
            return ()
        self._observe(facts, is_swapped=False)
        status = str(http.code)
        return self._add(self._responses, facts, http.method, http.protocol, status, facts.reporter)

    def _observe(self, facts: FlowFacts, *, is_swapped: bool) -> None:
        assert facts.layer7 is not None, "only called for responses"
        contexts, pods = self.contexts.labels(facts, is_swapped=is_swapped)
        own = (facts.layer7.http.method, facts.reporter)
        trace_id = facts.trace_id if self.options.get("exemplars") == ("true",) else ""
        seconds = facts.layer7.latency_ns / 1e9
        self._durations.observe(contexts, own, pods, seconds, trace_id)


class HttpV2(Http):
    """HTTP requests, counted when answered and in the direction of the request."""

    name = "httpV2"
    AFTER_METHOD = ("protocol", "status", "reporter")

    def _response_counter(self) -> Counter:
        return self._requests

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a response."""
        layer7 = facts.layer7
        if facts.request != "http" or layer7 is None or layer7.type != RESPONSE:
            return ()
        self._observe(facts, is_swapped=True)
        http, labels = layer7.http, self.contexts.labels(facts, is_swapped=True)
        own = (http.method, http.protocol, str(http.code), facts.reporter)
        return self._add(self._requests, facts, *own, labels=labels)


class Kafka(Handler):
    """Kafka requests."""

    name = "kafka"

    def __init__(self, config: MetricConfig, cells: Cells, limit: int) -> None:
        super().__init__(config, cells, limit)
        self.kinds = frozenset((L7,))
        self._requests = self._counter(
            "hubble_kafka_requests_total",
            "Kafka requests.",
            "topic", "api_key", "error_code", "reporter",
            wide=("topic", "api_key", "error_code"),
            is_context_first=True,
        )  # fmt: skip
        described = self._described(
            "hubble_kafka_request_duration_seconds",
            "How long Kafka requests took.",
            "topic", "api_key", "reporter",
            wide=("topic", "api_key"),
            is_context_first=True,
        )  # fmt: skip
        self._durations = Durations(described, limit)
        self.durations = (self._durations,)

    def count(self, facts: FlowFacts) -> Iterable[int]:
        """One a request."""
        layer7 = facts.layer7
        if facts.request != "kafka" or layer7 is None or layer7.type != REQUEST:
            return ()
        kafka, labels = layer7.kafka, self.contexts.labels(facts)
        own = (kafka.topic, kafka.api_key)
        seconds = layer7.latency_ns / 1e9
        self._durations.observe(labels.values, (*own, facts.reporter), labels.pods, seconds)
        error = str(kafka.error_code)
        return self._add(self._requests, facts, *own, error, facts.reporter, labels=labels)
