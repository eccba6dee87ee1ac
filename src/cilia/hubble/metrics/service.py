"""Keeps metrics going: counts, follows the configuration, lets the dead go."""

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from cilia.hubble.metrics.metrics import HubbleMetrics
from cilia.hubble.metrics.mortality import LivingPods, Mortality
from cilia.hubble.metrics.options import FILE_BYTES, MetricsConfigError, parse_file

log = logging.getLogger(__name__)

COUNT_S = 0.25
WATCH_S = 1.0
"""How often the file is looked at: it is small, and not every file system tells of changes."""
TEND_S = 60.0
MOURN_S = 15.0


class MetricsFile:
    """The dynamic configuration: a file that is read again when it has changed.

    Args:
        path: Of the file; one that is not there is waited for.
        metrics: What it configures; as before while the file cannot be used.
    """

    def __init__(self, path: Path, metrics: HubbleMetrics) -> None:
        self.is_valid = True
        """Whether what is in the file is in force."""
        self._path = path
        self._metrics = metrics
        self._seen: bytes | None = None
        self._problem = ""

    def look(self) -> None:
        """Applies the file if it has changed."""
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_BYTES + 1)
        except OSError as error:
            self._refuse(f"{self._path}: {error.strerror}; what was configured before stays")
            self._seen = None
            return
        if data == self._seen:
            return
        self._seen = data
        try:
            configs = parse_file(data.decode(errors="replace"), str(self._path))
            self._metrics.configure(configs)
        except MetricsConfigError as error:
            where = "" if str(self._path) in str(error) else f"{self._path}: "
            self._refuse(f"{where}{error}; what was configured before stays")
            return
        self.is_valid, self._problem = True, ""
        log.info(
            "metrics configured",
            extra={"file": str(self._path), "metrics": [config.name for config in configs]},
        )

    def _refuse(self, problem: str) -> None:
        self.is_valid = False
        if problem != self._problem:
            log.error("metrics not configured", extra={"problem": problem})
        self._problem = problem

    def collect(self) -> Iterator[Metric]:
        """Whether the file is in force."""
        yield GaugeMetricFamily(
            "hubble_metrics_config_valid",
            "1 while the dynamic configuration of metrics is in force.",
            float(self.is_valid),
        )


class MetricsService:
    """A Service that keeps metrics up to date.

    Args:
        metrics: What is counted.
        file: Its dynamic configuration, if there is one.
        pods: Who knows the pods that there are.
    """

    name = "hubble-metrics"

    def __init__(self, metrics: HubbleMetrics, file: MetricsFile | None, pods: LivingPods) -> None:
        self._metrics = metrics
        self._file = file
        self._pods = pods

    async def run(self, ready: asyncio.Event) -> None:
        """Works until cancelled."""
        if self._file:
            self._file.look()
        ready.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            group.create_task(self._tend())
            group.create_task(self._mourn())
            if self._file:
                group.create_task(self._watch(self._file))

    async def _count(self) -> None:
        while True:
            while self._metrics.count_some():
                await asyncio.sleep(0)  # whoever shares the loop goes on between two runs
            await asyncio.sleep(COUNT_S)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            self._metrics.tend()

    async def _watch(self, file: MetricsFile) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            file.look()

    async def _mourn(self) -> None:
        mortality = Mortality()
        while True:
            await asyncio.sleep(MOURN_S)
            activity = self._metrics.activity()
            living = await self._pods.living(activity.keys()) if activity else set[str]()
            if living is None:
                continue
            gone = mortality.gone(activity, living, time.monotonic())
            if gone:
                self._metrics.forget(gone)
