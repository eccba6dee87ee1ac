"""Exports of this node's flows, connected: what settings and the file of logs describe."""

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path

from cilia import __version__
from cilia.hubble.export.config import STATIC, ExportConfigError, ExportLog, parse_filters
from cilia.hubble.export.service import Exporter
from cilia.hubble.export.source import Feed
from cilia.hubble.filters import Scene
from cilia.hubble.flows import FlowMaker
from cilia.hubble.ports import Names
from cilia.hubble.store import FlowStore
from cilia.model.site import NodeSite
from cilia.observer.account import CountingRing, EventAccount
from cilia.observer.settings import ObserverSettings
from cilia.runtime.settings import SettingsError


class RingIntake:
    """`hubble.export.ledger.Intake` of the rings, across every observer that ever was.

    Args:
        account: What was lost, and told to readers.
        rings: By CPU.
    """

    def __init__(self, account: EventAccount, rings: Mapping[int, CountingRing]) -> None:
        self._account = account
        self._rings = rings

    @property
    def epoch(self) -> str:
        """Of the kernel's counters."""
        return self._account.epoch

    def taken(self) -> int:
        """Records that observers took in, and those that they told as lost."""
        return self._account.told + sum(ring.consumed for ring in self._rings.values())


def export_services(
    site: NodeSite,
    settings: ObserverSettings,
    store: FlowStore,
    names: Names,
    node: str,
    account: EventAccount,
    rings: Mapping[int, CountingRing],
) -> tuple[Exporter, ...]:
    """The exporter, if anything is to be exported; SIGHUP has it read its file again.

    Raises:
        SettingsError: The settings describe a log that cannot be followed.
    """
    static, path = static_log(settings), settings.hubble_flowlogs_config_path
    if not static and not path:
        site.export_status.unlink(missing_ok=True)
        return ()
    maker = FlowMaker(store, names, node, __version__)
    feed = Feed(Scene(store, node, flow=maker.flow), maker)
    dynamic = Path(path) if path else None
    try:
        intake = RingIntake(account, rings)
        made = Exporter(feed, intake, static, dynamic, site.run, site.export_status)
    except ExportConfigError as error:
        raise SettingsError(f"hubble-export-*: {error}") from error
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, made.reload)
    return (made,)


def static_log(settings: ObserverSettings) -> ExportLog | None:
    """The log that settings describe; None when there is none.

    Raises:
        SettingsError: A list of filters is none.
    """
    if not settings.hubble_export_file_path:
        return None
    try:
        return ExportLog(
            name=STATIC,
            file_path=settings.hubble_export_file_path,
            field_mask=settings.hubble_export_fieldmask,
            field_aggregate=settings.hubble_export_fieldaggregate,
            aggregation_interval=settings.hubble_export_aggregation_interval,
            include_filters=parse_filters(settings.hubble_export_allowlist),
            exclude_filters=parse_filters(settings.hubble_export_denylist),
            file_max_size_mb=settings.hubble_export_file_max_size_mb,
            file_max_backups=settings.hubble_export_file_max_backups,
            file_compress=settings.hubble_export_file_compress,
        )
    except ExportConfigError as error:
        raise SettingsError(f"hubble-export-allowlist or -denylist: {error}") from error
