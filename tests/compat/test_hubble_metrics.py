"""Hubble's metrics are Cilium's: names, types, labels and their order.

`hubble_metrics.tsv` holds the facts: with which plugin (none: always) and which options of its
own a metric has these labels; `<context>` is where the labels of context options stand. What the
observer counts of itself has its part of the program in brackets.
"""

import asyncio
import csv
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from prometheus_client.metrics_core import Metric

from cilia.hubble.filters import Scene
from cilia.hubble.metrics import HubbleMetrics, parse_metrics
from cilia.hubble.metrics.batch import Look
from cilia.hubble.server.calls import CallCounts
from cilia.hubble.store import FlowStore
from cilia.observer.metrics import Scrapes
from unit.hubble.made_records import RECORD, KnownNames

FACTS = Path(__file__).with_name("hubble_metrics.tsv")
CONTEXT = {
    "": [],
    "sourceContext=pod": ["source"],
    "destinationIngressContext=ip|dns": ["destination"],
    "labelsContext=traffic_direction,destination_app,source_pod,source_ip;"
    "sourceEgressContext=identity;destinationContext=app": [
        *("source_ip", "source_pod", "destination_app", "traffic_direction"),
        *("source", "destination"),
    ],
    "labelsContext=destination_workload_kind,destination_workload,destination_namespace,"
    "destination_pod,destination_ip,source_app,source_workload_kind,source_workload,"
    "source_namespace": [
        *("source_namespace", "source_workload", "source_workload_kind", "source_app"),
        *("destination_ip", "destination_pod", "destination_namespace", "destination_workload"),
        "destination_workload_kind",
    ],
}


def facts(*, of_itself: bool = False) -> list[dict[str, str]]:
    with FACTS.open() as file:
        every = csv.DictReader(file, delimiter="\t")
        return [fact for fact in every if fact["plugin"].startswith("(") == of_itself]


def configured(text: str) -> HubbleMetrics:
    store = FlowStore(RECORD, 1)
    metrics = HubbleMetrics(store, Look(store, KnownNames()), Scene(store, "default/node-1"))
    metrics.configure(parse_metrics(text))
    return metrics


def families(metrics: HubbleMetrics) -> Iterator[tuple[str, str, list[str]]]:
    """Name, type and labels of what is configured."""
    kinds: dict[str, Metric] = {metric.name: metric for metric in metrics.collect()}
    for handler in metrics.handlers:
        for one in handler.metrics:
            name = one.described.name
            kind = kinds[name.removesuffix("_total")].type
            yield name, kind, list(one.described.labels)


@pytest.mark.parametrize("context", CONTEXT)
@pytest.mark.parametrize("fact", facts(), ids=lambda fact: f"{fact['metric']}:{fact['options']}")
def test_a_metric_has_the_name_type_and_labels_of_cilium(
    fact: dict[str, str], context: str
) -> None:
    if not fact["plugin"]:
        (metric,) = [one for one in configured("").collect() if one.name in fact["metric"]]
        assert (f"{metric.name}_total", metric.type) == (fact["metric"], fact["type"])
        assert {",".join(sample.labels) for sample in metric.samples} == {fact["labels"]}
        return
    options = ";".join(filter(None, (fact["options"], context)))
    found = {
        name: (kind, labels)
        for name, kind, labels in families(configured(f"{fact['plugin']}:{options}"))
    }
    before, _, after = fact["labels"].partition("<context>")
    labels = [*before.split(","), *CONTEXT[context], *after.split(",")]
    assert found[fact["metric"]] == (fact["type"], [label for label in labels if label])


def test_every_plugin_has_exactly_the_metrics_of_cilium() -> None:
    wanted: dict[str, set[str]] = {}
    for fact in facts():
        wanted.setdefault(fact["plugin"], set()).add(fact["metric"])
    for plugin, names in wanted.items():
        assert {name for name, _, _ in families(configured(plugin))} == (names if plugin else set())


def test_a_loss_has_the_sources_of_cilium() -> None:
    (lost,) = [one for one in configured("").collect() if one.name == "hubble_lost_events"]
    sources = {sample.labels["source"] for sample in lost.samples}
    assert sources == {"perf_event_ring_buffer", "observer_events_queue", "hubble_ring_buffer"}


async def one_call(calls: CallCounts) -> None:
    """A call of one message each way, without a server."""

    async def answer(request: bytes, context: object) -> bytes:
        return request

    async def find(details: object) -> object:
        return grpc.unary_unary_rpc_method_handler(answer)

    details = SimpleNamespace(method="/observer.Observer/ServerStatus")
    handler = await calls.intercept_service(find, details)  # type: ignore[arg-type]  # a stand-in for gRPC's details
    assert await handler.unary_unary(b"x", SimpleNamespace(code=lambda: 0)) == b"x"


def test_what_the_observer_counts_of_itself_is_what_cilium_counts() -> None:
    scrapes, calls = Scrapes(), CallCounts()
    scrapes.note(HTTPStatus.OK, 0.1)
    asyncio.run(one_call(calls))
    wanted = {(one["metric"], one["type"], one["labels"]) for one in facts(of_itself=True)}
    found = {
        (
            f"{metric.name}_total" if metric.type == "counter" else metric.name,
            metric.type,
            ",".join(label for label in sample.labels if label != "le"),
        )
        for part in (scrapes, calls)
        for metric in part.collect()
        for sample in metric.samples
    }
    assert found == wanted
