"""The controllers: what the cluster's objects ask for, turned into changes.

    watch ──> Cluster (all objects, read your own writes) ──> decisions ──> API server

Each file is one decision: a pure function from the cluster as it is to the
changes that bring it nearer to what is asked. `loop` watches, asks every
decision, and carries the changes out; a change that comes too late is refused
by the API server (resourceVersion, uid) and decided again from fresh objects.
"""
