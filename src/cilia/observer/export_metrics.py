"""What became of exported flows, as metrics."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from cilia.hubble.export.service import Exporter

COUNTERS = {
    "events": "Flows that were written to a log, or counted in one of its lines.",
    "lines": "Lines that were written, those about losses included.",
    "bytes": "Bytes that were written.",
    "lost": "Records that a log says are missing in it.",
    "overrun": "Those of them that were overwritten in memory before the log came to them.",
    "failures": "Writes that did not succeed and were tried again.",
}
"""By field of `Counts`."""


class ExportMetrics:
    """A collector: `hubble_export_*`, by log.

    Args:
        exporter: Whose logs.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        logs = self._exporter.status().logs
        for name, text in COUNTERS.items():
            family = CounterMetricFamily(f"hubble_export_{name}", text, labels=["log"])
            for log in logs:
                family.add_metric([log.name], getattr(log.counts, name))
            yield family
        backlog = GaugeMetricFamily(
            "hubble_export_backlog", "Flows that a log has not dealt with yet.", labels=["log"]
        )
        failing = GaugeMetricFamily(
            "hubble_export_failing", "1 while a log cannot be written.", labels=["log"]
        )
        for log in logs:
            backlog.add_metric([log.name], log.backlog)
            failing.add_metric([log.name], bool(log.error))
        yield from (backlog, failing)
