"""The tables: what this node believes, one file a table.

A file names the row, its key, its indexes and the one room that may write it.
`tables.py` has them all as one value, which the agent hands to the rooms.

    Kubernetes ─► policies, pods, namespaces, services, endpoint_slices,
                  nodes, cidr_groups, remote_endpoints          (agent's sources)
    identity   ─► identities            service ─► frontends
    endpoint   ─► endpoints             policy  ─► prefixes
    ipcache    ─► ipcache
"""
