"""What the agent can be told.

Names are those of Cilium's options where there is one for the same thing, so that
its documentation and its users' fingers are right.
"""

from pathlib import Path

import msgspec

from cilia.model.errors import InvalidValue
from cilia.model.site import NodeSite
from cilia.runtime.exposition import parse_address

MATCHED = ("nodes", "pods")
"""What CIDR rules can be told to match besides the world."""


class AgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of `cilia agent`."""

    node_name: str = ""
    """Kubernetes name of this node; empty: the host's name."""
    kubeconfig: str = ""
    """File that says how to reach the API server; empty: the pod's service account, or none."""
    bpffs: str = "/sys/fs/bpf/cilia"
    """Folder on a bpf file system for maps, programs and links."""
    cgroup: str = ""
    """cgroup v2 folder whose sockets see services; empty: the root of the hierarchy."""
    state_dir: str = "/var/lib/cilia"
    """Folder for what survives a reboot."""
    run_dir: str = "/run/cilia"
    """Folder for sockets and lock files."""
    cni_conf_dir: str = ""
    """Folder to write the CNI configuration to; empty: none is written."""
    cni_bin_dir: str = ""
    """Folder to install the CNI plugin in; empty: it is not installed."""

    cluster_name: str = "default"
    """Name of the cluster, a label of every pod's identity."""
    enable_ipv4: bool = True
    """Whether pods have IPv4 addresses."""
    enable_ipv6: bool = True
    """Whether pods have IPv6 addresses."""
    pod_cidrs: tuple[str, ...] = ()
    """This node's pod networks; empty: those of its Node object."""
    ipv4_native_routing_cidr: str = ""
    """All pods of the cluster, never masqueraded; empty: this node's pod network."""
    ipv6_native_routing_cidr: str = ""
    """The same for IPv6."""
    enable_ipv4_masquerade: bool = True
    """Whether pods leave the cluster under the node's IPv4 address."""
    enable_ipv6_masquerade: bool = True
    """The same for IPv6."""
    device: str = ""
    """The device to other nodes and the world; empty: that of the default route."""
    mtu: int = 0
    """Of pods' interfaces, in bytes; 0: the device's."""

    enable_policy: str = "default"
    """When endpoints are enforced: default (when a rule selects them), always, never."""
    static_cnp_path: str = ""
    """Folder of YAML files with policies, beside the API server or instead of one; empty: none."""
    policy_cidr_match_mode: tuple[str, ...] = ()
    """What CIDR rules and ipBlock match besides the world: nodes, pods; empty: neither."""
    enable_node_selector_labels: bool = False
    """Whether rules may select other nodes by their labels (fromNodes, toNodes)."""
    policy_audit_mode: bool = False
    """What policy would drop passes, and is reported."""
    allow_localhost: bool = True
    """Whether the node reaches its own pods whatever policy says."""
    labels: tuple[str, ...] = ()
    """Which labels make an identity, as regular expressions; empty: the usual ones."""

    monitor_aggregation_interval_s: int = 5
    """At most one trace event a connection in so many seconds."""
    enable_trace_events: bool = True
    """Whether forwarded packets and verdicts are reported; drops always are."""

    ct_tcp_established_s: int = 8000
    """How long an idle TCP connection is remembered, in seconds."""
    ct_tcp_syn_s: int = 60
    """How long a TCP connection may take to open."""
    ct_tcp_closing_s: int = 10
    """How long a closed TCP connection is remembered."""
    ct_any_s: int = 60
    """How long an idle connection of another protocol is remembered."""
    conntrack_gc_interval_s: float = 10.0
    """How often expired connections are removed."""
    identity_gc_interval_s: float = 300.0
    """How often identities that nobody uses are looked for."""
    identity_keep_s: float = 900.0
    """How long an identity must have been unused before it is deleted."""
    map_sizes: dict[str, int] = {}
    """Rows of kernel maps by name, where they differ from the usual."""

    prometheus_serve_addr: str = ""
    """`HOST:PORT` to serve metrics at, as :9962 for every address; empty: they are not served."""
    metrics: tuple[str, ...] = ()
    """Families of metrics to serve (+NAME) and not to (-NAME), beside the usual ones."""

    log_level: str = "info"
    """debug, info, warning or error."""
    log_format: str = "text"
    """text or json."""

    def __post_init__(self) -> None:
        if not (self.enable_ipv4 or self.enable_ipv6):
            raise InvalidValue("enable-ipv4 and enable-ipv6 are both off; turn one on")
        for name, allowed in (
            ("enable_policy", ("default", "always", "never")),
            ("log_level", ("debug", "info", "warning", "error")),
            ("log_format", ("text", "json")),
        ):
            if getattr(self, name) not in allowed:
                raise InvalidValue(
                    f"{name.replace('_', '-')} is {getattr(self, name)!r}; "
                    f"use one of {', '.join(allowed)}"
                )

        if self.prometheus_serve_addr:
            parse_address(self.prometheus_serve_addr)
        if unknown := [each for each in self.policy_cidr_match_mode if each not in MATCHED]:
            raise InvalidValue(
                f"policy-cidr-match-mode is {', '.join(unknown)!r}; "
                f"use {' and '.join(MATCHED)}, one of them, or nothing"
            )

    @property
    def dual_stack(self) -> bool:
        """Whether the cluster has both families."""
        return self.enable_ipv4 and self.enable_ipv6


def node_site(settings: AgentSettings, node: str, cgroup: Path) -> NodeSite:
    """Returns the node's place on this kernel, in the namespace that we run in."""
    return NodeSite(
        name=node,
        netns=None,
        bpffs=Path(settings.bpffs),
        cgroup=cgroup,
        state=Path(settings.state_dir),
        run=Path(settings.run_dir),
    )
