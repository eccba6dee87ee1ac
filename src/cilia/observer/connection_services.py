"""What the observer runs for connections: their harvest, and the REST API that shows it."""

from collections.abc import Callable, Mapping

from cilia.datapath.records import event_dtype
from cilia.hubble.events import wall_clock_offset_ns
from cilia.hubble.ports import Names
from cilia.hubble.store import FlowStore
from cilia.kernel.maps import Map
from cilia.model.site import NodeSite
from cilia.observer.account import EventAccount
from cilia.observer.api import SOCKET, ObserverApi
from cilia.observer.connection_rows import Ends
from cilia.observer.harvest import Harvester
from cilia.observer.ledger_file import LedgerFile
from cilia.wire.unixhttp import UnixServer

LEDGER = "connections.ledger"


def connection_services(
    site: NodeSite,
    maps: Mapping[str, Map],
    store: FlowStore,
    names: Names,
    account: EventAccount,
    *,
    monitor_lost: Callable[[], int],
    interval_s: float,
    notice: Callable[[], None],
) -> tuple[Harvester, UnixServer]:
    """The Services.

    Args:
        maps: conntrack, ended and tally.
        store: The flows, whose parties are those of connections too.
        monitor_lost: Gives the events that the monitor's subscribers were too slow for.
        interval_s: Between two harvests.
        notice: Called when parties may have come.
    """
    harvester = Harvester(
        maps,
        Ends(store.parties, event_dtype()),
        LedgerFile(site.run / LEDGER, maps["conntrack"].id),
        interval_s=interval_s,
        offset_ns=wall_clock_offset_ns,
        on_harvest=notice,
    )
    api = ObserverApi(account, store, harvester, names, monitor_lost)
    return harvester, UnixServer(site.run / SOCKET, api.routes(), "observer api")
