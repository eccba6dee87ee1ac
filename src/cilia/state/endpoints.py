"""endpoints: the pods of this node that cilia connected.

Key: the endpoint's id on this node. Written by endpoint; read by policy,
ipcache, the agent's CiliumEndpoint writer and the API.
"""

from enum import StrEnum

import msgspec

from cilia.model.labels import LabelSet
from cilia.runtime.table import Table
from cilia.state.ports import NamedPort


class EndpointState(StrEnum):
    """Where an endpoint stands in its life; the words are the REST API's."""

    WAITING_FOR_IDENTITY = "waiting-for-identity"
    RESTORING = "restoring"
    WAITING_TO_REGENERATE = "waiting-to-regenerate"
    REGENERATING = "regenerating"
    READY = "ready"
    DISCONNECTING = "disconnecting"
    INVALID = "invalid"


class EndpointRow(msgspec.Struct, frozen=True):
    """One endpoint."""

    id: int
    namespace: str
    pod: str
    uid: str
    container: str
    """The runtime's id of the pod's sandbox."""
    ifname: str
    """The host-side interface."""
    ifindex: int
    mac: str
    host_mac: str
    v4: str | None
    v6: str | None
    state: EndpointState
    identity: int | None = None
    """None: not known yet, so nothing passes."""
    labels: LabelSet = ()
    named_ports: tuple[NamedPort, ...] = ()
    policy_revision: int = 0
    """Revision of the policies that its rows in the kernel enforce; 0: none yet."""
    ingress_enforced: bool = False
    egress_enforced: bool = False
    audit: bool = False
    """Its row in the kernel is in audit mode."""
    audit_wanted: bool = False
    """Audit mode was chosen for it; the node may choose it for all besides."""
    given_labels: tuple[tuple[str, str], ...] = ()
    """The pod's labels as the container runtime gave them at ADD; they count without Kubernetes."""


def table() -> Table[EndpointRow]:
    """Returns an empty table with indexes over pods, containers and identities."""
    return Table(
        "endpoints",
        lambda row: row.id,
        indexes={
            "pod": lambda row: ((row.namespace, row.pod),),
            "container": lambda row: (row.container,),
            "identity": lambda row: () if row.identity is None else (row.identity,),
        },
        writer="endpoint",
    )
