"""The reserved identities: a module of its own, for clients that must start fast.

Source: https://docs.cilium.io/en/stable/gettingstarted/terminology/#identity
"""

from enum import IntEnum


class ReservedIdentity(IntEnum):
    """The identities that are the same everywhere."""

    UNKNOWN = 0
    HOST = 1
    WORLD = 2
    UNMANAGED = 3
    HEALTH = 4
    INIT = 5
    REMOTE_NODE = 6
    KUBE_APISERVER = 7
    INGRESS = 8
    WORLD_IPV4 = 9
    WORLD_IPV6 = 10
    OVERLAY_TO_ENCRYPT = 11

    @property
    def label_name(self) -> str:
        """The name as labels and entities write it: `remote-node`."""
        return self.name.lower().replace("_", "-")
