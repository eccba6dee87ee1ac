"""Rules to verdicts: who may speak to whom, as rows for the kernel.

    policies ──sources──▶ rules ─┐
    identities, groups, services ┼──▶ PolicyEngine ──Delta──▶ PolicySync ──▶ policy,
    endpoints ───────────────────┘                      │                    policy_class,
                                                        ▼                    ipcache, endpoint
                                                   RowTable: `why`, `policy test`

Reads the tables policies, identities, endpoints, remote_endpoints, cidr_groups, services
and endpoint_slices; writes policy_statuses. The engine is pure; `sync.py` alone acts.

Nothing is imported here: whoever decides without a kernel must not bring the tables in.
"""
