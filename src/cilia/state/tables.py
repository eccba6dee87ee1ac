"""All tables of one agent, as one value."""

from cilia.state import (
    cidr_groups,
    endpoint_slices,
    endpoints,
    frontends,
    identities,
    ipcache,
    namespaces,
    nodes,
    pods,
    policies,
    policy_enforcements,
    policy_statuses,
    prefixes,
    remote_endpoints,
    services,
)


class Tables:
    """One agent's tables, empty at first."""

    def __init__(self) -> None:
        self.policies = policies.table()
        self.policy_statuses = policy_statuses.table()
        self.policy_enforcements = policy_enforcements.table()
        self.cidr_groups = cidr_groups.table()
        self.namespaces = namespaces.table()
        self.pods = pods.table()
        self.services = services.table()
        self.endpoint_slices = endpoint_slices.table()
        self.nodes = nodes.table()
        self.remote_endpoints = remote_endpoints.table()
        self.identities = identities.table()
        self.endpoints = endpoints.table()
        self.prefixes = prefixes.table()
        self.ipcache = ipcache.table()
        self.frontends = frontends.table()
