"""The lab's Kubernetes API server: what stock kubectl and our agents talk to.

Owns the cluster's objects (SQLite, one revision counter), the rules of each
kind, and the certificates. Everything is one process; every write is one
atomic step on the event loop:

    request -> server/parts -> rest, deletion, subresources -> storage -> watches
                 |                 |
                 |                 +- schema, defaults, validation, patches, apply
                 +- discovery, openapi, tables, lists; kubelet (streams)

Storage calls its listeners after each commit: watches, the registry of defined
resources (crd), and the garbage collector.
"""
