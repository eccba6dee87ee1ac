"""What reading a policy depends on besides the policy."""

import msgspec


class Context(msgspec.Struct, frozen=True):
    """What this cluster is and allows."""

    cluster: str = "default"
    """This cluster's name."""
    default_local_cluster: bool = True
    """Peer selectors that name no cluster reach this one only."""
    nodes_by_label: bool = False
    """Rules may select nodes by their labels."""
