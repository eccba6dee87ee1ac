"""One endpoint for the observers of all nodes.

    Peer.Notify of one node ──► pool ──► connection (one a node, with backoff)
                                              │ GetFlows, as bytes
                     client ◄── flows ◄── merge (by time) ◄┘
                     client ◄── service (status, nodes, namespaces)

Flows are not decoded: only their time is read, and the bytes go on as they came.
"""
