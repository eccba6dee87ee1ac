"""The observer: the one reader of this node's event rings, a process of its own.

    rings (pinned) ──► reader.Reader ──┬─► hubble.monitor ──► <run>/monitor.sock
                                       └─► hubble.store ────► <run>/hubble.sock
                                                 ▲
    agent REST ──► names.AgentNames ──► joiner ──┘

Nothing notices when it dies: rings fill, what is lost is counted, and the next
one goes on reading.
"""
