"""Hubble's gRPC API on this node's flows.

    FlowStore ──► getflows.get_flows ──► observer.Observer ──► listener ──► <run>/hubble.sock
                                          peer.Peer, health, reflection ──┘

Only this room imports grpc; a client is served at its own pace and slows nobody.
"""
