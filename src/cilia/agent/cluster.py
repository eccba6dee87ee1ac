"""What an agent asks of the place that tells it about pods and policies.

Two are known: an API server (`kubernetes.py`), and a node that runs alone, which is told
by its container runtime and by a folder of files (`alone.py`).
"""

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Protocol

from cilia.identity import IdentityStore
from cilia.model.site import NodeSite
from cilia.node import NodeNetwork, PodNetworks
from cilia.runtime.reconciler import Reconciler
from cilia.runtime.services import Service
from cilia.state.nodes import Node
from cilia.state.tables import Tables

Json = dict[str, Any]


class Cluster(Protocol):
    """Where tables are filled from, and where findings go; an async context manager."""

    @property
    def name(self) -> str:
        """For people and logs."""
        ...

    @property
    def server(self) -> str:
        """Address of the API server; empty: there is none."""
        ...

    @property
    def identities(self) -> IdentityStore:
        """Where numbers of label sets are kept."""
        ...

    @property
    def first(self) -> tuple[Service, ...]:
        """What must be ready before the sources run."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    async def pod_networks(self, site: NodeSite) -> PodNetworks:
        """Returns this node's pod networks, once they are known."""
        ...

    def sources(self, tables: Tables, own: Node, network: NodeNetwork) -> tuple[Service, ...]:
        """Returns what fills and marks as synced the tables that others know the rows of."""
        ...

    def writers(
        self, tables: Tables, own: Node, nodes: Callable[[], Collection[str] | None]
    ) -> tuple[Reconciler[Any], ...]:
        """Returns what tells others about our tables.

        Args:
            nodes: Gives the nodes that there are; None while that is not known.
        """
        ...

    def status(self) -> Json:
        """Returns `kubernetes` of the REST API's StatusResponse."""
        ...
