"""One cluster: store, registry, writes, and what happens by itself in it."""

from .bootstrap import bootstrap, create_namespace_content
from .config import ApiServerConfig
from .crd import KEY as DEFINITIONS
from .crd import Definitions
from .deletion import Deleter
from .garbage import Garbage
from .resources import Registry
from .rest import Rest
from .storage import Change, Store


class Cluster:
    """Everything behind the HTTP side."""

    def __init__(self, config: ApiServerConfig) -> None:
        """Opens the store, and creates what every cluster has."""
        self.config = config
        self.store = Store(config.database)
        self.registry = Registry()
        self.rest = Rest(self.store, self.registry)
        self.deleter = Deleter(self.rest)
        self.garbage = Garbage(self.store, self.registry, self.rest, self.deleter)
        self._definitions = Definitions(self.store, self.registry)
        self._definitions.load()
        self.rest.admit = self._definitions.admit
        self.store.subscribe(DEFINITIONS, lambda change: self._definitions.follow())
        self.store.subscribe("namespaces", self._furnish)
        bootstrap(self.rest, config.service_addresses)

    def _furnish(self, change: Change) -> None:
        if change.type == "ADDED":
            name = change.object["metadata"]["name"]
            create_namespace_content(self.rest, name, self.config.certificates)

    def close(self) -> None:
        """Closes the store."""
        self.store.close()
