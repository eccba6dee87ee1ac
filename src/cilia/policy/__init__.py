"""Rules to verdicts: who may speak to whom, as rows for the kernel.

    policies ──sources──▶ rules ─┐
    identities, groups, services ┼──▶ PolicyEngine ──Delta──▶ PolicySync ──▶ policy,
    endpoints ───────────────────┘                                           policy_class,
                                                                             ipcache, endpoint

Reads the tables policies, identities, endpoints, remote_endpoints, cidr_groups, services
and endpoint_slices; writes policy_statuses. The engine is pure; `sync.py` alone acts.
"""

from cilia.policy.contents import Enforcement
from cilia.policy.delta import Assignment, Delta
from cilia.policy.engine import Endpoint, PolicyEngine
from cilia.policy.ports import EndpointRows, RowMap, RulePrefixes
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.service import PolicyService
from cilia.policy.settings import PolicySettings
from cilia.policy.sources import parse_policy
from cilia.policy.sync import PolicySync

__all__ = [
    "Assignment",
    "Delta",
    "Endpoint",
    "EndpointRows",
    "Enforcement",
    "PolicyEngine",
    "PolicyService",
    "PolicySettings",
    "PolicySync",
    "ProvenanceRule",
    "RowMap",
    "RulePrefixes",
    "parse_policy",
]
