"""Metrics of exports: what the status says, by log."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from cilia.hubble.export.config import ExportLog
from cilia.hubble.export.service import Exporter
from cilia.observer.export_metrics import ExportMetrics
from unit.hubble.export.made_export import MadeIntake, add, feed_of


def test_counts_by_log(tmp_path: Path) -> None:
    feed = feed_of()
    add(feed, 3)
    log = ExportLog(name="audit", file_path=str(tmp_path / "audit.log"))
    exporter = Exporter(
        feed, MadeIntake(feed.scene.store), log, None, tmp_path, tmp_path / "status"
    )

    async def run() -> None:
        ready = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(exporter.run(ready))
            while exporter.status().logs[0].backlog:
                await asyncio.sleep(0.001)
            running.cancel()

    asyncio.run(run())
    registry = CollectorRegistry()
    registry.register(ExportMetrics(exporter))
    text = generate_latest(registry).decode()
    size = (tmp_path / "audit.log").stat().st_size
    for line in (
        'hubble_export_events_total{log="audit"} 3.0',
        'hubble_export_lines_total{log="audit"} 3.0',
        f'hubble_export_bytes_total{{log="audit"}} {float(size)}',
        'hubble_export_lost_total{log="audit"} 0.0',
        'hubble_export_failures_total{log="audit"} 0.0',
        'hubble_export_backlog{log="audit"} 0.0',
        'hubble_export_failing{log="audit"} 0.0',
    ):
        assert line in text.splitlines()
