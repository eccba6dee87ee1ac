"""Which identity owns an IP prefix; merges what every source says.

    endpoints (this node's pods) ─────────┐
    remote_endpoints (CiliumEndpoint) ────┤
    nodes (host, remote-node) ────────────┼─► Claims ─► ipcache table ─► kernel map
    endpoint_slices (the API server) ─────┤                               ▲
    0.0.0.0/0, ::/0 (world) ──────────────┘                               │
    prefixes of CIDR rules (arrays, with their class) ────────────────────┘

The strongest source that claims a prefix wins: node, local, kube-apiserver,
custom-resource, the prefixes of rules, world.
"""

from cilia.ipcache.claims import Claims, Source, address_key
from cilia.ipcache.service import Ipcache
from cilia.ipcache.sync import KernelIpcache

__all__ = ["Claims", "Ipcache", "KernelIpcache", "Source", "address_key"]
