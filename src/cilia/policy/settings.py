"""Settings of the policy room."""

import msgspec

from cilia.policy.contents import Enforcement
from cilia.policy.prefix_table import Worlds
from cilia.policy.syntax.context import Context


class PolicySettings(msgspec.Struct, frozen=True):
    """How policies are read and enforced."""

    enforcement: Enforcement = Enforcement.DEFAULT
    """`enable-policy`: default, always or never."""
    cluster: str = "default"
    """This cluster's name."""
    default_local_cluster: bool = True
    """`policy-default-local-cluster`: selectors that name no cluster reach this one only."""
    worlds: Worlds = Worlds()
    """The families that pods have."""
    cidr_matches: frozenset[str] = frozenset()
    """`policy-cidr-match-mode`: what CIDR rules match besides the world: nodes, pods."""
    audit: bool = False
    """`policy-audit-mode`: what policy would drop passes on all of this node, and is reported."""
    nodes_by_label: bool = False
    """`enable-node-selector-labels`: rules may select nodes by their labels."""

    @property
    def context(self) -> Context:
        """What reading a policy depends on."""
        return Context(self.cluster, self.default_local_cluster, self.nodes_by_label)
