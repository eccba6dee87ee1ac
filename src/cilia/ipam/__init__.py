"""Addresses for pods, from the node's own part of the pod networks (host scope).

    pool.py     one network: who holds which address; pure
    service.py  a pair of pools, one a family: what endpoint asks for

Nothing is stored: on a restart the restored endpoints claim their addresses again.
"""

from cilia.ipam.pool import Pool, PoolFull
from cilia.ipam.service import AddressPair, HostScope

__all__ = ["AddressPair", "HostScope", "Pool", "PoolFull"]
