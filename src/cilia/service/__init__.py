"""Services to addresses that are balanced, and those to the kernel.

    services ──────────┐
                       ├─► frontends_of (pure) ─► frontends table ─► kernel maps
    endpoint_slices ───┘

Numbers of backends and frontends are read back from the maps, so that they stay
the same when the agent starts again.
"""

from cilia.service.frontend import frontends_of
from cilia.service.service import Services
from cilia.service.sync import KernelServices

__all__ = ["KernelServices", "Services", "frontends_of"]
