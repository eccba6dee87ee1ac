"""DNS, HTTP and Kafka: what counts, once flows carry requests."""

import numpy as np
import pytest

from cilia.hubble.metrics.batch import Look
from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.store import FlowStore
from unit.hubble.made_records import RECORD, KnownNames, records
from unit.hubble.metrics.counting import Made

Layer7, REQUEST, RESPONSE = flow_pb2.Layer7, flow_pb2.REQUEST, flow_pb2.RESPONSE
Case = tuple[Layer7, dict[str, int]]
ANSWER = {"reason": 2}
"""What makes a trace a reply."""


def seen(text: str, *cases: Case, trace_id: str = "") -> Made:
    """Requests between xwing and deathstar, as egress; columns are set as given."""
    store, names = FlowStore(RECORD, 100), KnownNames()
    look = Look(store, names, lambda number: (cases[number][0], trace_id))
    over = Made(text, look=look, store=store, names=names)
    rows = records(len(cases), type=129)
    store.add(rows, 0)
    for at, (_, columns) in enumerate(cases):
        found = next(store.pieces(at, at + 1))
        for name, value in {"reply": 0, "traffic": 2, "flow_verdict": 1, **columns}.items():
            found[name][0] = value
    store.parties.join(names)
    store.show(store.total)
    return over


def shown(over: Made) -> dict[str, dict[tuple[str, ...], int]]:
    """Values of the labels, in the metric's order, by metric; buckets left out."""
    found: dict[str, dict[tuple[str, ...], int]] = {}
    for metric in over.metrics.collect():
        for one in metric.samples:
            ours = one.name.startswith(("hubble_metrics_", "hubble_lost_"))
            if not ours and not one.name.endswith("_bucket"):
                found.setdefault(one.name, {})[tuple(one.labels.values())] = one.value
    return found


def dns(verdict: int = 1, reply: int = 0, **fields: object) -> Case:
    return Layer7(dns=flow_pb2.DNS(**fields)), {"flow_verdict": verdict, "reply": reply}  # type: ignore[arg-type]  # fields by name


def test_dns_queries_answers_and_their_records() -> None:
    over = seen(
        "dns:query;sourceContext=pod",
        dns(query="a.io.", qtypes=["A", "AAAA"]),
        dns(verdict=2, query="b.io.", qtypes=["A"]),
        dns(
            reply=1, query="a.io.", qtypes=["A"], ips=["1.1.1.1", "1.0.0.1"], rrtypes=["CNAME", "A"]
        ),
        dns(reply=1, query="c.io.", qtypes=["A"], rcode=3),
    )
    assert shown(over) == {
        "hubble_dns_queries_total": {
            ("default/xwing", "", "A,AAAA", "0", "a.io."): 1,
            ("default/xwing", "Policy denied", "A", "0", "b.io."): 1,
        },
        "hubble_dns_responses_total": {
            ("default/xwing", "No Error", "A", "2", "a.io."): 1,
            ("default/xwing", "Non-Existent Domain", "A", "0", "c.io."): 1,
        },
        "hubble_dns_response_types_total": {
            ("default/xwing", "CNAME", "A", "a.io."): 1,
            ("default/xwing", "A", "A", "a.io."): 1,
        },
    }


def test_queries_for_ipv6_alone_can_be_left_out() -> None:
    asked = [dns(qtypes=["AAAA"]), dns(qtypes=["A", "AAAA"])]
    assert shown(seen("dns:ignoreAAAA", *asked)) == {
        "hubble_dns_queries_total": {("", "A,AAAA", "0"): 1}
    }
    assert len(shown(seen("dns", *asked))["hubble_dns_queries_total"]) == 2


def http(kind: int, code: int = 0, ms: int = 0, **columns: int) -> Case:
    made = flow_pb2.HTTP(method="GET", protocol="HTTP/1.1", code=code)
    return Layer7(type=kind, latency_ns=ms * 1_000_000, http=made), columns  # type: ignore[arg-type]  # fields by name


def test_http_counts_requests_and_responses_as_they_come() -> None:
    over = seen(
        "http:sourceContext=pod;destinationContext=pod",
        http(REQUEST),
        http(RESPONSE, 200, 30, traffic=1),
        http(RESPONSE, 200, 50, traffic=1),
    )
    ends = ("default/xwing", "default/deathstar-1")
    assert shown(over) == {
        "hubble_http_requests_total": {(*ends, "GET", "HTTP/1.1", "client"): 1},
        "hubble_http_responses_total": {(*ends, "GET", "HTTP/1.1", "200", "server"): 2},
        "hubble_http_request_duration_seconds_count": {(*ends, "GET", "server"): 2},
        "hubble_http_request_duration_seconds_sum": {(*ends, "GET", "server"): pytest.approx(0.08)},
    }


def test_http_v2_counts_responses_in_the_direction_of_the_request() -> None:
    text = "httpV2:exemplars=true;labelsContext=source_pod,destination_pod;sourceContext=pod"
    text += ";destinationContext=namespace"
    over = seen(text, http(REQUEST), http(RESPONSE, 503, 300, traffic=0), trace_id="t1")
    found = shown(over)
    who = ("deathstar-1", "xwing", "default", "default/xwing")
    assert found["hubble_http_requests_total"] == {(*who, "GET", "HTTP/1.1", "503", "unknown"): 1}
    assert found["hubble_http_request_duration_seconds_count"] == {(*who, "GET", "unknown"): 1}
    assert "hubble_http_responses_total" not in found
    (took,) = [one for one in over.metrics.collect() if one.type == "histogram"]
    exemplars = {one.labels["le"]: one.exemplar for one in took.samples if one.exemplar}
    assert {bound: one.labels for bound, one in exemplars.items()} == {"0.5": {"traceID": "t1"}}


def test_kafka_counts_requests_only() -> None:
    made = flow_pb2.Kafka(topic="orders", api_key="produce", error_code=7)
    over = seen(
        "kafka",
        (Layer7(type=REQUEST, latency_ns=10**9, kafka=made), {}),
        (Layer7(type=RESPONSE, kafka=made), {}),
    )
    assert shown(over) == {
        "hubble_kafka_requests_total": {("orders", "produce", "7", "client"): 1},
        "hubble_kafka_request_duration_seconds_count": {("orders", "produce", "client"): 1},
        "hubble_kafka_request_duration_seconds_sum": {("orders", "produce", "client"): 1},
    }


def test_other_metrics_see_requests_too() -> None:
    over = seen("flow drop policy", http(REQUEST), dns(verdict=2), (Layer7(), {}))
    assert shown(over) == {
        "hubble_flows_processed_total": {
            ("HTTP", "L7", "HTTP", "FORWARDED"): 1,
            ("DNS", "L7", "DNS", "DROPPED"): 1,
            ("Unknown L7", "L7", "", "FORWARDED"): 1,
        },
        "hubble_drop_total": {("DROP_REASON_UNKNOWN", "DNS"): 1},
        "hubble_policy_verdicts_total": {
            ("egress", "l7/http", "forwarded"): 1,
            ("egress", "l7/dns", "dropped"): 1,
            ("egress", "l7/", "forwarded"): 1,
        },
    }


def test_packets_are_no_requests() -> None:
    over = Made("dns http kafka")
    over.see(records(3))
    assert shown(over) == {}
    assert int(np.sum([len(metric.samples) for metric in over.metrics.collect()])) > 0
